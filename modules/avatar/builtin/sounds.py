"""Which group of speech sounds is heard when, for any speaker and language: what of a sound shapes a mouth.

data/speech_sounds.npz holds one linear map from Whisper's encoder states to the groups. It was learnt from synthetic
speech, whose timing is known, by tools/make_speech_sounds.py: many voices, English, Chinese and nonsense words.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from modules.avatar.builtin.features import WHISPER_RATE
from modules.media import Phone

FILE = Path(__file__).parent / "data" / "speech_sounds.npz"
# Letters of misaki's phonetic alphabet whose sounds look alike on the lips; the first group is silence.
GROUPS = (
    " ",
    "pbmɸβ",
    "fvʋ",
    "wɥuʊʍOoɔQ",
    "yøœ",
    "ɑaæʌɐɒIWɛ",
    "eAəᵊɚɜɤYᵻɨɯ",
    "iɪj",
    "szʦʣ",
    "ʃʒʧʤʂꭧɕʨʥʝç",
    "tdnlTɾɳɲɽʈɖ",
    "kɡŋxhχɣqɰʔɴʁ",
    "θð",
    "ɹɻr",
)
# How far each group opens any mouth, roughly: 1 for an a, -1 for lips that touch. Silence says nothing.
OPENNESS = np.array([0, -1, -0.6, -0.2, -0.3, 1, 0.4, 0.1, -0.2, -0.2, -0.1, 0, 0, 0])
# A sound that is never heard with more than this share is not worth following.
LEAST_SHARE = 0.3
# How decided the groups are: the map's answers lie between 0 and 1.
SHARPNESS = 6.0


def in_context(states: np.ndarray) -> np.ndarray:
    """(T, 1537) each of the (T, 512) encoder states with the one before and after it, and 1."""
    before, after = np.concatenate([states[:1], states[:-1]]), np.concatenate([states[1:], states[-1:]])
    return np.concatenate([before, states, after, np.ones((len(states), 1), states.dtype)], axis=1)


def sound_groups(states: np.ndarray) -> np.ndarray:
    """(T, 14) shares, summing to 1, of GROUPS at each of (T, 512) Whisper encoder states."""
    answers = SHARPNESS * (in_context(states) @ _map())
    shares = np.exp(answers - answers.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def heard_phones(shares: np.ndarray) -> tuple[Phone, ...]:
    """What is said when, as far as (T, 14) ``shares`` at WHISPER_RATE tell: one letter stands for its group.

    Silence is left out: other parts of the engine judge it better.
    """
    group = shares.argmax(1)
    turns = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    phones = []
    for start, stop in pairwise(turns.tolist()):
        if group[start] > 0 and shares[start:stop].max() >= LEAST_SHARE:
            begin, end = max(start - 0.5, 0.0) / WHISPER_RATE, (stop - 0.5) / WHISPER_RATE
            phones.append(Phone(GROUPS[group[start]][0], begin, end))
    return tuple(phones)


@cache
def _map() -> np.ndarray:
    """(1537, 14) float32."""
    with np.load(FILE, allow_pickle=False) as data:
        return data["map"].astype(np.float32)
