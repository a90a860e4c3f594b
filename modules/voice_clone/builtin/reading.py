"""A sentence as it is read, before it gets a timbre: sounds, melody and loudness on the network's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Kokoro predicts a few Hz where nothing is voiced; that is no pitch and stays as it is.
VOICED_FROM_HZ = 40.0
STRESS = frozenset("ˈˌ")
# What may stand inside a word in misaki's letters without being one: everything else ends it.
_ENDS = frozenset(' ;:,.!?—…"()“”')


@dataclass(frozen=True)
class Reading:
    """text (512, T) what sounds; pitch (2T,) F0 in Hz; energy (2T,); frames (tokens,), whole numbers, T in all."""

    text: Floats
    pitch: Floats
    energy: Floats
    frames: Floats


def tuned(pitch: Floats, scale: float, reach: float, centre: float) -> Floats:
    """F0 in Hz (of any shape) times ``scale``, and its distance from ``centre`` (Hz) times ``reach``, in ln F0."""
    height = np.maximum(pitch, VOICED_FROM_HZ) / centre
    bent = pitch * np.float32(scale) * height ** np.float32(reach - 1)
    return np.where(pitch > VOICED_FROM_HZ, bent, pitch).astype(np.float32)


def english_words(letters: Sequence[str]) -> list[tuple[int, int]]:
    """[first, last) tokens of each English word or run of them in a Chinese sentence.

    letters: one for each token, '' for the marks at both ends. In misaki's letters English words bear stress
    marks and Chinese ones never; an unstressed English word between two stressed ones belongs to their run.
    """
    words: list[tuple[int, int]] = []
    first = 0
    for place, letter in enumerate(letters):
        if letter and letter not in _ENDS:
            continue
        if STRESS.intersection(letters[first:place]):
            words.append((first, place))
        first = place + 1
    runs: list[tuple[int, int]] = []
    for first, last in words:
        if runs and set(letters[runs[-1][1] : first]) == {" "}:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return runs


def spliced(chinese: Reading, english: Reading, words: Sequence[tuple[int, int]]) -> Reading:
    """Two readings of the same tokens as one: ``words`` ([first, last) tokens) as in ``english``.

    They meet in the middle of the token before and the token after each word, which are gaps or marks.
    """
    pieces: list[Reading] = []
    begin = 0  # the gap token at which the next piece begins; 0 the first time: the whole sentence's mark
    for first, last in words:
        pieces += [_between(chinese, begin, first - 1), _between(english, first - 1, last)]
        begin = last
    pieces.append(_between(chinese, begin, None))
    frames = chinese.frames.copy()
    for first, last in words:
        frames[first:last] = english.frames[first:last]
        for gap, before, after in ((first - 1, chinese, english), (last, english, chinese)):
            frames[gap] = _half(before, gap) + after.frames[gap] - _half(after, gap)
    return Reading(
        np.concatenate([piece.text for piece in pieces], axis=1),
        np.concatenate([piece.pitch for piece in pieces]),
        np.concatenate([piece.energy for piece in pieces]),
        frames,
    )


def _half(reading: Reading, token: int) -> float:
    return float(reading.frames[token] // 2)


def _between(reading: Reading, begin: int, end: int | None) -> Reading:
    """From the middle of token ``begin`` (0: from its start) to the middle of token ``end`` (None: to the end)."""
    edges = np.concatenate([[0.0], np.cumsum(reading.frames)])
    start = round(edges[begin] + _half(reading, begin)) if begin else 0
    stop = round(edges[-1] if end is None else edges[end] + _half(reading, end) if end else 0)
    fast = slice(2 * start, 2 * stop)
    return Reading(reading.text[:, start:stop], reading.pitch[fast], reading.energy[fast], reading.frames[:0])
