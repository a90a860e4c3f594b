"""When each phone of a sentence sounds: from the frames that the network gave its letters, and from the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.media import PAUSE, Phone

Floats = NDArray[np.float32]

SAMPLE_RATE = 24000
FRAME_SECONDS = 600 / SAMPLE_RATE
# The network sounds earlier than its frames say: the noise of s, f and the murmur of m and n begin 65 ms before
# the first frame of their letter and end 50 ms before the next one (median over the sentences of test_timing).
LEAD_SECONDS = 0.0575
# Letters of a sentence that are silence, that lengthen the one before, and that belong to the one after.
STOPS = frozenset(';:,.!?—…"()“”')
AFTER = frozenset("ːʰʲᵝ̃→↗↘↓")
BEFORE = frozenset("ˈˌ")
# A pause is at least this long and this much softer (dB) than the loud parts; the phone before it keeps this much.
SHORTEST_PAUSE = 0.05
QUIETER = 15.0
LEAST_PHONE = 0.05
HOP_SECONDS, WINDOW_SECONDS = 0.005, 0.02


@dataclass
class _Span:
    """A phone on the network's clock, in frames."""

    symbol: str
    start: float
    stop: float


def phones_of(letters: Sequence[str], frames: Floats, sound: Floats) -> tuple[Phone, ...]:
    """The phones of one sentence, which together are as long as its 24 kHz ``sound``.

    letters: one for each token, empty for the marks at both ends; frames: (tokens,) how many each took.
    """
    total = len(sound) / SAMPLE_RATE
    spans = _spans(letters, frames)
    edges = np.clip([span.start * FRAME_SECONDS - LEAD_SECONDS for span in spans[1:]], 0.0, total).tolist()
    starts, stops = [0.0, *edges], [*edges, total]
    quiet = _quiet(sound)
    for place in range(1, len(spans)):
        if spans[place].symbol == PAUSE:
            run = _silence(quiet, starts[place - 1] + LEAST_PHONE, stops[place])
            starts[place] = stops[place - 1] = stops[place] if run is None else run[0]
    timed = (Phone(span.symbol, start, stop) for span, start, stop in zip(spans, starts, stops, strict=True))
    return tuple(phone for phone in timed if phone.stop > phone.start)


def _spans(letters: Sequence[str], frames: Floats) -> list[_Span]:
    """Phones and pauses that follow each other without gaps."""
    spans: list[_Span] = []
    waiting = 0.0  # frames that will belong to the next phone
    end = 0.0
    for letter, count in zip(letters, frames.tolist(), strict=True):
        end += count
        pausing = bool(spans) and spans[-1].symbol == PAUSE
        if letter == "" or letter in STOPS:
            if pausing:
                spans[-1].stop = end
            else:
                spans.append(_Span(PAUSE, end - count - waiting, end))
            waiting = 0.0
        elif spans and (letter in AFTER or (letter == " " and pausing)):
            spans[-1].stop = end
        elif letter in BEFORE or letter == " ":
            # The gap between two words is the end of the one and the beginning of the other.
            waiting += count / 2 if letter == " " and spans else count
            if spans:
                spans[-1].stop = end - waiting
        else:
            spans.append(_Span(letter, end - count - waiting, end))
            waiting = 0.0
    return spans


def _quiet(sound: Floats) -> NDArray[np.bool_]:
    """(hops,) where the sound is much softer than its loud parts."""
    hop, half = round(HOP_SECONDS * SAMPLE_RATE), round(WINDOW_SECONDS * SAMPLE_RATE / 2)
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    centers = np.arange(0, len(sound), hop)
    low, high = np.clip(centers - half, 0, len(sound)), np.clip(centers + half, 0, len(sound))
    decibels = 10 * np.log10((energy[high] - energy[low]) / np.maximum(high - low, 1) + 1e-12)
    return np.asarray(decibels < np.quantile(decibels, 0.9) - QUIETER)


def _silence(quiet: NDArray[np.bool_], start: float, stop: float) -> tuple[float, float] | None:
    """The longest silence between two times in seconds, if there is one worth the name."""
    first = round(start / HOP_SECONDS)
    inside = quiet[first : round(stop / HOP_SECONDS)].astype(int)
    turns = np.flatnonzero(np.diff(inside, prepend=0, append=0)).reshape(-1, 2)
    if not len(turns):
        return None
    longest = turns[np.diff(turns, axis=1).argmax()]
    begin, end = ((first + turn) * HOP_SECONDS for turn in longest.tolist())
    return (begin, end) if end - begin >= SHORTEST_PAUSE else None
