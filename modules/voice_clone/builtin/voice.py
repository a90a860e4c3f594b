"""What enrolment learns of a person and how a sentence's style is put together from it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modules.voice_clone.builtin.packs import VoicePacks
from modules.voice_clone.builtin.reading import tuned
from modules.voice_clone.builtin.room import Room

Floats = NDArray[np.float32]

FILE = "kokoro_voice.json"
LOW_VOICE_BELOW_HZ = 165.0
# A person's melody may be this much flatter or livelier than the pack's: beyond it, tones are lost.
LEAST_REACH, MOST_REACH = 0.8, 1.25


@dataclass(frozen=True)
class Prosody:
    """Voice packs whose mean lends rhythm and melody, their median F0 in Hz, and the deviation of its ln F0."""

    packs: tuple[str, ...]
    pitch: float
    spread: float


LOW = {
    "zh": Prosody(("zm_yunxi",), 158.0, 0.26),
    "en": Prosody(("am_michael",), 111.0, 0.21),
    "ja": Prosody(("jm_kumo",), 94.0, 0.22),
    "mixed": Prosody(("zm_yunxi", "am_michael"), 132.0, 0.235),
}
HIGH = {
    "zh": Prosody(("zf_xiaoxiao",), 237.0, 0.21),
    "en": Prosody(("af_heart",), 191.0, 0.17),
    "ja": Prosody(("jf_alpha",), 272.0, 0.22),
}
# What lends the prosody of the Chinese and of the English words of a mixed sentence, by how it leans.
LOW_MIXED = {"usual": ("mixed", "mixed"), "english": ("zh", "en"), "chinese": ("zh", "mixed")}
HIGH_MIXED = {"usual": ("zh", "en"), "english": ("en", "en"), "chinese": ("zh", "zh")}


@dataclass(frozen=True)
class LearntVoice:
    """timbre: the 128 numbers of Kokoro's decoder style; pitch: the person's median F0 in Hz.

    spread: deviation of the person's ln F0, 0 where it was not measured (voices learnt before it was).
    room: where the person was recorded; None where that cannot be heard, or was not asked.
    """

    timbre: tuple[float, ...]
    pitch: float
    spread: float = 0.0
    room: Room | None = None

    def prosody(self, language: str) -> Prosody:
        """What lends the prosody in ``language``: 'zh', 'en', 'ja' or what ``mixed`` says."""
        return (LOW if self._is_low else HIGH)[language]

    def mixed(self, leaning: str = "usual") -> tuple[str, str]:
        """Whose prosody the Chinese and the English words of a mixed sentence take (docs/quality/mixed_tried.md).

        leaning: 'usual', 'english' or 'chinese'.
        """
        return (LOW_MIXED if self._is_low else HIGH_MIXED)[leaning]

    @property
    def _is_low(self) -> bool:
        return self.pitch < LOW_VOICE_BELOW_HZ

    def style(self, packs: VoicePacks, language: str, tokens: int) -> Floats:
        """(256,) style for a sentence of ``tokens`` symbols."""
        prosody = np.mean([packs.prosody(name, tokens) for name in self.prosody(language).packs], axis=0)
        return np.concatenate([np.asarray(self.timbre, np.float32), prosody]).astype(np.float32)

    def tuned(self, pitch: Floats, language: str, factor: float = 1.0) -> Floats:
        """F0 in Hz (of any shape) as ``language``'s prosody has it, as the person has it; factor: that much higher."""
        lent = self.prosody(language)
        return tuned(pitch, factor * self.pitch / lent.pitch, self._reach(lent), lent.pitch)

    def _reach(self, lent: Prosody) -> float:
        """How much further than the lent melody the person's moves from its median, in ln F0."""
        return float(np.clip(self.spread / lent.spread, LEAST_REACH, MOST_REACH)) if self.spread else 1.0

    def save(self, folder: Path) -> None:
        """Write the voice into ``folder``; the file appears whole or not at all."""
        part = folder / f"{FILE}.part"
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(part, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> LearntVoice:
        """The voice that ``save`` wrote."""
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
        room = stored.get("room")
        return cls(tuple(stored["timbre"]), stored["pitch"], stored.get("spread", 0.0), room and Room(**room))
