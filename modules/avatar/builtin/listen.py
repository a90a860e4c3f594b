"""Cutting a stream of sound into windows of whole frames, with sound before and after for context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modules.media import FRAME_RATE, AudioChunk


@dataclass(frozen=True)
class Pace:
    """How much is done at a time, in frames: to draw, and to hear before and after for context."""

    count: int
    before: int
    after: int


# 20 s to draw; with their context they fit one Whisper window.
STEADY = Pace(500, 50, 25)
# Frames come 0.6 s after their sound.
LIVE = Pace(10, 75, 5)


@dataclass(frozen=True)
class Window:
    """A stretch of sound: ``count`` frames from number ``first`` on, with ``before`` and ``after`` more around.

    samples: float32 of all before + count + after frames; the last frame may be cut short.
    """

    samples: np.ndarray
    sample_rate: int
    first: int
    count: int
    before: int
    after: int

    @property
    def times(self) -> np.ndarray:
        """Middle of each frame, context included, in seconds from the start of ``samples``."""
        return np.asarray((np.arange(self.before + self.count + self.after) + 0.5) / FRAME_RATE)


def windows(speech: Iterator[AudioChunk], pace: Pace) -> Iterator[Window]:
    """The windows of a stream; together their frames are one for each 40 ms begun."""
    held = np.zeros(0, np.float32)
    rate = 0
    held_from = 0  # number of the first frame in ``held``
    first = 0
    for chunk in speech:
        if rate and chunk.sample_rate != rate:
            raise ValueError("chunks of different sample rates")
        rate = chunk.sample_rate
        held = np.concatenate([held, chunk.samples.astype(np.float32, copy=False)])
        while len(held) >= _position(first + pace.count + pace.after, rate) - _position(held_from, rate):
            yield _cut(held, rate, held_from, first, pace.count, pace)
            first += pace.count
            keep = max(held_from, first - pace.before)
            held = held[_position(keep, rate) - _position(held_from, rate) :]
            held_from = keep
    if rate:
        end = _position(held_from, rate) + len(held)
        total = -(-end * FRAME_RATE // rate)
        while first < total:
            count = min(pace.count, total - first)
            yield _cut(held, rate, held_from, first, count, pace, total)
            first += count


def _position(frame: int, rate: int) -> int:
    """Number of the first sample of a frame."""
    return -(-frame * rate // FRAME_RATE)


def _cut(
    held: np.ndarray, rate: int, held_from: int, first: int, count: int, pace: Pace, total: int | None = None
) -> Window:
    """The window of ``count`` frames from ``first`` on; ``total`` frames are all there is, if that is known."""
    before = min(pace.before, first - held_from)
    after = pace.after if total is None else min(pace.after, total - first - count)
    origin = _position(held_from, rate)
    begin, end = _position(first - before, rate) - origin, _position(first + count + after, rate) - origin
    return Window(held[begin:end], rate, first, count, before, after)
