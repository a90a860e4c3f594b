"""Phoneme tokens and a style to sound, on onnxruntime alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.errors import StudioError
from modules.media import AudioChunk, Phone, clipped
from modules.voice_clone.builtin.checkpoint import speaking_graph

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]

SAMPLE_RATE = 24000
LEVEL = 0.06
PEAK = 0.97
AUDIBLE = 0.004
MARGIN_SECONDS = 0.03


@dataclass(frozen=True)
class Said:
    """Raw 24 kHz sound of one sentence, and how many network frames each of its tokens took: (tokens,)."""

    sound: Floats
    frames: Floats


class Synthesiser:
    """Kokoro's int8 graph in one onnxruntime session, opened at first use and kept."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._session: InferenceSession | None = None

    def say(
        self,
        tokens: list[int],
        style: Floats,
        pitch_scale: float,
        speed: float,
        pitch_reach: float = 1.0,
        pitch_centre: float = 150.0,
    ) -> Said:
        """Say one sentence. tokens: 2 to 512; style: (256,); speed: 1 is normal.

        pitch_scale multiplies F0; pitch_reach multiplies its distance from pitch_centre (Hz), in ln F0.
        """
        feeds: dict[str, Any] = {
            "tokens": np.array([tokens], np.int64),
            "style": style.reshape(1, -1).astype(np.float32),
            "speed": np.array([speed], np.float32),
            "f0_scale": np.array([pitch_scale], np.float32),
            "f0_bend": np.array([pitch_reach - 1], np.float32),
            "f0_centre": np.array([pitch_centre], np.float32),
        }
        sound, frames = self._open().run(["audio", "frames"], feeds)
        return Said(np.asarray(sound, np.float32).ravel(), np.asarray(frames, np.float32).ravel())

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


def finish(sound: Floats, phones: tuple[Phone, ...] = ()) -> AudioChunk:
    """Without silence at the ends, at an even level: RMS 0.06, peak at most 0.97; ``phones`` move along."""
    sound = np.nan_to_num(sound)
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    if not len(audible):
        return AudioChunk(np.zeros(0, np.float32), SAMPLE_RATE, ())
    margin = int(MARGIN_SECONDS * SAMPLE_RATE)
    first, stop = max(0, int(audible[0]) - margin), min(len(sound), int(audible[-1]) + margin)
    sound = sound[first:stop] - sound[first:stop].mean()
    gain = min(LEVEL / np.sqrt((sound**2).mean()), PEAK / np.abs(sound).max())
    kept = clipped(phones, first / SAMPLE_RATE, stop / SAMPLE_RATE)
    return AudioChunk(np.asarray(sound * gain, np.float32), SAMPLE_RATE, kept)
