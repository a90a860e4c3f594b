"""Which group of speech sounds is heard when, for any speaker and language: what of a sound shapes a mouth.

data/speech_sounds.npz holds one linear map from Whisper's encoder states to the groups. It was learnt from synthetic
speech, whose timing is known, by tools/make_speech_sounds.py: many voices, English, Chinese and nonsense words.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

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


@cache
def _map() -> np.ndarray:
    """(1537, 14) float32."""
    with np.load(FILE, allow_pickle=False) as data:
        return data["map"].astype(np.float32)
