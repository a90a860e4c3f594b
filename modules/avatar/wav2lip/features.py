"""What goes into Wav2Lip: the sound as a log-mel spectrogram, and where in a frame the face lies.

The mel is that of https://github.com/Rudrabha/Wav2Lip (audio.py, hparams.py): after Wang et al., "Tacotron" (2017),
with the mel scale and the norm of Slaney, "Auditory Toolbox" (1998).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy import fft, signal

from modules.media import FRAME_RATE

SAMPLE_RATE = 16000
WINDOW, HOP = 800, 200
COLUMNS_A_SECOND = SAMPLE_RATE / HOP
BANDS, LOWEST_HZ, HIGHEST_HZ = 80, 55.0, 7600.0
PRE_EMPHASIS = 0.97
# Columns that one frame hears, from its own time on: 200 ms.
HEARD = 16
# From decibels to what the network was trained with: 0 to 100 dB over the floor become -SILENCE to SILENCE.
FLOOR, REFERENCE_DB, RANGE_DB, SILENCE = 1e-5, 20.0, 100.0, 4.0

MESH_POINTS = 468


@dataclass(frozen=True)
class Hearing:
    """How the published code for one size listens: frames that it hears later, and a factor for its mel."""

    shift: float = 0.0
    gain: float = 1.0


HEARINGS: Mapping[int, Hearing] = {96: Hearing(), 256: Hearing(), 384: Hearing(-2.0, 1.25)}


def log_mel(samples: np.ndarray, padding: Literal["constant", "reflect"] = "constant") -> np.ndarray:
    """(80, 1 + N // 200) float32 from -4 (silence) to 4: bands by columns of 12.5 ms, centred on 0, 200, 400, ...

    samples: (N,) mono at 16 kHz, -1 to 1; not empty, and more than 400 for 'reflect'. padding: what is heard beyond
    the ends: nothing, as with librosa from 0.9 on, or the sound reversed, as with those before. Only the two columns
    at each end depend on it.
    """
    sharp = signal.lfilter([1.0, -PRE_EMPHASIS], [1.0], samples.astype(np.float32)).astype(np.float32)
    padded = np.pad(sharp, WINDOW // 2, mode=padding)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.abs(fft.rfft(pieces * signal.windows.hann(WINDOW, sym=False).astype(np.float32)))
    decibels = 20 * np.log10(np.maximum(FLOOR, _filters() @ spectrum.T)) - REFERENCE_DB
    scaled = 2 * SILENCE * (decibels + RANGE_DB) / RANGE_DB - SILENCE
    return np.clip(scaled, -SILENCE, SILENCE).astype(np.float32)


def columns(frames: np.ndarray, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """(N,) int: the first mel column that each of ``frames`` (N,) hears; frames may be fractions, or negative."""
    return np.floor(frames * (COLUMNS_A_SECOND / frame_rate)).astype(int)


def pieces_at(mel: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N, 80, 16) of ``mel`` (80, T) from columns ``starts`` (N,) on; silence outside it."""
    if not len(starts):
        return np.zeros((0, BANDS, HEARD), np.float32)
    before = max(0, -int(starts.min()))
    after = max(0, int(starts.max()) + HEARD - mel.shape[1])
    padded = np.pad(mel, ((0, 0), (before, after)), constant_values=-SILENCE)
    return np.moveaxis(padded[:, (starts + before)[:, None] + np.arange(HEARD)], 1, 0)


def hear(
    samples: np.ndarray, first: int, count: int, shift: float = 0.0, size: int = 96, gain: float = 1.0
) -> np.ndarray:
    """(count, 80, 16) float32: what the network for faces of ``size`` hears for frames ``first`` on, 25 a second.

    samples: (N,) mono at 16 kHz, -1 to 1; its first sample belongs to frame 0, and to a frame whose number in the
    whole sound divides by 5 (16 columns), so that it does not matter where a long sound is cut. A frame hears 200 ms
    from its start on, and what is cut off after that is silence to it: give 5 frames more.
    shift: frames; over 0 the lips are ahead of the sound. gain: factor for the mel, as the published code for 384
    has one; over 1 the mouth opens wider.
    """
    hearing = HEARINGS[size]
    starts = columns(first + np.arange(count) + shift + hearing.shift)
    return (pieces_at(log_mel(samples), starts) * np.float32(gain * hearing.gain)).astype(np.float32)


def face_boxes(landmarks: np.ndarray, pads: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> np.ndarray:
    """(N, 4) left, top, right, bottom around the faces with (N, 478, 2 or 3) mesh points; may leave the frame.

    The published boxes are S3FD's, which was taught by WIDER FACE: tight around forehead, chin and cheeks, which is
    what the mesh covers. pads: more at the top, bottom, left and right, in sides of the box.
    """
    points = landmarks[:, :MESH_POINTS, :2]
    low, high = points.min(1), points.max(1)
    width, height = (high - low).T
    top, bottom, left, right = pads
    return np.stack(
        [low[:, 0] - left * width, low[:, 1] - top * height, high[:, 0] + right * width, high[:, 1] + bottom * height],
        1,
    )


@cache
def _filters() -> np.ndarray:
    """(80, 401) float32: triangles on Slaney's mel scale, each of area 1 Hz."""
    edges = _hertz(np.linspace(_mels(LOWEST_HZ), _mels(HIGHEST_HZ), BANDS + 2))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return np.asarray(triangles, np.float32)


# Slaney's scale: even up to 1000 Hz, which is 15 mels, then 27 mels for each factor 6.4.
_KNEE_HZ, _KNEE_MELS = 1000.0, 15.0
_MELS_AN_E = 27 / np.log(6.4)


def _mels(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz * _KNEE_MELS / _KNEE_HZ
    return float(_KNEE_MELS + _MELS_AN_E * np.log(hertz / _KNEE_HZ))


def _hertz(mels: np.ndarray) -> np.ndarray:
    above = _KNEE_HZ * np.exp((np.maximum(mels, _KNEE_MELS) - _KNEE_MELS) / _MELS_AN_E)
    return np.where(mels < _KNEE_MELS, mels * _KNEE_HZ / _KNEE_MELS, above)
