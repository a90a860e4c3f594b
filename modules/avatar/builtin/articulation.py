"""Mouth movement that fits any voice and any face, for photos and for footage in which nobody speaks.

Nothing here is learnt: how open and how round a mouth is follows from where the energy of the sound lies
(open vowels have a high first formant, rounded ones a low second, hisses need nearly closed teeth).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.features import MEL_BANDS, MEL_RATE, at_times

# Bands of the 40-band mel (60 to 7600 Hz) that tell vowels apart.
FIRST_LOW, FIRST_HIGH = slice(2, 6), slice(8, 15)
SECOND_LOW, SECOND_HIGH = slice(9, 16), slice(22, 30)
HISS = slice(32, MEL_BANDS)
VOICE = slice(2, 30)
# Natural-log energy under the loud parts at which the mouth is closed.
LOUDNESS_RANGE = 5.5
MAX_OPENING = 0.15
MAX_ROUNDING = 0.06
SIGMA_SECONDS = 0.035
# Lips move a little before they are heard.
LEAD_SECONDS = 0.03


def movements(mel: np.ndarray, spoken: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opening and rounding at ``times`` (s): each (T,), in eye distances; rounding is negative for spread lips.

    mel (T100, 40) natural-log energies; spoken (T100,) bool, where there is speech.
    """
    voice = np.log(np.exp(mel[:, VOICE]).mean(1) + 1e-6)
    loud = np.quantile(voice[spoken], 0.9) if spoken.any() else voice.max() + LOUDNESS_RANGE
    strength = np.clip(1 + (voice - loud) / LOUDNESS_RANGE, 0, 1) ** 1.5

    def contrast(high: slice, low: slice) -> np.ndarray:
        difference = mel[:, high].mean(1) - mel[:, low].mean(1)
        heard = difference[spoken] if spoken.any() else difference
        return np.tanh((difference - np.median(heard)) / (2 * heard.std() + 1e-6))

    openness = strength * (0.62 + 0.38 * contrast(FIRST_HIGH, FIRST_LOW)) * (1 - 0.4 * contrast(HISS, VOICE).clip(0))
    roundness = -strength * contrast(SECOND_HIGH, SECOND_LOW)
    both = np.stack([openness * MAX_OPENING, roundness * MAX_ROUNDING], 1)
    smooth = gaussian_filter1d(both, SIGMA_SECONDS * MEL_RATE, axis=0)
    sampled = at_times(smooth, MEL_RATE, times + LEAD_SECONDS)
    return sampled[:, 0], sampled[:, 1]
