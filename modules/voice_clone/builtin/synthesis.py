"""Phoneme tokens and a style to sound, on onnxruntime alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.errors import StudioError
from modules.voice_clone.builtin.checkpoint import speaking_graph

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]

SAMPLE_RATE = 24000
LEVEL = 0.06
PEAK = 0.97
AUDIBLE = 0.004
MARGIN_SECONDS = 0.03


class Synthesiser:
    """Kokoro's int8 graph in one onnxruntime session, opened at first use and kept."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._session: InferenceSession | None = None

    def say(self, tokens: list[int], style: Floats, pitch_scale: float, speed: float) -> Floats:
        """Raw 24 kHz sound. tokens: 2 to 512; style: (256,); pitch_scale multiplies F0; speed: 1 is normal."""
        feeds: dict[str, Any] = {
            "tokens": np.array([tokens], np.int64),
            "style": style.reshape(1, -1).astype(np.float32),
            "speed": np.array([speed], np.float32),
            "f0_scale": np.array([pitch_scale], np.float32),
        }
        sound: Floats = np.asarray(self._open().run(None, feeds)[0], np.float32).ravel()
        return sound

    def _open(self) -> InferenceSession:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            # Threads that wait must sleep: spinning costs half as much again where the cores are shared.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 3
            path = speaking_graph(self._folder)
            try:
                self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            except Exception as error:
                path.unlink(missing_ok=True)
                raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error
        return self._session

    def close(self) -> None:
        """Give the session's memory back."""
        self._session = None


def finish(sound: Floats) -> Floats:
    """Without silence at the ends, at an even level: RMS 0.06, peak at most 0.97."""
    sound = np.nan_to_num(sound)
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    if not len(audible):
        return np.zeros(0, np.float32)
    margin = int(MARGIN_SECONDS * SAMPLE_RATE)
    sound = sound[max(0, audible[0] - margin) : audible[-1] + margin]
    sound = sound - sound.mean()
    gain = min(LEVEL / np.sqrt((sound**2).mean()), PEAK / np.abs(sound).max())
    return np.asarray(sound * gain, np.float32)
