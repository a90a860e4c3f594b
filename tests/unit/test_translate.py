"""Both languages hold the same texts, and every error and stage in the code has its sentences."""

import re
import string
from pathlib import Path

from modules import translate

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "modules").rglob("*.py"), ROOT / "webui.py"]


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_the_languages_are_level() -> None:
    chinese, english = translate.texts("zh-CN"), translate.texts("en")
    assert chinese.keys() == english.keys()
    assert [k for k in chinese if placeholders(chinese[k]) != placeholders(english[k])] == []
    assert [k for k in chinese if not chinese[k].strip() or not english[k].strip()] == []


def test_every_error_code_has_a_sentence_and_an_advice() -> None:
    known = translate.texts("en")
    codes = {code for file in SOURCES for code in re.findall(r'StudioError\(\s*"([a-z_0-9]+)"', file.read_text())}
    assert len(codes) > 10
    assert [c for c in sorted(codes) if f"error.{c}" not in known or f"error.{c}.hint" not in known] == []


def test_every_stage_has_a_name() -> None:
    known = translate.texts("en")
    stages = {key for file in SOURCES for key in re.findall(r'"(stage\.[a-z_0-9.]+)"', file.read_text())}
    assert stages and [s for s in sorted(stages) if s not in known] == []


def test_closest_language() -> None:
    tags = {"zh-TW": "zh-CN", "zh": "zh-CN", "en-GB": "en", "fr-FR": "en", "zh_CN.UTF-8": "zh-CN", None: "zh-CN"}
    assert {tag: translate.closest(tag) for tag in tags} == tags
