"""The command line as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modules import translate
from modules.settings import ROOT


def cli(*words: str | Path, language: str = "en_US.UTF-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": language, "LC_ALL": language, "COLUMNS": "400", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "modules.cli", *map(str, words)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("word", ["render", "prepare", "clone", "speak", "jobs", "doctor"])
def test_every_command_explains_itself(word: str) -> None:
    shown = cli(word, "--help")
    assert shown.returncode == 0 and "--data-dir" in shown.stdout


@pytest.mark.parametrize(
    ("text", "code"), [("", "script_empty"), ("……！", "script_empty"), ("字" * 20_001, "script_too_long")]
)
def test_a_bad_script_is_one_sentence_before_anything_is_done(tmp_path: Path, text: str, code: str) -> None:
    script = tmp_path / "我的 脚本.txt"
    script.write_text(text, encoding="utf-8")
    video = tmp_path / "me.mp4"
    video.write_bytes(b"never looked at")
    data = tmp_path / "data"
    done = cli(
        "render", "--video", video, "--text-file", script, "--out", tmp_path / "o.mp4", "--yes", "--data-dir", data
    )
    hint = translate.text(f"error.{code}.hint", "en")
    assert done.returncode == 1
    assert hint in done.stderr and "Traceback" not in done.stderr
    assert not (data / "uploads").exists()


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    video = tmp_path / "me.mp4"
    video.write_text("no video", encoding="utf-8")
    done = cli("prepare", video, "--yes", "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert translate.text("error.media_unreadable.hint", "en") in done.stderr
    listed = json.loads(cli("jobs", "--json", "--data-dir", tmp_path / "data").stdout)
    assert [(job["kind"], job["state"]) for job in listed] == [("prepare_avatar", "failed")]


def test_without_consent_nothing_is_taken_in(tmp_path: Path) -> None:
    video = tmp_path / "me.mp4"
    video.write_bytes(b"0" * 100)
    done = cli("prepare", video, "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert not (tmp_path / "data" / "uploads").exists()


def test_errors_are_told_in_the_language_of_the_terminal(tmp_path: Path) -> None:
    done = cli(
        "speak", "0" * 32, "--text", "你好", "--out", tmp_path / "o.wav", "--data-dir", tmp_path, language="zh_CN.UTF-8"
    )
    assert translate.text("error.voice_unknown", "zh-CN") in done.stderr
