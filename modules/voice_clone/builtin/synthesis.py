"""Phoneme tokens and a style to sound: what is read by the published graph, what sounds by the same weights in torch.

Int8 gains nothing in the half that sounds: in torch, channels last, it takes two thirds of the time, and nothing is
rounded on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.devices.sessions import session
from modules.errors import StudioError
from modules.media import PAUSE, AudioChunk, Phone, clipped
from modules.voice_clone.builtin.checkpoint import load_decoder, reader_file
from modules.voice_clone.builtin.reading import Reading
from modules.voice_clone.builtin.room import echoed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from modules.voice_clone.builtin.decoder import Decoder

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
    """The two halves of Kokoro, opened at first use and kept. threads: of each, of torch's whole process too."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._halves: tuple[InferenceSession, Decoder] | None = None

    def read(self, tokens: list[int], style: Floats, speed: float) -> Reading:
        """Read one sentence. tokens: 2 to 512; style: (256,), its prosody half counts; speed: 1 is normal."""
        feeds: dict[str, Any] = {
            "tokens": np.array([tokens], np.int64),
            "style": style.reshape(1, -1).astype(np.float32),
            "speed": np.array([speed], np.float32),
        }
        text, pitch, energy, frames = self._open()[0].run(["text", "pitch", "energy", "frames"], feeds)
        return Reading(text[0], pitch[0], energy[0], np.asarray(frames, np.float32).ravel())

    def say(self, tokens: list[int], style: Floats, speed: float = 1.0) -> Said:
        """Read a sentence and give it a voice, both with the (256,) ``style``."""
        return self.sound(self.read(tokens, style, speed), style[: len(style) // 2])

    def sound(self, reading: Reading, timbre: Floats) -> Said:
        """Give a reading a voice. timbre: (128,), the first half of a style."""
        import torch

        decoder = self._open()[1]
        given = (reading.text, reading.pitch, reading.energy, timbre)
        with torch.inference_mode():
            sound = decoder(*(torch.from_numpy(np.asarray(part[None], np.float32)) for part in given))
        return Said(sound[0].numpy(), reading.frames)

    def _open(self) -> tuple[InferenceSession, Decoder]:
        if self._halves is None:
            import torch

            torch.set_num_threads(self._threads)
            self._halves = self._session(reader_file(self._folder)), load_decoder(self._folder)
        return self._halves

    def _session(self, path: Path) -> InferenceSession:
        try:
            return session(path, self._threads)
        except Exception as error:
            path.unlink(missing_ok=True)
            raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error

    def close(self) -> None:
        """Give the networks' memory back."""
        self._halves = None


def finish(sound: Floats, phones: tuple[Phone, ...] = (), room: Floats | None = None) -> AudioChunk:
    """Without silence at the ends, at an even level: RMS 0.06, peak at most 0.97; ``phones`` move along.

    room: impulse response of the room to speak in; what dies away there is a pause at the end.
    """
    sound = np.nan_to_num(sound)
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    if not len(audible):
        return AudioChunk(np.zeros(0, np.float32), SAMPLE_RATE, ())
    margin = int(MARGIN_SECONDS * SAMPLE_RATE)
    first, stop = max(0, int(audible[0]) - margin), min(len(sound), int(audible[-1]) + margin)
    sound = sound[first:stop] - sound[first:stop].mean()
    kept = clipped(phones, first / SAMPLE_RATE, stop / SAMPLE_RATE)
    spoken = len(sound)
    if room is not None:
        import torch

        sound = echoed(torch.from_numpy(sound), torch.from_numpy(room)).numpy()
        kept = (*kept, Phone(PAUSE, spoken / SAMPLE_RATE, len(sound) / SAMPLE_RATE))
    gain = min(LEVEL / np.sqrt((sound[:spoken] ** 2).mean()), PEAK / np.abs(sound).max())
    return AudioChunk(np.asarray(sound * gain, np.float32), SAMPLE_RATE, kept)
