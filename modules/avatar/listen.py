"""Cutting a stream of sound into windows of whole frames, with sound before and after for context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modules.media import FRAME_RATE, AudioChunk, Phone, sounding


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
    phones: what is spoken in them, in seconds from their first sample, uncut; None where nobody knows.
    """

    samples: np.ndarray
    sample_rate: int
    first: int
    count: int
    before: int
    after: int
    phones: tuple[Phone, ...] | None = None

    @property
    def times(self) -> np.ndarray:
        """Middle of each frame, context included, in seconds from the start of ``samples``."""
        return np.asarray((np.arange(self.before + self.count + self.after) + 0.5) / FRAME_RATE)


def windows(speech: Iterator[AudioChunk], pace: Pace) -> Iterator[Window]:
    """The windows of a stream; together their frames are one for each 40 ms begun."""
    held: _Held | None = None
    first = 0
    for chunk in speech:
        if held is None:
            held = _Held(chunk.sample_rate)
        held.add(chunk)
        while held.stop >= _position(first + pace.count + pace.after, held.rate):
            yield held.window(first, pace.count, min(pace.before, first - held.first), pace.after)
            first += pace.count
            held.forget(first - pace.before)
    if held is not None:
        total = -(-held.stop * FRAME_RATE // held.rate)
        while first < total:
            count = min(pace.count, total - first)
            after = min(pace.after, total - first - count)
            yield held.window(first, count, min(pace.before, first - held.first), after)
            first += count


class _Held:
    """The end of a stream that is still needed: its sound from frame ``first`` on, and the phones in it.

    stop: number of samples of the stream so far.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.first = 0
        self.stop = 0
        self._samples = np.zeros(0, np.float32)
        self._phones: list[Phone] | None = []

    def add(self, chunk: AudioChunk) -> None:
        """The stream goes on with ``chunk``."""
        if chunk.sample_rate != self.rate:
            raise ValueError("chunks of different sample rates")
        if chunk.phones is None or self._phones is None:
            self._phones = None
        else:
            self._phones += [phone.moved(self.stop / self.rate) for phone in chunk.phones]
        self._samples = np.concatenate([self._samples, chunk.samples.astype(np.float32, copy=False)])
        self.stop += len(chunk.samples)

    def window(self, first: int, count: int, before: int, after: int) -> Window:
        """``count`` frames from ``first`` on, and those around them."""
        begin, end = first - before, first + count + after
        origin = _position(self.first, self.rate)
        samples = self._samples[_position(begin, self.rate) - origin : _position(end, self.rate) - origin]
        phones = None if self._phones is None else sounding(self._phones, begin / FRAME_RATE, end / FRAME_RATE)
        return Window(samples, self.rate, first, count, before, after, phones)

    def forget(self, first: int) -> None:
        """Let go of everything before frame ``first``."""
        if first <= self.first:
            return
        self._samples = self._samples[_position(first, self.rate) - _position(self.first, self.rate) :]
        self.first = first
        if self._phones is not None:
            self._phones = [phone for phone in self._phones if phone.stop > first / FRAME_RATE]


def _position(frame: int, rate: int) -> int:
    """Number of the first sample of a frame."""
    return -(-frame * rate // FRAME_RATE)
