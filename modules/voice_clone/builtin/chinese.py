"""Chinese characters to pinyin: words by jieba, readings by dictionaries, and rules for what stands alone.

A word is read by data/readings.txt (our corrections) or pypinyin's phrase dictionary. A character in no such
word is read by the rules of modules.voice_clone.builtin.polyphones, or has its most frequent reading.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from modules.speech.normalise import HAN
from modules.voice_clone.builtin import polyphones
from modules.voice_clone.builtin.polyphones import SURNAMES, Place

READINGS = Path(__file__).parent / "data" / "readings.txt"
# How far a rule looks back; forward it sees the rest of the sentence.
LOOK_BACK = 16
RETROFLEX = "r5"
# Stands in data/readings.txt for a character of a word that is read by its neighbours all the same (一行).
BY_CONTEXT = "?"
# These two change with the next tone, and dictionaries write some changed: here they always have their own.
_OWN_TONE = {"一": "yi1", "不": "bu4"}

_CHINESE_WORD = re.compile(f"[{HAN}]+")
_CHINESE_OR_NOT = re.compile(f"[{HAN}]+|[^{HAN}]+")
# 儿 after or before these is a child, not a retroflex ending.
_CHILD = re.compile("(?:[女婴幼孤少胎育托健宠血男患弃妻产孙]|新生)$")
_OF_A_CHILD = re.compile("[童子女歌科媳孙时]")
_NAME = "nr"


@dataclass(frozen=True)
class Word:
    """One word as jieba cut it, with its part of speech (jieba's letters; '' outside the text)."""

    text: str
    kind: str


@lru_cache(maxsize=1)
def _own_readings() -> dict[str, list[str]]:
    lines = READINGS.read_text(encoding="utf-8").splitlines()
    entries = (line.split() for line in lines if line and not line.startswith("#"))
    return {word: pinyin for word, *pinyin in entries}


@lru_cache(maxsize=1)
def _tagger() -> Any:
    """jieba's tagger, told our words; nobody else in the studio uses it, and a second one costs half a second."""
    import jieba
    import jieba.posseg

    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    for word in _own_readings():
        if not jieba.dt.FREQ.get(word):
            jieba.add_word(word, tag="v")
    return jieba.posseg.dt


def cut(text: str) -> list[Word]:
    """Words of ``text`` in order, everything kept; Chinese is parted from what is not (卡拉OK is two)."""
    return [Word(part, pair.flag) for pair in _tagger().cut(text) for part in _CHINESE_OR_NOT.findall(pair.word)]


def read(text: str) -> list[tuple[str, list[str]]]:
    """Words with the pinyin of each character; no pinyin where not Chinese.

    The tones are each syllable's own ('zhong1'; 5 is the light tone), before neighbours change them. The
    retroflex ending 儿 is 'r5'.
    """
    words = cut(text)
    found: list[tuple[str, list[str]]] = []
    start = 0
    for index, word in enumerate(words):
        pinyin: list[str] = []
        if _CHINESE_WORD.fullmatch(word.text):
            beside = (words[index - 1].kind if index else "", words[index + 1].kind if index + 1 < len(words) else "")
            pinyin = _read_word(text, start, word, beside)
        if pinyin == [RETROFLEX] and found:
            # It is part of the word before it, wherever jieba cut.
            before, syllables = found.pop()
            found.append((before + word.text, syllables + pinyin))
        else:
            found.append((word.text, pinyin))
        start += len(word.text)
    return found


def _read_word(text: str, start: int, word: Word, beside: tuple[str, str]) -> list[str]:
    """Pinyin of one word at ``start``; beside: the kinds of the words before and after."""
    pinyin: list[str] = []
    for piece in _pieces(word.text):
        place = start + len(pinyin)
        kinds = (beside[0] if place == start else word.kind, beside[1] if piece.ends else word.kind)
        for offset, character in enumerate(piece.text):
            around = _around(text, place + offset, kinds)
            known = piece.pinyin[offset] if piece.pinyin is not None else BY_CONTEXT
            if known == BY_CONTEXT:
                named = (
                    SURNAMES.get(character)
                    if word.kind.startswith(_NAME) and not pinyin and len(word.text) > 1
                    else None
                )
                known = named or polyphones.alone(character, around) or _usual(character)
            curled = _retroflex(character, around, place + offset - start)
            pinyin.append(curled or polyphones.inside(character, around) or known)
    return pinyin


def _around(text: str, place: int, kinds: tuple[str, str]) -> Place:
    return Place(text[max(0, place - LOOK_BACK) : place], text[place + 1 :], *kinds)


@dataclass(frozen=True)
class _Piece:
    """A part of a word: known to a dictionary (pinyin), or one character that is not (None)."""

    text: str
    pinyin: list[str] | None
    ends: bool


def _pieces(word: str) -> list[_Piece]:
    """``word`` itself where a dictionary knows it, else its longest parts that one knows, and the rest one by one."""
    pieces: list[_Piece] = []
    start = 0
    while start < len(word):
        stop = next((s for s in range(len(word), start + 1, -1) if _known(word[start:s]) is not None), start + 1)
        part = word[start:stop]
        pieces.append(_Piece(part, _known(part) if len(part) > 1 else None, stop == len(word)))
        start = stop
    return pieces


@lru_cache(maxsize=8192)
def _known(word: str) -> list[str] | None:
    """The reading of a word of two characters and more by our table or pypinyin's, or None."""
    from pypinyin.constants import PHRASES_DICT

    own = _own_readings().get(word)
    if own is not None:
        return own
    return _pypinyin(word) if len(word) > 1 and word in PHRASES_DICT else None


@lru_cache(maxsize=8192)
def _usual(character: str) -> str:
    return _pypinyin(character)[0]


def _pypinyin(text: str) -> list[str]:
    from pypinyin import Style, lazy_pinyin

    found = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=True)
    return [p if p.endswith("5") else _OWN_TONE.get(character, p) for character, p in zip(text, found, strict=True)]


def _retroflex(character: str, around: Place, offset: int) -> str | None:
    """'r5' where 儿 only curls the syllable before it."""
    if character != "儿" or not re.search(f"[{HAN}]$", around.before):
        return None
    if _CHILD.search(around.before) or _OF_A_CHILD.match(around.after):
        return None
    # Alone, as jieba cuts 胡同儿, or at the end of a word as in 一会儿; 儿子 and 儿童 begin with it.
    return RETROFLEX if offset or around.kind_before[:1] in tuple("nvaqmrts") else None
