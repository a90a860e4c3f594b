"""Both languages hold the same texts, and every error and stage in the code has its sentences."""

import ast
import re
import string
from collections.abc import Iterator
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


def raised(file: Path) -> Iterator[tuple[str, set[str]]]:
    """Code and value names of every StudioError("code", name=...) in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "StudioError" and node.args:
            code = node.args[0]
            if isinstance(code, ast.Constant):
                yield code.value, {keyword.arg or "" for keyword in node.keywords} - {"retryable"}


def test_every_error_has_a_sentence_and_an_advice_and_gives_what_they_name() -> None:
    known = translate.texts("en")
    errors = [error for file in SOURCES for error in raised(file)]
    assert len(errors) > 10
    faults = [code for code, _ in errors if f"error.{code}" not in known or f"error.{code}.hint" not in known]
    assert faults == []
    faults = [
        code
        for code, values in errors
        if not placeholders(known[f"error.{code}"]) | placeholders(known[f"error.{code}.hint"]) <= values
    ]
    assert faults == []


def test_every_stage_has_a_name() -> None:
    known = translate.texts("en")
    stages = {key for file in SOURCES for key in re.findall(r'"(stage\.[a-z_0-9.]+)"', file.read_text())}
    assert stages and [s for s in sorted(stages) if s not in known] == []


def test_closest_language() -> None:
    tags = {"zh-TW": "zh-CN", "zh": "zh-CN", "en-GB": "en", "fr-FR": "en", "zh_CN.UTF-8": "zh-CN", None: "zh-CN"}
    assert {tag: translate.closest(tag) for tag in tags} == tags
