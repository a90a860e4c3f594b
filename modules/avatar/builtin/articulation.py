"""Mouth movement that fits any voice and any face, for photos and for footage in which nobody speaks.

Nothing here is learnt: how open and how round a mouth is follows from where the energy of the sound lies
(open vowels have a high first formant, rounded ones a low second, hisses need nearly closed teeth), and the
lower face follows the lips the way skin and jaw do.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.features import MEL_BANDS, MEL_RATE, at_times
from modules.face import landmarks as at

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

LOWER = list(at.LOWER)
LOWER_LIP_SHARE, JAW_REACH, ROUND_REACH = 0.72, 0.55, 0.45


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


def moved_shapes(rest: np.ndarray, opening: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """(T, 116, 2) LOWER points of a face at ``rest`` (478, 2) with ``opening`` and ``rounding`` (T,) added."""
    points = rest[LOWER]
    lips = rest[list(at.LIPS)]
    corners = rest[[at.MOUTH_LEFT, at.MOUTH_RIGHT]]
    middle, half = corners.mean(0), np.linalg.norm(corners[1] - corners[0]) / 2
    across = (points[:, 0] - middle[0]) / half
    arch = np.clip(1 - across**2, 0, 1) ** 0.8
    seam = rest[[at.LIP_INNER_TOP, at.LIP_INNER_BOTTOM], 1].mean()
    lower_lip = np.isin(LOWER, (*at.LIPS_INNER_LOWER[1:-1], *at.LIPS_OUTER[1:10]))
    upper_lip = np.isin(LOWER, (*at.LIPS_INNER_UPPER[1:-1], *at.LIPS_OUTER[11:]))
    # The jaw swings down as a whole, least at the ears; skin above the lips hardly moves.
    below = np.clip((points[:, 1] - seam) / max(lips[:, 1].max() - seam, 1e-6), 0, 1)
    jaw = below * np.exp(-((points[:, 0] - middle[0]) ** 2) / (2 * JAW_REACH**2)) * LOWER_LIP_SHARE
    down = np.where(lower_lip, LOWER_LIP_SHARE * arch, np.where(upper_lip, -(1 - LOWER_LIP_SHARE) * arch, jaw))
    near = np.exp(-((points - middle) ** 2).sum(1) / (2 * ROUND_REACH**2))
    inward = -np.clip(across, -1.5, 1.5) * near
    shift_y = opening[:, None] * down
    shift_x = (rounding + 0.15 * opening)[:, None] * inward
    return np.asarray(points[None] + np.stack([shift_x, shift_y], -1))
