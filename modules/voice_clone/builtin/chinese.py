"""Chinese characters to pinyin: words by jieba, readings by pypinyin, and rules for polyphones.

pypinyin reads words of two characters and more from its dictionaries; what remains wrong are single
characters whose reading follows from their neighbours (得 地 长 还 ...) and a few phrases that jieba
cuts differently from the dictionary.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

HAN = "\u4e00-\u9fff"

# Phrase -> (place of the character in it, its reading); found in the running text whatever the cut.
PHRASES: dict[str, tuple[int, str]] = {
    "应了": (0, "ying4"),
    "应声": (0, "ying4"),
    "中意": (0, "zhong4"),
    "冲着": (0, "chong4"),
    "背着": (0, "bei1"),
    "量一下": (0, "liang2"),
    "教会了": (0, "jiao1"),
    "教学生": (0, "jiao1"),
    "数一": (0, "shu3"),
    "长得": (0, "zhang3"),
    "为大家": (0, "wei4"),
    "为您": (0, "wei4"),
    "为你": (0, "wei4"),
    "为我们": (0, "wei4"),
}
MEASURES_OF_LENGTH = {"很", "太", "最", "更", "非常", "多", "不", "也", "较", "比较", "这么", "那么", "有多", "越来越"}
# Four characters before 地 are an idiom or a doubled adjective, whatever jieba takes them for.
FOUR_CHARACTERS = 4
MUST_BEFORE = {"就", "可", "还", "总", "必", "都", "也"}


@dataclass(frozen=True)
class Word:
    """One word as jieba cut it, with its part of speech (jieba's letters; '' outside the text)."""

    text: str
    kind: str

    def is_a(self, letters: str) -> bool:
        """Whether the first letter of the part of speech is one of ``letters``."""
        return bool(self.kind) and self.kind[0] in letters


Rule = Callable[[Word, Word], str | None]
NOTHING = Word("", "")


def _de_after_verb_or_must(before: Word, after: Word) -> str | None:
    if before.is_a("rn") or before.text in MUST_BEFORE:
        return "dei3" if after.is_a("vadprn") else "de2"
    return "de5" if before.is_a("va") else None


def _adverb_ending(before: Word, after: Word) -> str | None:
    described = before.is_a("abdivz") and after.is_a("vpdn")
    return "de5" if described or len(before.text) >= FOUR_CHARACTERS else None


def _long_or_grow(before: Word, after: Word) -> str | None:
    return "chang2" if before.text in MEASURES_OF_LENGTH or after.kind == "n" else None


def _count(before: Word, after: Word) -> str | None:
    return "shu3" if after.text[:1] in set("一数了到着清") or before.is_a("vd") else None


def _measure(before: Word, after: Word) -> str | None:
    return "liang2" if after.text[:1] in set("一了着身体好") else None


def _carry(before: Word, after: Word) -> str | None:
    return "bei1" if after.text[:1] in set("着起上") else None


def _towards(before: Word, after: Word) -> str | None:
    return "chong4" if after.text[:1] == "着" or before.text in {"很", "太"} else None


def _give_back(before: Word, after: Word) -> str | None:
    return "huan2" if after.is_a("nmru") and after.text != "有" else None


def _counted_animal(before: Word, after: Word) -> str | None:
    return "zhi1" if before.is_a("m") else None


def _fall(before: Word, after: Word) -> str | None:
    return "dao3" if before.is_a("v") else None


def _plant(before: Word, after: Word) -> str | None:
    return "zhong4" if after.is_a("nu") and not before.is_a("mr") else None


def _for_someone(before: Word, after: Word) -> str | None:
    return "wei4" if before.is_a("v") or after.is_a("rn") else None


RULES: dict[str, Rule] = {
    "得": _de_after_verb_or_must,
    "地": _adverb_ending,
    "长": _long_or_grow,
    "教": lambda before, after: "jiao1",
    "数": _count,
    "量": _measure,
    "背": _carry,
    "冲": _towards,
    "还": _give_back,
    "只": _counted_animal,
    "倒": _fall,
    "种": _plant,
    "都": lambda before, after: "dou1",
    "为": _for_someone,
}


def cut(text: str) -> list[Word]:
    """Words of ``text`` in order, everything kept."""
    import jieba
    import jieba.posseg

    jieba.setLogLevel(logging.ERROR)
    return [Word(pair.word, pair.flag) for pair in jieba.posseg.cut(text)]


def read(text: str) -> list[tuple[str, list[str]]]:
    """Words with the pinyin of each character ('zhong1', neutral tone 5); no pinyin where not Chinese."""
    words = cut(text)
    readings = [_word_readings(words, place) for place in range(len(words))]
    _apply_phrases(words, readings)
    return [(word.text, pinyin) for word, pinyin in zip(words, readings, strict=True)]


def _word_readings(words: list[Word], place: int) -> list[str]:
    from pypinyin import Style, lazy_pinyin

    word = words[place]
    if not re.fullmatch(f"[{HAN}]+", word.text):
        return []
    rule = RULES.get(word.text)
    if rule is not None:
        before = words[place - 1] if place else NOTHING
        after = words[place + 1] if place + 1 < len(words) else NOTHING
        reading = rule(before, after)
        if reading is not None:
            return [reading]
    return lazy_pinyin(word.text, style=Style.TONE3, neutral_tone_with_five=True, tone_sandhi=True)


def _apply_phrases(words: list[Word], readings: list[list[str]]) -> None:
    """Correct ``readings`` in place where a phrase of PHRASES occurs across the words."""
    places = [(w, c) for w, pinyin in enumerate(readings) for c in range(len(pinyin))]
    text = "".join(words[w].text[c] for w, c in places)
    for phrase, (offset, reading) in PHRASES.items():
        for match in re.finditer(phrase, text):
            word, character = places[match.start() + offset]
            readings[word][character] = reading
