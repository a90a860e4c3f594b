"""Sound as float32 mono numpy arrays in [-1, 1]: read from any media, resample, WAV in and out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from modules.errors import StudioError
from modules.media.container import audio_stream, demuxed, opened, video_stream
from modules.media.footage import timeline

Samples = NDArray[np.float32]

_GAP = 0.04  # seconds; time stamps of real files jitter by less, holes are longer
_LONGEST_HOLE = 60.0  # seconds; a longer jump is a damaged time stamp


# The symbol of a phone that is silence.
PAUSE = " "


@dataclass(frozen=True)
class Phone:
    """One speech sound, in the letters of misaki's phonetic alphabet (PAUSE: none), from ``start`` to ``stop``.

    Times are seconds from the beginning of the sound that it belongs to.
    """

    symbol: str
    start: float
    stop: float

    def moved(self, seconds: float) -> Phone:
        """The same phone ``seconds`` later."""
        return Phone(self.symbol, self.start + seconds, self.stop + seconds)


def clipped(phones: Iterable[Phone], start: float, stop: float) -> tuple[Phone, ...]:
    """What of ``phones`` lies between ``start`` and ``stop``, in seconds from ``start``."""
    inside = (Phone(p.symbol, max(p.start, start), min(p.stop, stop)).moved(-start) for p in phones)
    return tuple(phone for phone in inside if phone.stop > phone.start)


def sounding(phones: Iterable[Phone], start: float, stop: float) -> tuple[Phone, ...]:
    """Those of ``phones`` that sound between ``start`` and ``stop``, uncut, in seconds from ``start``."""
    return tuple(phone.moved(-start) for phone in phones if phone.stop > start and phone.start < stop)


@dataclass(frozen=True)
class AudioChunk:
    """A piece of sound: float32 mono samples in [-1, 1] and how many of them a second.

    phones: what is spoken when, in order; None where nobody knows. A phone belongs to the chunk in which it
    starts, and may end beyond it; the first chunk of a stream may begin inside a phone.
    """

    samples: Samples
    sample_rate: int
    phones: tuple[Phone, ...] | None = None

    @property
    def rest(self) -> float:
        """Seconds of the pause at its end, as far as its phones tell: what dies away in a room, say."""
        last = self.phones[-1] if self.phones else None
        return last.stop - last.start if last is not None and last.symbol == PAUSE else 0.0


def collect(chunks: Iterable[AudioChunk]) -> AudioChunk:
    """All chunks of one stream as one; they must share a sample rate. Phones are known where all chunks know."""
    held = list(chunks)
    if not held:
        raise StudioError("sound_empty")
    rates = {chunk.sample_rate for chunk in held}
    if len(rates) != 1:
        raise ValueError(f"chunks of different sample rates: {sorted(rates)}")
    return AudioChunk(np.concatenate([chunk.samples for chunk in held]), rates.pop(), _phones_of(held))


def _phones_of(chunks: Sequence[AudioChunk]) -> tuple[Phone, ...] | None:
    phones: list[Phone] = []
    start = 0.0
    for chunk in chunks:
        if chunk.phones is None:
            return None
        phones += [phone.moved(start) for phone in chunk.phones]
        start += len(chunk.samples) / chunk.sample_rate
    return tuple(phones)


def read_sound(path: Path, sample_rate: int, start: float = 0.0, duration: float | None = None) -> Samples:
    """The sound from ``start`` s for ``duration`` s (None: to its end); empty where there is none.

    Time 0 is the first displayed picture, so sample k belongs to picture ``k / sample_rate * 25``
    even when the tracks of the file begin at different times; holes are filled with silence.
    """
    with opened(path) as container:
        stream = audio_stream(container)
        if stream is None:
            return np.zeros(0, np.float32)
        begin = timeline(path).start if video_stream(container) is not None else None
        rate = stream.rate or sample_rate
        stop = None if duration is None else start + duration
        pieces = list(_aligned(_timed(container, stream, rate), rate, begin, start, stop))
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    sound = resample(joined, rate, sample_rate)
    return sound if duration is None else sound[: round(duration * sample_rate)]


def resample(x: Samples, from_rate: int, to_rate: int) -> Samples:
    """Sound at another sample rate (soxr, high quality)."""
    if from_rate == to_rate or not len(x):
        return x.astype(np.float32, copy=False)
    return np.asarray(soxr.resample(x, from_rate, to_rate), dtype=np.float32)


def read_wav(path: Path) -> AudioChunk:
    """A WAV file of the studio's own, as mono."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise StudioError("media_unreadable", name=path.name) from error
    return AudioChunk(np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32)), int(rate))


def write_wav(path: Path, x: Samples, rate: int) -> None:
    """Write 16-bit mono WAV; the file appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        soundfile.write(part, np.clip(x, -1.0, 1.0), rate, subtype="PCM_16", format="WAV")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _timed(container: InputContainer, stream: AudioStream, rate: int) -> Iterator[tuple[float | None, Samples]]:
    """Decoded blocks as mono at ``rate``, each with its time on the container's clock."""
    mixer = _Mixer(rate)
    for packet in demuxed(container, stream):
        try:
            for frame in packet.decode():
                yield frame.time, mixer.mono(frame)
        except (av.FFmpegError, EOFError, ValueError):
            continue


class _Mixer:
    """Any sample format and layout to float mono; a broken or spliced file may change them on the way."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._shape: tuple[str, str, int] | None = None
        self._channels = 1
        self._convert = AudioResampler()

    def mono(self, frame: AudioFrame) -> Samples:
        """One frame as samples at the mixer's rate."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            # More than two channels are mixed to two by FFmpeg (speech sits in the centre channel);
            # one or two are left alone, since its own mix to mono changes their loudness. Packed
            # samples, because PyAV reads planes beyond the eighth from nowhere.
            self._channels = min(2, frame.layout.nb_channels)
            layout = "mono" if self._channels == 1 else "stereo"
            self._convert = AudioResampler(format="flt", layout=layout, rate=self._rate)
            self._shape = shape
        blocks = [block.to_ndarray().reshape(-1, self._channels) for block in self._convert.resample(frame)]
        if not blocks:
            return np.zeros(0, np.float32)
        return np.asarray(np.concatenate(blocks).mean(axis=1), dtype=np.float32)


def _aligned(
    blocks: Iterator[tuple[float | None, Samples]], rate: int, begin: float | None, start: float, stop: float | None
) -> Iterator[Samples]:
    """Put blocks where their time stamps say, counted from ``begin``; keep only ``start`` to ``stop``."""
    position = 0  # samples since `begin` that have been placed or passed
    first = round(start * rate)
    last = None if stop is None else round(stop * rate)
    for time, block in blocks:
        if begin is None:
            begin = time or 0.0
        wanted = position if time is None else round((time - begin) * rate)
        gap = wanted - position if abs(wanted - position) <= _LONGEST_HOLE * rate else 0
        if gap > _GAP * rate or (position == 0 and gap > 0):
            block = np.concatenate([np.zeros(gap, np.float32), block])
        elif gap < -_GAP * rate or (position == 0 and gap < 0):
            block = block[-gap:]
        end = position + len(block)
        inside = block[max(0, first - position) : None if last is None else max(0, last - position)]
        position = end
        if len(inside):
            yield inside
        if last is not None and position >= last:
            return
