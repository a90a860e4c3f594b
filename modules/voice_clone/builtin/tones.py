"""How tones change beside others: 不 and 一.

The voice was taught with the plain third tone and raises it by itself before another one, and with 不 as
it sounds (measured: docs/quality/reading.md). So third tones stay as they are, and 不 and 一 are
written as they sound.
"""

from __future__ import annotations

import re

# Before or after these 一 is a numeral that is read off, and keeps its tone.
_DIGITS = "零一二三四五六七八九点"
_READ_OFF_AFTER = frozenset(_DIGITS + "十百千万亿第之初期拜周负比")
_READ_OFF_BEFORE = frozenset(_DIGITS + "十月号日比减加乘除级等班")
# At the end of such a word 一 belongs to what follows (另一 个); at the end of others it does not (唯一).
_LEANS_ON = frozenset("另某这每哪那有又再同")

Words = list[tuple[str, list[str]]]


def changed(words: Words) -> Words:
    """``words`` (text and pinyin of each character; none for marks) with 不 and 一 as they sound."""
    letters: list[str] = []
    tones: list[str] = []
    ends: list[bool] = []
    for text, pinyin in words:
        # A mark takes one place without a tone: nothing changes across it.
        letters += list(text) if pinyin else [""]
        tones += pinyin or [""]
        ends += [place == len(pinyin) - 1 for place in range(len(pinyin))] or [True]
    spoken = [_spoken(place, letters, tones, ends) for place in range(len(letters))]
    found: Words = []
    start = 0
    for text, pinyin in words:
        found.append((text, spoken[start : start + len(pinyin)]))
        start += len(pinyin) or 1
    return found


def _spoken(place: int, letters: list[str], tones: list[str], ends: list[bool]) -> str:
    own = tones[place]
    following = tones[place + 1][-1:] if place + 1 < len(tones) else ""
    if own == "bu4":
        return "bu2" if following == "4" else own
    if own != "yi1" or letters[place] != "一":
        return own
    before = letters[place - 1] if place else ""
    after = letters[place + 1] if place + 1 < len(letters) else ""
    if before and before == after and re.match("[^一二三四五六七八九十]", before):
        return "yi5"
    ends_word = ends[place] and place > 0 and not ends[place - 1]
    if before in _READ_OFF_AFTER or after in _READ_OFF_BEFORE or (ends_word and before not in _LEANS_ON):
        return own
    # 个 is light in 一个 and was falling once.
    return {"4": "yi2", "5": "yi2", "1": "yi4", "2": "yi4", "3": "yi4"}.get(following, own)
