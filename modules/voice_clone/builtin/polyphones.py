"""Which of its readings a Chinese character has, judged by what stands around it.

The rules are data: data/polyphones.tsv says what they look like. Words of two characters and more are read from
dictionaries (modules.voice_clone.builtin.chinese); the rules are for the characters that stand alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).parent / "data" / "polyphones.tsv"
ANYTHING = "-"
INSIDE_WORDS = "*"

# Surnames that are read otherwise than the character is in words.
SURNAMES = {
    "单": "shan4", "仇": "qiu2", "解": "xie4", "任": "ren2", "曾": "zeng1", "区": "ou1", "查": "zha1", "盖": "ge3",
    "朴": "piao2", "葛": "ge3", "华": "hua4", "乐": "yue4", "翟": "zhai2", "卜": "bu3", "缪": "miao4", "覃": "qin2",
    "燕": "yan1", "应": "ying1", "召": "shao4", "肖": "xiao1", "种": "chong2", "繁": "po2",
}  # fmt: skip
_TITLE = re.compile(
    "先生|女士|小姐|老师|经理|总[监裁经，。]|校长|局长|部长|院长|处长|科长|所长|店长|厂长|队长|班长|市长|县长|医生|大夫|教授|"
    "主任|律师|师傅|工程师|同学|太太|夫人|董事|博士|教练|导演|警官|某|氏"
)
_BEFORE_NAME = re.compile(r"(?:^|[，。！？；：、“‘（《\s]|[和与跟给对向请问叫是找的及同见])$")
_CALLED = re.compile("(?:姓|复姓)$")


@dataclass(frozen=True)
class Place:
    """Where a character stands: the text around it, and the kinds (jieba's letters) of the words beside it."""

    before: str
    after: str
    kind_before: str
    kind_after: str


@dataclass(frozen=True)
class Rule:
    """A reading, and what must hold around the character for it; None always holds."""

    reading: str
    before: re.Pattern[str] | None
    after: re.Pattern[str] | None
    kinds_before: tuple[str, ...]
    kinds_after: tuple[str, ...]

    def fits(self, place: Place) -> bool:
        """Whether every condition holds at ``place``."""
        return (
            (not self.kinds_before or place.kind_before[:1] in self.kinds_before)
            and (not self.kinds_after or place.kind_after[:1] in self.kinds_after)
            and (self.before is None or self.before.search(place.before) is not None)
            and (self.after is None or self.after.match(place.after) is not None)
        )


@dataclass(frozen=True)
class Rules:
    """alone: rules for characters that stand alone; inside: rules that hold inside words, too. By character."""

    alone: dict[str, tuple[Rule, ...]]
    inside: dict[str, tuple[Rule, ...]]


@lru_cache(maxsize=1)
def rules() -> Rules:
    """The rules of data/polyphones.tsv."""
    names: dict[str, str] = {}
    alone, inside = defaultdict[str, list[Rule]](list), defaultdict[str, list[Rule]](list)
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if " = " in line and "\t" not in line:
            name, meaning = line.split(" = ", 1)
            names[f"<{name}>"] = f"(?:{meaning})"
        elif line and not line.startswith("#"):
            character, reading, *conditions = line.split("\t")
            rule = _rule(reading.rstrip(INSIDE_WORDS), conditions, names)
            (inside if reading.endswith(INSIDE_WORDS) else alone)[character].append(rule)
    return Rules({c: tuple(r) for c, r in alone.items()}, {c: tuple(r) for c, r in inside.items()})


def _rule(reading: str, conditions: list[str], names: dict[str, str]) -> Rule:
    before, after, kinds_before, kinds_after = ("" if c == ANYTHING else c for c in conditions)
    for name, meaning in names.items():
        before, after = before.replace(name, meaning), after.replace(name, meaning)
    return Rule(
        reading,
        re.compile(f"(?:{before})$") if before else None,
        re.compile(after) if after else None,
        tuple(kinds_before),
        tuple(kinds_after),
    )


def alone(character: str, place: Place) -> str | None:
    """The reading of a character that stands alone, or None where no rule knows it."""
    return surname(character, place) or _first(rules().alone.get(character, ()), place)


def inside(character: str, place: Place) -> str | None:
    """The reading that holds whatever word the character is in, or None."""
    return _first(rules().inside.get(character, ()), place)


def _first(candidates: tuple[Rule, ...], place: Place) -> str | None:
    return next((rule.reading for rule in candidates if rule.fits(place)), None)


def surname(character: str, place: Place) -> str | None:
    """The reading of a character as a surname, or None where it is none: before a title, or after 姓."""
    if character not in SURNAMES:
        return None
    named = _BEFORE_NAME.search(place.before) and _TITLE.match(place.after)
    return SURNAMES[character] if named or _CALLED.search(place.before) else None
