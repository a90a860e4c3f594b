"""The doctor finds what is wrong and says what to do about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modules import devices, doctor, weights
from modules.errors import StudioError
from modules.settings import Settings


def test_this_machine_can_write_video_and_run_torch(tmp_path: Path) -> None:
    assert doctor.video().level == "good"
    assert {finding.level for finding in doctor.torch(devices.write_machine(tmp_path))} <= {"good", "warning"}
    assert doctor.python().level == "good"


def test_cards_and_what_keeps_them_from_being_used() -> None:
    processor = devices.Device("cpu", 0, "CPU", 16 * 10**9)
    good = devices.Device("cuda", 0, "RTX 4090", 24 * 10**9, (8, 9))
    new = devices.Device("cuda", 1, "RTX 5090", 32 * 10**9, (12, 0))
    build = devices.Build("2.5.0+cu124", "12.4", ("sm_80", "sm_86", "sm_90"))

    def found(*present: devices.Device, problems: tuple[StudioError, ...] = ()) -> list[tuple[str, str]]:
        return [(f.level, f.key) for f in doctor.torch(devices.Machine(build, present, problems))]

    old_build = StudioError("gpu_build_old", name="RTX 5090", build=build.version)
    assert found(processor) == [("good", "doctor.torch")]
    assert found(good, processor) == [("good", "doctor.torch_card")]
    assert found(good, new, processor, problems=(old_build,)) == [
        ("good", "doctor.torch_card"),
        ("warning", "error.gpu_build_old"),
    ]
    assert found(new, processor, problems=(old_build,)) == [
        ("good", "doctor.torch"),
        ("warning", "error.gpu_build_old"),
    ]
    assert found(problems=(StudioError("torch_broken"),)) == [("error", "error.torch_broken")]


@pytest.mark.parametrize(("gigabytes", "level"), [(16, "good"), (8, "good"), (6, "warning"), (2, "error")])
def test_memory(gigabytes: int, level: str) -> None:
    assert doctor.memory(gigabytes * 10**9).level == level


def test_packages_missing_or_of_another_version(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# comment\nrich==15.0.0  # fine\nnumpy==0.1\nno-such-package==1.0\n")
    found = doctor.packages(file)
    assert found.level == "error"
    assert "numpy==0.1" in str(found.values["names"]) and "no-such-package" in str(found.values["names"])
    assert "rich" not in str(found.values["names"])


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert doctor.data_folder(tmp_path / "data").level == "error"
    assert doctor.data_folder(tmp_path / "new" / "数据").level == "good"


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2 * 10**9

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    assert doctor.disk(tmp_path / "not" / "there").level == "warning"


def test_missing_models_are_no_error_but_damaged_ones_are(tmp_path: Path) -> None:
    name = "voicefilter-lite"
    assert doctor.model(tmp_path, name).level == "warning"
    (tmp_path / name).mkdir()
    file = weights.entries()[name].files[0]
    (tmp_path / name / file.name).write_bytes(b"half")
    assert doctor.model(tmp_path, name).level == "error"
    with (tmp_path / name / file.name).open("wb") as damaged:
        damaged.truncate(file.size)
    assert doctor.model(tmp_path, name).level == "error"


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_finding_has_its_words(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("version", "names", "size", "folder", "free", "reason", "name")
    values: dict[str, str | int | float] = dict.fromkeys(names, "x")
    bad = {"python", "packages_wrong", "memory", "data_locked", "disk", "video", "video_broken"}
    bad |= {"model_missing", "model_broken"}
    good = {"python", "packages", "memory", "data", "disk", "video", "torch", "torch_card", "model"}
    findings = [doctor.Finding("good", f"doctor.{name}", values) for name in good]
    findings += [doctor.Finding("error", f"doctor.{name}", values) for name in bad]
    monkeypatch.setattr(doctor, "check", lambda settings: findings)
    settings = Settings(data_dir=tmp_path)
    assert doctor.run(settings, language, True) == 1
    rows = json.loads(capsys.readouterr().out)
    assert all(row["text"] for row in rows)
    assert all(bool(row["hint"]) == (row["level"] != "good") for row in rows)
    doctor.run(settings, language, False)
    assert "PyTorch" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "check", lambda settings: findings[: len(good)])
    assert doctor.run(settings, language, True) == 0
