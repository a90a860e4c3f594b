"""Hearing a stretch of sound: its features, and where in it somebody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules import media, weights
from modules.avatar.builtin.features import HOP, MEL_RATE, SAMPLE_RATE, Hearing, WhisperEncoder, log_mel
from modules.avatar.builtin.sounds import sound_groups
from modules.avatar.silence import loudness, speaking
from modules.progress import Progress

WHISPER = "whisper-base"
MEL_PER_FRAME = MEL_RATE // media.FRAME_RATE


@dataclass(frozen=True)
class Heard:
    """mel (T100, 40) log energies; spoken (T100,) bool, where there is speech."""

    mel: np.ndarray
    spoken: np.ndarray

    def spoken_at(self, times: np.ndarray) -> np.ndarray:
        """(len(times),) bool: whether there is speech at ``times`` in seconds."""
        return self.spoken[np.minimum((times * MEL_RATE).astype(int), len(self.spoken) - 1)]


def hear(sound: np.ndarray) -> Heard:
    """What is heard in 16 kHz mono ``sound`` of at least one sample."""
    mel = log_mel(sound)
    by_frame = speaking(loudness(sound, -(-len(mel) // MEL_PER_FRAME), media.FRAME_RATE))
    return Heard(mel, np.repeat(by_frame, MEL_PER_FRAME)[: len(mel)])


class Ears:
    """The Whisper encoder, loaded when it is first needed and kept until ``unload``."""

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._encoder: WhisperEncoder | None = None

    def states(self, sound: np.ndarray, in_haste: bool = False, progress: Progress | None = None) -> np.ndarray:
        """(T50, 512) Whisper encoder states of 16 kHz ``sound``; StudioError where the weights are missing."""
        if self._encoder is None:
            self._encoder = WhisperEncoder(weights.folder(self._models_dir, WHISPER), self._threads)
        return self._encoder.states(sound, in_haste, progress)

    def hearing(
        self, sound: np.ndarray, mel: np.ndarray, in_haste: bool = False, progress: Progress | None = None
    ) -> Hearing:
        """All features of 16 kHz ``sound``, whose log-mel is known."""
        states = self.states(sound, in_haste, progress)
        return Hearing(states, mel, sound_groups(states))

    def unload(self) -> None:
        """Give the encoder's memory back."""
        self._encoder = None


def at_hearing_rate(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """``samples`` at the 16 kHz that ears work with; 10 ms of silence are added where there is next to nothing."""
    sound = media.resample(samples, sample_rate, SAMPLE_RATE)
    return np.pad(sound, (0, HOP)) if len(sound) < HOP else sound
