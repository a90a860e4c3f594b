"""What SyncNet hears and sees, and how its embeddings are scored.

The sound is that of python_speech_features with its defaults (Davis and Mermelstein, 1980; HTK's lifter); crops and
scores are those of https://github.com/joonson/syncnet_python and of Wav2Lip's evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy import fft
from scipy.ndimage import median_filter

SAMPLE_RATE = 16000
WINDOW, HOP, FFT = 400, 160, 512
FILTERS, COEFFICIENTS = 26, 13
LIFTER, PRE_EMPHASIS = 22, 0.97
# Columns of 10 ms that belong to five frames, and from one frame to the next.
HEARD, COLUMNS_A_FRAME = 20, 4
SAMPLES_A_FRAME = COLUMNS_A_FRAME * HOP
FRAMES = 5
SIDE = 224
# The crop reaches from the middle of the box by these many halves of its longer side: up, down, and to both sides.
UP, DOWN, ASIDE = 1.0, 1.8, 1.4
BORDER = (110, 110, 110)
STEADY_FRAMES = 13
# Frames to which sound is compared on either side.
REACH = 15
# Added to each difference, as torch's pairwise_distance does.
_EPSILON = 1e-6


@dataclass(frozen=True)
class SyncScores:
    """offset: frames by which the pictures are late, -15 to 15.

    lse_c: confidence, better when higher (5 to 8 is usual); lse_d: distance, better when lower (6 to 8).
    """

    offset: int
    lse_c: float
    lse_d: float


def mfcc(samples: np.ndarray) -> np.ndarray:
    """(13, T) of (N,) int16 mono at 16 kHz, whose values are taken as they are; a column each 10 ms."""
    sound = samples.astype(np.float64)
    sharp = np.append(sound[:1], sound[1:] - PRE_EMPHASIS * sound[:-1])
    count = 1 + max(0, -(-(len(sharp) - WINDOW) // HOP))
    padded = np.pad(sharp, (0, max(0, (count - 1) * HOP + WINDOW - len(sharp))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    power = np.abs(fft.rfft(pieces, FFT)) ** 2 / FFT
    bands = _logarithm(power @ _filters().T)
    cepstrum = fft.dct(bands, norm="ortho")[:, :COEFFICIENTS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = _logarithm(power.sum(1))
    return np.asarray(cepstrum.T)


def heard_at(cepstrum: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(N, 1, 13, 20) float32: of (13, T) what belongs to the five frames from each of ``frames`` (N,) on."""
    places = frames[:, None] * COLUMNS_A_FRAME + np.arange(HEARD)
    return np.moveaxis(cepstrum[:, places], 1, 0)[:, None].astype(np.float32)


def crop_places(boxes: np.ndarray) -> np.ndarray:
    """(N, 3) middle x and y, and half the longer side, of ``boxes`` (N, 4) left, top, right, bottom, steadied."""
    left, top, right, bottom = boxes.T
    places = np.stack([(left + right) / 2, (top + bottom) / 2, np.maximum(right - left, bottom - top) / 2], 1)
    return np.asarray(median_filter(places, (STEADY_FRAMES, 1), mode="nearest"))


def crop(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(224, 224, 3) uint8 of ``picture`` (H, W, 3) around ``place`` (3,) of ``crop_places``; grey outside it."""
    x, y, half = place.tolist()
    scale = 2 * ASIDE * half / SIDE
    corner = x - ASIDE * half, y - UP * half
    # Pixels are counted at their middles.
    to_picture = np.array([[scale, 0, corner[0] + scale / 2 - 0.5], [0, scale, corner[1] + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(picture, to_picture, (SIDE, SIDE), flags=flags, borderValue=BORDER)
    return np.asarray(cut, np.uint8)


def distances(lips: np.ndarray, sound: np.ndarray, reach: int = REACH) -> np.ndarray:
    """(2 reach + 1,) mean distance of ``lips`` (N, D) to ``sound`` (N, D) by -reach to reach frames later.

    Beyond its ends the sound is zeros, as published: clips under 2 s are scored by that as much as by their lips.
    """
    padded = np.pad(sound, ((reach, reach), (0, 0)))
    shifted = (padded[shift : shift + len(lips)] for shift in range(2 * reach + 1))
    return np.array([np.linalg.norm(lips - later + _EPSILON, axis=1).mean() for later in shifted])


def sync_scores(lips: np.ndarray, sound: np.ndarray, reach: int = REACH) -> SyncScores:
    """The scores of embeddings (N, D) of five frames each, and of the sound at the same times."""
    means = distances(lips, sound, reach)
    least = float(means.min())
    return SyncScores(reach - int(means.argmin()), float(np.median(means)) - least, least)


def _logarithm(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.where(values == 0, np.finfo(np.float64).eps, values)))


@cache
def _filters() -> np.ndarray:
    """(26, 257): triangles whose corners are whole bins, even on the mel scale (HTK's) from 0 to 8 kHz."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    edges = np.floor((FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLE_RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(FFT // 2 + 1)
    return np.asarray(np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, None))
