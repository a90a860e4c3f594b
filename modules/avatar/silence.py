"""Where somebody speaks: an energy gate that adapts to the loudness and the noise of a sound."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, gaussian_filter1d

# dB under the loud parts that count as silence, and the share of the way from noise to speech.
BELOW_LOUD = 32.0
NOISE_SHARE = 0.35
# With less than this between soft and loud there is no silence to find.
LEAST_RANGE = 15.0
QUIETEST_SPEECH = -55.0
# Frames: silences shorter than this are part of speech; the mouth opens and closes this much outside it.
SHORT_SILENCE = 6
REACH = 2
# In a silence of this many frames nobody keeps the mouth open for the next word.
LONG_SILENCE = 20
GATE_SIGMA = 1.5
SAMPLE_RATE = 16000


def threshold(decibels: np.ndarray) -> float:
    """The loudness in dB that divides speech from silence in a sound's frames (N,)."""
    if not len(decibels):
        return QUIETEST_SPEECH
    noise, loud = np.quantile(decibels, [0.05, 0.95])
    level = loud - BELOW_LOUD
    if loud - noise > LEAST_RANGE:
        level = max(level, noise + NOISE_SHARE * (loud - noise))
    return float(max(level, QUIETEST_SPEECH))


def speaking(decibels: np.ndarray) -> np.ndarray:
    """(N,) bool: frames of speech, short pauses between words included."""
    loud = decibels > threshold(decibels)
    return _without_short(loud, SHORT_SILENCE)


def _without_short(spoken: np.ndarray, length: int) -> np.ndarray:
    """``spoken`` (N,) bool with silences shorter than ``length`` filled."""
    return np.asarray(binary_closing(np.pad(spoken, length), np.ones(length))[length:-length])


def gate(spoken: np.ndarray, closing: float = 1.0) -> np.ndarray:
    """(N,) 0 (mouth at rest) to 1 (mouth speaks), smooth, a little earlier and later than the sound.

    closing: how far the mouth goes to rest in a pause inside speech, 0 to 1; in a long silence it always does.
    """
    if closing < 1:
        return np.minimum(1 - closing * (1 - gate(spoken)), gate(_without_short(spoken, LONG_SILENCE)))
    reached = binary_dilation(spoken, np.ones(2 * REACH + 1))
    return np.asarray(gaussian_filter1d(reached.astype(np.float64), GATE_SIGMA, mode="nearest"))


def loudness(sound: np.ndarray, count: int, frame_rate: float) -> np.ndarray:
    """(count,) loudness in dB of the 60 ms around each frame of ``sound`` at SAMPLE_RATE (16 kHz)."""
    half = int(0.03 * SAMPLE_RATE)
    total = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    centers = ((np.arange(count) + 0.5) / frame_rate * SAMPLE_RATE).astype(int)
    low, high = np.clip(centers - half, 0, len(sound)), np.clip(centers + half, 0, len(sound))
    power = (total[high] - total[low]) / np.maximum(high - low, 1)
    return np.asarray(10 * np.log10(power + 1e-10))
