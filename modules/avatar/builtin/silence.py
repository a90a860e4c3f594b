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
GATE_SIGMA = 1.5


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
    padded = np.pad(loud, SHORT_SILENCE)
    closed = binary_closing(padded, np.ones(SHORT_SILENCE))[SHORT_SILENCE:-SHORT_SILENCE]
    return np.asarray(closed)


def gate(spoken: np.ndarray) -> np.ndarray:
    """(N,) 0 (mouth at rest) to 1 (mouth speaks), smooth, a little earlier and later than the sound."""
    reached = binary_dilation(spoken, np.ones(2 * REACH + 1))
    return np.asarray(gaussian_filter1d(reached.astype(np.float64), GATE_SIGMA, mode="nearest"))
