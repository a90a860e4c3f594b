"""Fundamental frequency of speech, by normalised autocorrelation (Boersma 1993, simplified)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOWEST_HZ = 60.0
HIGHEST_HZ = 450.0
WINDOW_SECONDS = 0.05
HOP_SECONDS = 0.01
VOICED_ABOVE = 0.6
QUIET_BELOW_PEAK = 10**-1.75
# ln F0 further than this (three quarters of an octave) from the median is the tracker's mistake, not melody.
FURTHEST = 0.52
MAD_TO_DEVIATION = 1.4826


def pitch_track(sound: Floats, sample_rate: int) -> Floats:
    """F0 in Hz every 10 ms, 0 where unvoiced. sound: mono in [-1, 1]."""
    size, hop = int(WINDOW_SECONDS * sample_rate), int(HOP_SECONDS * sample_rate)
    if len(sound) < size:
        return np.zeros(0, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]
    frames = frames - frames.mean(1, keepdims=True)
    level = np.sqrt((frames**2).mean(1))
    shortest, longest = int(sample_rate / HIGHEST_HZ), int(sample_rate / LOWEST_HZ)
    likeness = _autocorrelation(frames, longest + 2)
    lags = np.arange(shortest, longest + 1)
    # A slight preference for short lags keeps the tracker from halving the pitch.
    scored = likeness[:, shortest : longest + 1] * (1 - 0.08 * np.log2(lags / shortest) / np.log2(longest / shortest))
    best = lags[np.argmax(scored, axis=1)]
    rows = np.arange(len(best))
    height = likeness[rows, best]
    left, right = likeness[rows, best - 1], likeness[rows, best + 1]
    bend = np.minimum(left - 2 * height + right, -1e-9)
    period = best + np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    voiced = (height > VOICED_ABOVE) & (level > QUIET_BELOW_PEAK * np.percentile(level, 95))
    return np.where(voiced, sample_rate / period, 0).astype(np.float32)


def _autocorrelation(frames: NDArray[np.floating], lags: int) -> NDArray[np.float64]:
    """Autocorrelation of windowed frames divided by that of the window: 1 for a perfect repeat."""
    window = np.hanning(frames.shape[1])
    size = 1 << (2 * frames.shape[1] - 1).bit_length()

    def correlate(x: NDArray[np.floating]) -> NDArray[np.float64]:
        spectrum = np.fft.rfft(x, size)
        return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, size)[..., :lags], np.float64)

    raw = correlate(frames * window)
    of_window = correlate(window)
    scaled: NDArray[np.float64] = raw / (raw[:, :1] + 1e-12) / (of_window / of_window[0])
    return scaled


@dataclass(frozen=True)
class Melody:
    """Where a voice lies and how far it moves: median F0 in Hz, and standard deviation of ln F0."""

    pitch: float
    spread: float


def melody(sound: Floats, sample_rate: int) -> Melody | None:
    """Median and robust spread of the F0 without the tracker's octave errors; None when nothing is voiced."""
    track = pitch_track(sound, sample_rate)
    logs = np.log(track[track > 0])
    if not len(logs):
        return None
    for _ in range(3):
        logs = logs[np.abs(logs - np.median(logs)) < FURTHEST]
    middle = float(np.median(logs))
    return Melody(float(np.exp(middle)), float(MAD_TO_DEVIATION * np.median(np.abs(logs - middle))))


def median_pitch(sound: Floats, sample_rate: int) -> float:
    """Median F0 in Hz of the voiced parts; 0 when nothing is voiced."""
    found = melody(sound, sample_rate)
    return found.pitch if found else 0.0
