"""Where a long sentence takes breath: at its marks, before a conjunction, between words; never inside one.

The network rushes through long rows of tokens, cannot take more than 510, and a listener waits for a
whole piece: so a sentence is spoken in pieces of comfortable length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from modules.speech.normalise import HAN
from modules.voice_clone.builtin import chinese

# Phoneme letters of a piece: about ten seconds of speech.
COMFORTABLE = 250
# Chinese characters that are said in one breath where the writer set no mark.
ONE_BREATH = 28

_MARKS = {"；": 3.0, ";": 3.0, "：": 2.5, ":": 2.5, "，": 2.0, ",": 2.0, "—": 1.8, "、": 1.2, " ": 0.6}
_CONJUNCTION = 1.6
_AFTER_TOPIC = 1.2
_LINK = 0.5
_CONJUNCTIONS = frozenset(
    {
        "although", "and", "because", "but", "if", "or", "so", "that", "then", "unless", "when", "where", "which",
        "while", "who", "不管", "不过", "于是", "从而", "以便", "以及", "但", "但是", "例如", "其中",
        "包括", "即使", "却", "另外", "只有", "只要", "可是", "同时", "否则", "因为", "因此", "如果", "尤其",
        "尤其是", "并", "并且", "或者", "所以", "无论", "既然", "此外", "比如", "然后", "甚至", "由于", "直到",
        "而", "而且", "虽然", "除非"
    }
)  # fmt: skip
# After a noun they begin what is said of it: 公司|在过去的几年里.
_PREPOSITIONS = frozenset(
    {
        "为", "为了", "从", "使", "关于", "可以", "向", "在", "对", "对于", "将", "已经", "必须", "把",
        "按照", "是", "根据", "被", "让", "通过", "随着", "需要"
    }
)  # fmt: skip
_NOUNS = tuple("nts")
_LINKS = frozenset(
    {
        "by", "for", "from", "in", "of", "on", "to", "with", "与", "及", "和", "给", "跟"
    }
)  # fmt: skip
_HAN_RUN = re.compile(f"[{HAN}]{{{ONE_BREATH + 1},}}")
# What a place in the middle is worth against one at an end, in the same measure as the marks.
_MIDDLE = 3.0


def with_breaths(text: str) -> str:
    """``text`` with a comma before a conjunction in the middle of every stretch that is too long for one breath."""
    return _HAN_RUN.sub(lambda match: "，".join(_breaths(match[0])), text)


def _breaths(run: str) -> list[str]:
    if len(run) <= ONE_BREATH:
        return [run]
    # A fifth of the run at least on either side; where nothing fits, the voice's own phrasing stands.
    near = {place: worth for place, worth in _places(run) if abs(place / len(run) - 0.5) < 0.3}
    place = _best(near, run) if near else 0
    return [*_breaths(run[:place]), *_breaths(run[place:])] if near.get(place, 0.0) >= _AFTER_TOPIC else [run]


def pieces(text: str, length: Callable[[str], int]) -> Iterator[str]:
    """``text`` in order in pieces of at most COMFORTABLE by ``length``; nothing is left out."""
    if length(text) <= COMFORTABLE or len(text) < 2:
        yield text
        return
    place = _best(dict(_places(text)), text)
    yield from pieces(text[:place], length)
    yield from pieces(text[place:], length)


def _best(places: dict[int, float], text: str) -> int:
    """The place that is good and near the middle of ``text``; the very middle where there is none."""
    return max(places, key=lambda p: places[p] - _MIDDLE * abs(p / len(text) - 0.5), default=len(text) // 2)


def _places(text: str) -> Iterator[tuple[int, float]]:
    """Every place before which ``text`` may be cut, and how good it is."""
    place, kind = 0, ""
    for word in chinese.cut(text):
        before = text[place - 1 : place]
        in_number = before in (",", ":") and text[place - 2 : place - 1].isdigit() and word.text[:1].isdigit()
        if place and word.text[:1] not in _MARKS and not in_number:
            yield place, max(_MARKS.get(before, 0.0), _strength(word.text, kind))
        place, kind = place + len(word.text), word.kind


def _strength(word: str, kind_before: str) -> float:
    """How good it is to take breath before ``word`` where no mark stands."""
    if word in _CONJUNCTIONS:
        return _CONJUNCTION
    if word in _PREPOSITIONS and kind_before[:1] in _NOUNS:
        return _AFTER_TOPIC
    return _LINK if word in _LINKS else 0.0
