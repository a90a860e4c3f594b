"""Server-side text lookup in the same JSON files that the browser uses."""

from __future__ import annotations

import json
import locale
import os
from functools import cache
from pathlib import Path

from modules.errors import StudioError

FOLDER = Path(__file__).resolve().parent.parent / "i18n"
LANGUAGES = {"zh-CN": "简体中文", "en": "English"}
DEFAULT = "zh-CN"


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of one language, by flat dotted key."""
    loaded: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return loaded


def closest(wanted: str | None) -> str:
    """The language of ours nearest to a browser's or system's tag, e.g. 'zh-TW' or 'en_GB.UTF-8'."""
    if not wanted:
        return DEFAULT
    return "zh-CN" if wanted.lower().startswith("zh") else "en"


def of_terminal() -> str:
    """The language of the person at this terminal, by the environment or by the system's settings."""
    spoken = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    # Windows says "Chinese (Simplified)_China"; "C" says nothing.
    if spoken.startswith("Chinese") or spoken.partition(".")[0] in ("C", "POSIX"):
        return DEFAULT
    return closest(spoken)


def text(key: str, language: str, **values: str | int | float) -> str:
    """The text of ``key`` with its placeholders filled. A missing key raises KeyError."""
    sentence = texts(language)[key]
    return sentence.format(**values) if values else sentence


def error_text(error: StudioError, language: str) -> str:
    """What went wrong and what to do, in one line for the user."""
    between = "" if language == "zh-CN" else " "
    return between.join((text(error.key, language, **error.values), text(error.hint, language, **error.values)))
