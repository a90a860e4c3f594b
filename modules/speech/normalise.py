"""Written text to spoken words: numbers, dates, units, codes and addresses in Chinese text.

English numbers are left alone: the English reader of the engine knows them. The bulk is done by
wetext's transducers; the rules here come before it and cover what it reads wrongly.
"""

from __future__ import annotations

import re
import sys
import types
import unicodedata
from functools import lru_cache
from typing import Any

_DIGITS = "零一二三四五六七八九"
_ADDRESS = re.compile(
    r"(?:https?://)?(?:[A-Za-z0-9_+\-]+(?:\.[A-Za-z0-9_+\-]+)*@)?(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,}(?:/[\w./?=&%#\-]*)?"
)
_DECADE = re.compile(r"(?<!\d)(\d{4}|\d{2})s(?![A-Za-z])")
_VERSION = re.compile(r"(?<![\d.])(\d+(?:\.\d+){2,})(?![\d.])|(?<=[vV])(\d+(?:\.\d+)+)")
_ROOM = re.compile(r"(?<!\d)(\d{3,4})(?=室|房|教室)")
_CODE = re.compile(r"(?<=[A-Za-z])[.\-]?(\d{3,})(?![\d.])")
_JOINED = re.compile(r"(?<=[A-Za-z])-(?=\d)")
_IP_VERSION = re.compile(r"(?<![A-Za-z])IPv(?=[46](?!\d))")
_SYMBOLS = {".": "点", "@": " at ", "/": "斜杠", "?": "问号", "=": "等于", "&": "和", "-": " ", "_": "下划线"}


def normalise(text: str, language: str) -> str:
    """``text`` as it is spoken, on one line. language: 'zh', 'mixed', 'en' or 'ja'.

    Chinese numbers are written out; English and Japanese are left to the engine's own readers.
    """
    flat = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
    if language not in ("zh", "mixed"):
        return flat
    spoken: str = _transducer("zh").normalize(_before(flat))
    return spoken.strip()


def english_numbers(text: str) -> str:
    """English ``text`` with its numbers, dates and money in words, as a listener could have written it too."""
    words: str = _transducer("en").normalize(text)
    return words


def _before(text: str) -> str:
    text = _ADDRESS.sub(_spell_address, text)
    text = _DECADE.sub(lambda m: _each_digit(m[1]) + "年代", text)
    text = _VERSION.sub(lambda m: _each_digit(m[1] or m[2]), text)
    text = _ROOM.sub(lambda m: _each_digit(m[1]), text)
    text = _IP_VERSION.sub("IP V", text)
    text = _CODE.sub(lambda m: _each_digit(m[1]), text)
    return _JOINED.sub(" ", text)


def _each_digit(number: str) -> str:
    return "".join("点" if c == "." else _DIGITS[int(c)] for c in number)


def _spell_address(match: re.Match[str]) -> str:
    address = re.sub(r"^https?://", "", match[0]).rstrip("/")
    address = address.replace("www.", "w w w.")
    spelt = "".join(_SYMBOLS.get(c, _each_digit(c) if c.isdigit() else c) for c in address if c not in "%#")
    return f" {spelt} "


@lru_cache(maxsize=2)
def _transducer(language: str) -> Any:
    # wetext imports ``contractions`` to write out "don't", which we never ask of it.
    sys.modules.setdefault("contractions", types.ModuleType("contractions"))
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn")
