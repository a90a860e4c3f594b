"""The 54 published Kokoro voices, as one small file: styles by sentence length, and how each one sounds.

data/kokoro_voices_r8.npz holds the styles reduced to rank 8 over the sentence length, and speaker
embeddings of every voice's timbre spoken at two pitches. tools/make_kokoro_voices.py makes it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FILE = Path(__file__).parent / "data" / "kokoro_voices_r8.npz"
STYLE_SIZE = 128
LONGEST = 510
TABLE_PITCHES = (115, 205)
TYPICAL_LENGTHS = slice(30, 120)


class VoicePacks:
    """All 54 voices in memory (about 28 MB once a style has been asked for)."""

    def __init__(self, file: Path = FILE) -> None:
        with np.load(file, allow_pickle=False) as stored:
            self.names: tuple[str, ...] = tuple(str(name) for name in stored["names"])
            self._basis = stored["basis"].astype(np.float32)
            self._coefficients = stored["coef"].astype(np.float32)
            self._tables = {hz: stored[f"embA_{hz}"].astype(np.float32) for hz in TABLE_PITCHES}

    def style(self, name: str, tokens: int) -> Floats:
        """(256,) style of the voice for a sentence of ``tokens`` symbols, the two end marks counted."""
        length = min(max(tokens - 2, 0), LONGEST - 1)
        row: Floats = self._basis[length] @ self._coefficients[:, self.names.index(name)]
        return row

    def prosody(self, name: str, tokens: int) -> Floats:
        """(128,) second half of the style: rhythm and melody."""
        half: Floats = self.style(name, tokens)[STYLE_SIZE:]
        return half

    def timbres(self) -> Floats:
        """(54, 128) first half of every style at ordinary sentence lengths: the sound of the voice."""
        usual = self._basis[TYPICAL_LENGTHS].mean(0)
        timbre: Floats = np.einsum("r,rvd->vd", usual, self._coefficients[:, :, :STYLE_SIZE])
        return timbre

    def embeddings(self, pitch: float) -> Floats:
        """(54, 256) speaker embedding of every voice, spoken at the stored pitch nearest to ``pitch`` Hz."""
        nearest = min(TABLE_PITCHES, key=lambda hz: abs(np.log(hz / pitch)))
        return self._tables[nearest]


@lru_cache(maxsize=1)
def voice_packs() -> VoicePacks:
    """The shipped voices."""
    return VoicePacks()
