"""How far a footage's picture lags behind its sound.

What is heard says roughly how open any mouth must be (sounds.OPENNESS); how open it is seen to be follows that at
one shift much better than at all others.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.features import WHISPER_RATE, at_times
from modules.avatar.builtin.sounds import OPENNESS
from modules.media import FRAME_RATE

SHIFTS = np.arange(-0.4, 0.4001, 0.02)
SLOW_SECONDS = 0.4
# Lips are seen this long after the phone that they form is heard to begin (two clips agree on it within 10 ms).
USUAL_LAG = 0.04
# Hardly anybody sees less than this, and it may be the ruler's error.
SEEN = 0.06
# A peak counts when it is this high, and this far above what lies more than a syllable away.
LEAST_CORRELATION, LEAST_LEAD, SYLLABLE = 0.2, 0.1, 0.12


def footage_lag(sounds: np.ndarray, times: np.ndarray, opened: np.ndarray) -> float:
    """Seconds by which lips that are seen ``opened`` (N,) at ``times`` (N,) come after their sound; 0 where in doubt.

    sounds: (T50, 14) shares of the groups of speech sounds.
    """
    openness = (sounds @ OPENNESS)[:, None]
    seen = _quick(opened)
    fits = np.array(
        [np.corrcoef(_quick(at_times(openness, WHISPER_RATE, times - shift)[:, 0]), seen)[0, 1] for shift in SHIFTS]
    )
    best = int(np.nan_to_num(fits).argmax())
    others = fits[np.abs(SHIFTS - SHIFTS[best]) > SYLLABLE]
    lag = float(SHIFTS[best]) - USUAL_LAG
    clear = fits[best] >= LEAST_CORRELATION and fits[best] - others.max() >= LEAST_LEAD
    return lag if clear and abs(lag) >= SEEN else 0.0


def _quick(values: np.ndarray) -> np.ndarray:
    """(N,) without slow changes."""
    return np.asarray(values - gaussian_filter1d(values.astype(np.float64), SLOW_SECONDS * FRAME_RATE))
