"""Cutting a stream of sound into windows of whole frames, with sound before and after for context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modules.media import FRAME_RATE, AudioChunk

# Frames: 20 s to draw, 2 s before and 1 s after. Together they fit one Whisper window.
COUNT, BEFORE, AFTER = 500, 50, 25


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


def windows(speech: Iterator[AudioChunk]) -> Iterator[Window]:
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
        while len(held) >= _position(first + COUNT + AFTER, rate) - _position(held_from, rate):
            yield _cut(held, rate, held_from, first, COUNT, AFTER)
            first += COUNT
            keep = first - BEFORE
            held = held[_position(keep, rate) - _position(held_from, rate) :]
            held_from = keep
    if rate:
        end = _position(held_from, rate) + len(held)
        total = -(-end * FRAME_RATE // rate)
        while first < total:
            count = min(COUNT, total - first)
            yield _cut(held, rate, held_from, first, count, min(AFTER, total - first - count))
            first += count


def _position(frame: int, rate: int) -> int:
    """Number of the first sample of a frame."""
    return -(-frame * rate // FRAME_RATE)


def _cut(held: np.ndarray, rate: int, held_from: int, first: int, count: int, after: int) -> Window:
    before = min(BEFORE, first - held_from)
    origin = _position(held_from, rate)
    begin, end = _position(first - before, rate) - origin, _position(first + count + after, rate) - origin
    return Window(held[begin:end], rate, first, count, before, after)
