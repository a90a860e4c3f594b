"""Whether speech is sound as a signal: what can be told without understanding a word of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Row = NDArray[np.floating]
Flags = NDArray[np.bool_]

FRAME_SECONDS = 0.02
# RMS of a frame below which nobody hears it.
INAUDIBLE = 0.003
# Levels are in dB against the speech itself: the RMS of its audible frames.
QUIET_DB = -34.0
# The body of speech; breath, reverberation and the tail of a word stay below.
LOUD_DB = -12.0
LONGEST_PAUSE = 1.2
# Seconds of the body of speech that one syllable may take at speed 1.
SYLLABLE_SECONDS = (0.05, 0.4)
# Samples at the rail one after another: a wave that is merely loud touches it in single samples.
RAIL = 0.985
CLIPPED_RUN = 4
CLIPPED_SHARE = 0.001
# A hole is digital silence with speech right before and behind it; a closed mouth is never that quiet.
EMPTY = 2e-4
HOLE_SECONDS = (0.012, 0.25)
HOLE_EDGE_SECONDS = 0.006
HOLE_EDGE_DB = -20.0
# Speech dies away; what still has this level in its last moment was cut off.
CUT_SECONDS = 0.012
CUT_DB = -15.0
# Noise: nearly as loud as the vowels, with a spectrum as flat as no voice and no fricative of that level has.
BURST_FRAMES = 3
BURST_DB = -5.0
BURST_FLATNESS = 0.42
BURST_HZ = (100.0, 8000.0)


def faults(sound: Floats, rate: int, syllables: int, speed: float = 1.0) -> tuple[str, ...]:
    """What is wrong with the speech of one sentence: silent, clipped, pause, fast, slow, hole, cut, noise.

    sound: mono in [-1, 1], ``rate`` samples a second; syllables: about how many it should have,
    0 where nobody knows; speed: the speed that was asked for, 1 is normal.
    """
    frames = _frames(sound, rate)
    rms = np.sqrt((frames**2).mean(axis=1))
    audible = rms > INAUDIBLE
    if not audible.any():
        return ("silent",)
    speech = float(np.sqrt((rms[audible] ** 2).mean()))
    levels = _decibels(rms, speech)
    first, *_, last = np.flatnonzero(audible)[[0, -1]]
    per_syllable = (levels > LOUD_DB).sum() * FRAME_SECONDS * speed / syllables if syllables else None
    found = {
        "clipped": _is_clipped(sound),
        "pause": _longest_run(levels[first : last + 1] < QUIET_DB) * FRAME_SECONDS > LONGEST_PAUSE,
        "fast": per_syllable is not None and per_syllable < SYLLABLE_SECONDS[0],
        "slow": per_syllable is not None and per_syllable > SYLLABLE_SECONDS[1],
        "hole": _has_hole(sound, rate, speech),
        "cut": _level(sound[-round(CUT_SECONDS * rate) :], speech) > CUT_DB,
        "noise": _longest_run((levels > BURST_DB) & (_flatness(frames, rate) > BURST_FLATNESS)) >= BURST_FRAMES,
    }
    return tuple(name for name, wrong in found.items() if wrong)


def loud_frames(sound: Floats, rate: int) -> Flags:
    """Which frames of FRAME_SECONDS hold the body of speech."""
    rms = np.sqrt((_frames(sound, rate) ** 2).mean(axis=1))
    speech = np.sqrt((rms[rms > INAUDIBLE] ** 2).mean()) if (rms > INAUDIBLE).any() else 1.0
    return _decibels(rms, float(speech)) > LOUD_DB


def _frames(sound: Floats, rate: int) -> Floats:
    """(N, samples of FRAME_SECONDS); the last frame is filled up with silence."""
    size = round(FRAME_SECONDS * rate)
    return np.pad(sound, (0, -len(sound) % size)).reshape(-1, size)


def _decibels(rms: Row, speech: float) -> Row:
    return 20 * np.log10(np.maximum(rms, 1e-6) / speech)


def _level(sound: Floats, speech: float) -> float:
    """Level of a stretch against the speech in dB."""
    return float(_decibels(np.sqrt(np.mean(sound**2, keepdims=True)), speech)[0])


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [*zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def _longest_run(flags: Flags) -> int:
    return max((stop - start for start, stop in _runs(flags)), default=0)


def _is_clipped(sound: Floats) -> bool:
    rails = [stop - start for start, stop in _runs(np.abs(sound) >= RAIL)]
    return sum(length for length in rails if length >= CLIPPED_RUN) > CLIPPED_SHARE * len(sound)


def _has_hole(sound: Floats, rate: int, speech: float) -> bool:
    shortest, longest = (seconds * rate for seconds in HOLE_SECONDS)
    edge = round(HOLE_EDGE_SECONDS * rate)
    return any(
        shortest <= stop - start <= longest
        and edge <= start
        and stop + edge <= len(sound)
        and min(_level(sound[start - edge : start], speech), _level(sound[stop : stop + edge], speech)) > HOLE_EDGE_DB
        for start, stop in _runs(np.abs(sound) < EMPTY)
    )


def _flatness(frames: Floats, rate: int) -> Row:
    """Spectral flatness of each frame within BURST_HZ: 0 for a tone, about 0.56 for white noise."""
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2 + 1e-12
    hertz = np.fft.rfftfreq(frames.shape[1], 1 / rate)
    band = power[:, (hertz >= BURST_HZ[0]) & (hertz <= BURST_HZ[1])]
    return np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)
