"""How the head is held in each frame, apart from speech, and a frame seen with the head held as in another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modules.avatar.ultralight.features import CROP_SIDE, FACE_SIDE
from modules.face.geometry import canonical_shapes, reference_face
from modules.face.landmarks import JAW, STABLE

# Ridge of the fit, a point: what the points do not determine leaves the picture as it is.
RIDGE = 1e-6


def resting_heads(landmarks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, P, 2) float32: where brow, temples, nose and jaw of a face at rest would be in each frame, in crop sides.

    landmarks: (N, 478, 3) pixels, of frames with a usable face. boxes: (N, 4) the crops' left, top, right, bottom.
    One mean face is put where the points that speech does not move are; so nothing tells of the mouth.
    """
    stable = landmarks[:, list(STABLE)]
    face = reference_face(landmarks, stable)
    _, motion = canonical_shapes(landmarks, stable, face)
    shown = face[[*STABLE, *JAW]]
    points = motion.to_picture(np.broadcast_to(shown, (len(landmarks), *shown.shape)), np.arange(len(landmarks)))
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    return ((points[:, :, :2] - boxes[:, None, :2]) / sides).astype(np.float32)


def reference_frames(heads: np.ndarray, count: int = 24, apart: int = 5) -> np.ndarray:
    """(N, count) for each frame others in which the head is held most alike, at least ``apart`` frames away.

    heads: (N, P, 2), see ``resting_heads``.
    """
    flat = heads.reshape(len(heads), -1).astype(np.float32)
    numbers = np.arange(len(flat))
    apart = min(apart, max(len(flat) // 4, 1))
    count = min(count, max(len(flat) - 2 * apart + 1, 1))
    chosen = np.empty((len(flat), count), np.int64)
    for number, own in enumerate(flat):
        distance = ((flat - own) ** 2).sum(1) + np.where(np.abs(numbers - number) < apart, np.inf, 0)
        chosen[number] = np.argpartition(distance, count - 1)[:count]
    return chosen


class Turner:
    """Shows frames with the head held as in others; ``heads`` (N, P, 2) as of ``resting_heads``.

    Between two frames the picture is moved by a polynomial of the second degree, fitted to all points: a head that
    turns a little moves so, within a pixel or two of a crop.
    """

    def __init__(self, heads: np.ndarray, device: torch.device) -> None:
        points = torch.from_numpy(heads.astype(np.float64))
        terms = _terms(points)
        squares = terms.mT @ terms + RIDGE * heads.shape[1] * torch.eye(terms.shape[2], dtype=terms.dtype)
        # (N, 6, P): from how far each point moves to the polynomial's coefficients.
        self._fits = torch.linalg.solve(squares, terms.mT).float().to(device)
        self._points = points.float().to(device)

    def turned(self, crops: Tensor, frames: Tensor, wanted: Tensor, corner: Tensor) -> Tensor:
        """(B, 3, 160, 160) of ``crops`` (B, 3, 168, 168), with the head held as in the frames ``wanted``.

        frames: (B,) which frames the crops are. corner: (B, 2) row and column where what is cut out begins.
        """
        frames, wanted = frames.to(crops.device), wanted.to(crops.device)
        moves = self._fits[wanted] @ (self._points[frames] - self._points[wanted])
        side = torch.arange(FACE_SIDE, device=crops.device) + 0.5
        rows, columns = ((corner.to(crops.device)[:, axis, None] + side) / CROP_SIDE for axis in (0, 1))
        size = (len(crops), FACE_SIDE, FACE_SIDE)
        places = torch.stack([columns[:, None, :].expand(size), rows[:, :, None].expand(size)], 3)
        places = places + (_terms(places.flatten(1, 2)) @ moves).view(places.shape)
        return functional.grid_sample(
            crops, 2 * places - 1, mode="bicubic", padding_mode="border", align_corners=False
        ).clamp(0, 1)


def _terms(places: Tensor) -> Tensor:
    """(..., 6) the terms of a polynomial of the second degree at (..., 2) ``places`` in crop sides."""
    across, down = (places - 0.5).unbind(-1)
    return torch.stack([torch.ones_like(across), across, down, across**2, across * down, down**2], -1)
