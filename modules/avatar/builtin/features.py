"""What the built-in engine hears: Whisper encoder states and a 40-band log-mel, on the clock of the frames.

Whisper: A. Radford et al., "Robust speech recognition via large-scale weak supervision" (2022); its encoder
runs in CTranslate2 on the faster-whisper conversion of the base model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.errors import StudioError
from modules.progress import Progress

if TYPE_CHECKING:
    import ctranslate2

SAMPLE_RATE = 16000
WINDOW, HOP = 400, 160
MEL_RATE = SAMPLE_RATE // HOP
WHISPER_RATE = MEL_RATE // 2
WHISPER_SECONDS = 30
WHISPER_BANDS = 80
MEL_BANDS = 40
# Sound on both sides of a Whisper window whose states are thrown away: they lack their context.
WHISPER_MARGIN = 2.0


@dataclass(frozen=True)
class Hearing:
    """One sound's raw features.

    whisper: (T50, 512) float32 at 50 a second. mel: (T100, 40) float32 log energies at 100 a second.
    sounds: (T50, 14) float32 shares of the groups of speech sounds (sounds.GROUPS).
    """

    whisper: np.ndarray
    mel: np.ndarray
    sounds: np.ndarray


@cache
def mel_filters(bands: int, low: float, high: float) -> np.ndarray:
    """(bands, WINDOW // 2 + 1) triangular filters of equal area on Slaney's mel scale."""

    def to_mel(hertz: np.ndarray) -> np.ndarray:
        linear = hertz / (200 / 3)
        return np.where(hertz < 1000, linear, 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / (np.log(6.4) / 27))

    def to_hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * (200 / 3), 1000 * np.exp((np.log(6.4) / 27) * (mel - 15)))

    edge = to_hertz(np.linspace(to_mel(np.array(low)), to_mel(np.array(high)), bands + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    rising = (bins - edge[:-2, None]) / (edge[1:-1] - edge[:-2])[:, None]
    falling = (edge[2:, None] - bins) / (edge[2:] - edge[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edge[2:] - edge[:-2]))[:, None], np.float32)


def power_spectrum(sound: np.ndarray) -> np.ndarray:
    """(T, 201) power spectra, 100 a second, centred on each 10 ms; ``sound`` is 16 kHz mono."""
    padded = np.pad(sound.astype(np.float32), WINDOW // 2, mode="reflect" if len(sound) > WINDOW else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    return np.asarray(np.abs(np.fft.rfft(frames * window, axis=1)) ** 2, np.float32)


def log_mel(sound: np.ndarray) -> np.ndarray:
    """(T, 40) natural-log mel energies, 60 to 7600 Hz, 100 a second."""
    return np.asarray(np.log(power_spectrum(sound) @ mel_filters(MEL_BANDS, 60.0, 7600.0).T + 1e-5), np.float32)


def whisper_mel(sound: np.ndarray) -> np.ndarray:
    """(80, 3000) input of the Whisper encoder for up to 30 s of 16 kHz ``sound``, padded with silence."""
    padded = np.zeros(WHISPER_SECONDS * SAMPLE_RATE, np.float32)
    padded[: len(sound)] = sound[: len(padded)]
    energy = power_spectrum(padded)[: WHISPER_SECONDS * MEL_RATE] @ mel_filters(WHISPER_BANDS, 0.0, 8000.0).T
    decades = np.log10(np.maximum(energy, 1e-10))
    return np.ascontiguousarray(((np.maximum(decades, decades.max() - 8) + 4) / 4).T, np.float32)


class WhisperEncoder:
    """Encoder states of any length of sound; loads its weights at the first call."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._model: ctranslate2.models.Whisper | None = None

    def states(self, sound: np.ndarray, in_haste: bool = False, progress: Progress | None = None) -> np.ndarray:
        """(T, 512) float32 states, 50 a second, for 16 kHz ``sound``.

        in_haste: leave the silence out that fills up Whisper's 30 s; far quicker for a few seconds of sound,
        and nearly the same (0.97 correlation at 10 s).
        """
        step = int((WHISPER_SECONDS - 2 * WHISPER_MARGIN) * SAMPLE_RATE)
        margin = int(WHISPER_MARGIN * SAMPLE_RATE)
        if len(sound) <= WHISPER_SECONDS * SAMPLE_RATE:
            count = -(-len(sound) // (2 * HOP))
            return self._encode(sound, count if in_haste else None)[:count]
        pieces = []
        for start in range(0, len(sound), step):
            if progress is not None:
                progress.at(start / len(sound))
            begin = max(0, start - margin)
            encoded = self._encode(sound[begin : start + step + margin])
            first = (start - begin) // (2 * HOP)
            count = -(-min(step, len(sound) - start) // (2 * HOP))
            pieces.append(encoded[first : first + count])
        return np.concatenate(pieces)

    def _encode(self, sound: np.ndarray, count: int | None = None) -> np.ndarray:
        """The states of one window, or the first ``count`` without hearing the rest."""
        import ctranslate2

        mel = whisper_mel(sound) if count is None else np.ascontiguousarray(whisper_mel(sound)[:, : 2 * count])
        return np.array(self._loaded().encode(ctranslate2.StorageView.from_array(mel[None])))[0]

    def _loaded(self) -> ctranslate2.models.Whisper:
        if self._model is None:
            import ctranslate2

            try:
                self._model = ctranslate2.models.Whisper(
                    str(self._folder), device="cpu", compute_type="int8", intra_threads=self._threads
                )
            except (RuntimeError, ValueError) as error:
                broken = str(self._folder / "model.bin")
                raise StudioError("weights_broken", name="Whisper base", file=broken) from error
        return self._model


def at_times(features: np.ndarray, rate: float, times: np.ndarray) -> np.ndarray:
    """(len(times), D) features (T, D at ``rate``) at ``times`` in seconds, linearly between, held at the ends."""
    place = np.clip(times * rate, 0, len(features) - 1)
    low = np.minimum(place.astype(int), max(len(features) - 2, 0))
    high = np.minimum(low + 1, len(features) - 1)
    share = (place - low).astype(np.float32)[:, None]
    return np.asarray(features[low] * (1 - share) + features[high] * share, np.float32)


def with_context(features: np.ndarray, rate: float, times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(len(times), D * len(offsets)): the features at each time and ``offsets`` seconds around it."""
    return np.concatenate([at_times(features, rate, times + offset) for offset in offsets], axis=1)
