"""Mouth movement that fits any voice and any face, for photos and for footage in which nobody speaks.

How open and how round a mouth is follows from which group of speech sounds (sounds.GROUPS) is spoken when:
where the text is known its phones say so, else it is heard. Nothing of the person is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.features import MEL_RATE, WHISPER_RATE, at_times
from modules.avatar.builtin.sounds import GROUPS
from modules.avatar.builtin.visemes import closing, touching
from modules.media import Phone

# For each of GROUPS, in eye distances: how far a mouth opens for it, and how far it narrows (negative: widens).
OPENINGS = np.array([0, 0, 0.025, 0.085, 0.06, 0.21, 0.13, 0.085, 0.04, 0.05, 0.075, 0.085, 0.06, 0.06])
ROUNDINGS = np.array([0, 0, 0, 0.09, 0.09, 0, -0.03, -0.055, -0.04, 0.045, 0, 0, 0, 0.045])
LIPS_TOUCH = next(place for place, letters in enumerate(GROUPS) if "p" in letters)
# Sounds reach into their neighbours; widths change more slowly than openings (seconds).
OPENING_SIGMA, ROUNDING_SIGMA = 0.04, 0.06
# Of its opening, what a sound keeps however softly it is spoken; loudness is counted in so many natural-log units.
SOFT_SHARE, LOUDNESS_RANGE, LOUDNESS_SIGMA = 0.6, 5.5, 0.05
VOICE = slice(2, 30)  # of the mel bands
# Lips come together, and part again, no faster than this: eye distances a frame.
CLOSING_SPEED = 0.05
TOUCHING_SHARE = 0.5


def said(phones: Sequence[Phone], count: int) -> np.ndarray:
    """(count, 14) shares of GROUPS at WHISPER_RATE, 0 or 1, of what ``phones`` say is spoken."""
    group_of = {letter: place for place, letters in enumerate(GROUPS) for letter in letters}
    shares = np.zeros((count, len(GROUPS)), np.float32)
    for phone in phones:
        place = group_of.get(phone.symbol, 0)
        start = round(phone.start * WHISPER_RATE)
        stop = max(start + 1, round(phone.stop * WHISPER_RATE))
        # A phone may begin before the sound does.
        shares[max(start, 0) : max(stop, 0)] = np.eye(len(GROUPS))[place]
    return shares


def movements(
    shares: np.ndarray, mel: np.ndarray, spoken: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Opening and rounding at ``times`` (s): each (T,), in eye distances; rounding is negative for spread lips.

    shares (T50, 14) of GROUPS; mel (T100, 40) natural-log energies; spoken (T100,) bool, where there is speech.
    """
    opening = gaussian_filter1d(shares @ OPENINGS, OPENING_SIGMA * WHISPER_RATE)
    rounding = gaussian_filter1d(shares @ ROUNDINGS, ROUNDING_SIGMA * WHISPER_RATE)
    both = at_times(np.stack([opening, rounding], 1), WHISPER_RATE, times)
    loud = at_times(_loudness(mel, spoken)[:, None], MEL_RATE, times)[:, 0]
    wanted = both[:, 0] * (SOFT_SHARE + (1 - SOFT_SHARE) * loud)
    return closing(wanted, touching(times, _closures(shares)), 0.0, CLOSING_SPEED), both[:, 1]


def _loudness(mel: np.ndarray, spoken: np.ndarray) -> np.ndarray:
    """(T100,) 0 to 1: 1 is as loud as the loud parts of the speech."""
    voice = np.log(np.exp(mel[:, VOICE]).mean(1) + 1e-6)
    loud = np.quantile(voice[spoken], 0.9) if spoken.any() else voice.max() + LOUDNESS_RANGE
    strength = np.clip(1 + (voice - loud) / LOUDNESS_RANGE, 0, 1)
    return np.asarray(gaussian_filter1d(strength, LOUDNESS_SIGMA * MEL_RATE))


def _closures(shares: np.ndarray) -> list[Phone]:
    """Each p, b and m, one sound wherever it goes on."""
    edges = np.diff((shares[:, LIPS_TOUCH] > TOUCHING_SHARE).astype(int), prepend=0, append=0)
    starts, stops = (np.flatnonzero(edges == turn) / WHISPER_RATE for turn in (1, -1))
    return [Phone(GROUPS[LIPS_TOUCH][0], *span) for span in zip(starts.tolist(), stops.tolist(), strict=True)]
