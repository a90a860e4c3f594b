"""Hearing without HuBERT: what the built-in engine makes of a sound, the wanted shape of this person's mouth.

HuBERT's features teach a network to hear, which takes minutes of speech. From seconds of it the built-in engine's
regression hears better; Ultralight's network then learns only to draw, from the shapes seen in the footage, and cannot
learn its sound by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules import media
from modules.avatar.builtin.ears import Ears, hear
from modules.avatar.builtin.learn import attend
from modules.avatar.builtin.regress import SpeechToShape
from modules.avatar.builtin.shapes import ShapeSpace, face_shapes, opening
from modules.avatar.builtin.sounds import heard_phones
from modules.avatar.builtin.sync import USUAL_LAG, footage_lag
from modules.avatar.builtin.visemes import Mouth
from modules.avatar.silence import gate
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

FILE = "listener.npz"


@dataclass(frozen=True)
class Listener:
    """From sound to the codes of one person's mouth, in deviations; a code has as many numbers as ``space`` has.

    frames (N,) rising frame numbers and lower (N, 116, 3) the mouths at them; lag: seconds by which the footage shows
    lips later than they should be.
    """

    space: ShapeSpace
    speech: SpeechToShape
    frames: np.ndarray
    lower: np.ndarray
    lag: float

    @classmethod
    def fit(cls, footage: media.Footage, track: Track, ears: Ears, progress: Progress) -> Listener:
        """Learn from all usable frames; StudioError('training_silent') where hardly anybody speaks."""
        frames = np.flatnonzero(track.usable)
        lesson = attend(footage, frames, ears, progress.part(0.0, 0.3)) if len(frames) else None
        if lesson is None:
            raise StudioError("training_silent")
        lower = face_shapes(track.landmarks[frames], frames).lower
        space, speech = lesson.learnt(lower, progress.part(0.3, 1.0))
        lag = footage_lag(lesson.hearing.sounds, lesson.times, opening(lower))
        return cls(space, speech, frames, lower.astype(np.float32), lag)

    def seen(self) -> np.ndarray:
        """(N, K) float32 codes of the mouths seen at ``frames``: what drawing is learnt from."""
        return self._standard(self.space.encode(self.lower))

    def codes(
        self,
        sound: np.ndarray,
        count: int,
        ears: Ears,
        in_haste: bool = False,
        phones: Sequence[media.Phone] | None = None,
    ) -> np.ndarray:
        """(count, K) float32 codes wanted in the first ``count`` frames of 40 ms of 16 kHz ``sound``.

        phones: what is said in it, where the voice tells; lips are then in sync, and not as late as in the footage.
        """
        heard = hear(sound)
        hearing = self.speech.adapted(ears.hearing(sound, heard.mel, in_haste), heard.spoken)
        times = (np.arange(count) + 0.5) / media.FRAME_RATE
        spoken = heard.spoken_at(times)
        codes = self.speech.predict(hearing, times + (0.0 if phones is None else self.lag), spoken, self.space)
        codes = self.space.rest + (codes - self.space.rest) * gate(spoken, self.space.closing)[:, None]
        mouth = Mouth(self.space, self.lower, self.frames)
        if phones is None:
            wish = mouth.heed(codes, times - USUAL_LAG - self.lag, heard_phones(hearing.sounds))
        else:
            wish = mouth.follow(codes, times, phones)
        return self._standard(wish.codes)

    def save(self, folder: Path) -> None:
        """Write FILE into ``folder``."""
        arrays: dict[str, Any] = {f"shape.{name}": value for name, value in vars(self.space).items()}
        arrays |= {f"speech.{name}": value for name, value in self.speech.to_arrays().items()}
        with open(folder / FILE, "wb") as file:
            np.savez_compressed(file, frames=self.frames, lower=self.lower, lag=self.lag, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Listener:
        """What ``save`` wrote; StudioError('avatar_broken') where it cannot be read."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as data:
                groups: dict[str, dict[str, Any]] = {"shape": {}, "speech": {}, "own": {}}
                for name in data.files:
                    group, _, inner = name.partition(".")
                    if inner:
                        groups[group][inner] = data[name]
                    else:
                        groups["own"][name] = data[name]
            own = groups["own"]
            space, speech = ShapeSpace(**groups["shape"]), SpeechToShape.from_arrays(groups["speech"])
            return cls(space, speech, own["frames"], own["lower"], float(own["lag"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudioError("avatar_broken", name=FILE) from error

    def _standard(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(codes / self.space.deviation, np.float32)
