"""Latin letters inside Chinese text: what is a word, and what is spelt letter by letter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

# Written in capitals all the same, these are words.
_WORDS_IN_CAPITALS = frozenset(
    {
        "AIR", "AND", "ASUS", "BIG", "BIOS", "BLOG", "BOOK", "BUG", "CAD", "COVID", "DEMO", "DIOR", "EXCEL",
        "FLASH", "FREE", "FUN", "GOOD", "GUCCI", "HELLO", "HOT", "IKEA", "JAVA", "LASER", "LINUX", "LIVE", "LOGO",
        "LOVE", "MAX", "MINI", "NASA", "NATO", "NEW", "NIKE", "OFFER", "OPEN", "OPPO", "PAUSE", "PIN", "PLUS",
        "PRADA", "RAM", "ROM", "RUBY", "RUST", "SALE", "SHOW", "SIM", "SIP", "SONY", "START", "STOP", "TEAM",
        "TEAMS", "THE", "TOP", "VIVO", "VLOG", "WORD", "WORLD", "YES", "YOU", "ZARA", "ZOOM"
    }
)  # fmt: skip
# Said otherwise than English readers read them.
_SAID = {"json": "Jason", "wifi": "Wi-Fi", "ios": "i O S", "ok": "O K", "vs": "versus", "iqoo": "i Q O O"}
_LONGEST_ACRONYM = 5
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*[+#]*")
# ChatGPT, OpenAI, MySQL: a word, then letters.
_ACRONYM_AT_END = re.compile("([A-Za-z]*[a-z])([A-Z]{2,4})")
_VOWEL = re.compile("[aeiouy]")


@dataclass(frozen=True)
class Latin:
    """English words to be read as one phrase, or letters to be spelt (one character each)."""

    words: tuple[str, ...]
    spelt: bool


def parse(run: str) -> list[Latin]:
    """``run`` of Latin letters as phrases and spelt letters, in order."""
    parts = [part for word in _WORD.findall(run) for part in _said(word)]
    return [Latin(tuple(word for word, _ in group), spelt) for spelt, group in groupby(parts, key=lambda part: part[1])]


def _said(word: str) -> list[tuple[str, bool]]:
    """What is said for one written word, each with whether it is a letter."""
    other = _SAID.get(word.lower())
    if other is not None:
        return [(part.upper() if len(part) == 1 else part, len(part) == 1) for part in other.split()]
    tail = _ACRONYM_AT_END.fullmatch(word)
    if tail is not None:
        return [*_said(tail[1]), *_said(tail[2])]
    if _is_spelt(word):
        return [(letter.upper(), True) for letter in word if letter.isalpha()]
    return [(word.lower() if word.isalpha() and word.isupper() else word, False)]


def _is_spelt(word: str) -> bool:
    """Single letters, acronyms in capitals, and short words in small letters that have no vowel (qq, cn)."""
    letters = word.rstrip("+#")
    if letters != word or "'" in word or "’" in word:
        return False
    if letters.isupper():
        return len(letters) == 1 or (len(letters) <= _LONGEST_ACRONYM and letters not in _WORDS_IN_CAPITALS)
    return len(letters) == 1 or (letters.islower() and len(letters) < _LONGEST_ACRONYM and not _VOWEL.search(letters))
