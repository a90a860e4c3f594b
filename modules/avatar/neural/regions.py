"""Where in a frame a network's crop lies, and which part of it is shown."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.face import landmarks as at

# Deviation in frames of the centred window over which boxes are smoothed.
BOX_SIGMA = 2.0
SMALLEST_BOX = 32
# Side of a stored mask, which stands for the whole crop.
MASK_SIDE = 128
# The shown part goes from under the eyes to the jaw; its edge is this soft. Both in mask sides.
MASK_GROW, MASK_BLUR = 0.02, 0.045
# The frame's own mouth, so much wider than the lips, with this soft an edge; in mask sides.
MOUTH_GROW, MOUTH_BLUR = 0.04, 0.02
# Colours are compared where the mask is not full, in crops of this side, over this many pixels.
COLOUR_SIDE, COLOUR_SIGMA = 64, 7.0
OUTLINE = (*at.JAW, 454, 447, 280, 429, 279, 4, 49, 209, 50, 227, 234)
"""Polygon along the jaw and over the cheeks and the tip of the nose: what speech moves."""


def steady_boxes(boxes: np.ndarray, usable: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, 4) int left, top, right, bottom of ``boxes`` (N, 4), smoothed, even, inside the frame.

    Frames that are not ``usable`` (N,) take no part and get the box between their neighbours'.
    """
    numbers = np.arange(len(boxes))
    known = np.flatnonzero(usable)
    filled = np.stack([np.interp(numbers, known, boxes[known, side]) for side in range(4)], 1)
    smooth = gaussian_filter1d(filled.astype(np.float64), BOX_SIGMA, axis=0, mode="nearest")
    even = 2 * np.round(smooth / 2).astype(int)
    limit = np.array([width, height]) // 2 * 2
    even[:, :2] = np.clip(even[:, :2], 0, limit - SMALLEST_BOX)
    even[:, 2:] = np.clip(even[:, 2:], even[:, :2] + SMALLEST_BOX, limit)
    return even


def lower_face_mask(points: np.ndarray, below: float = 0.0) -> np.ndarray:
    """(MASK_SIDE, MASK_SIDE) uint8, soft: the lower face in a crop; ``points`` (478, 2) in crop sides, 0 to 1.

    below: how much of the neck is shown with it, in crop sides, where a network draws that too: the drawn jaw may hang
    lower or higher than the frame's.
    """
    outline = np.concatenate([points[list(OUTLINE)], points[list(at.JAW)] + (0, below)])
    return soften(_filled(outline, MASK_GROW))


def mouth_mask(points: np.ndarray) -> np.ndarray:
    """(MASK_SIDE, MASK_SIDE) uint8, soft: the lips and what is between; ``points`` (478, 2) in crop sides, 0 to 1."""
    filled = _filled(points[list(at.LIPS_OUTER)], MOUTH_GROW)
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), MOUTH_BLUR * MASK_SIDE), np.uint8)


def _filled(outline: np.ndarray, grow: float) -> np.ndarray:
    """(MASK_SIDE, MASK_SIDE) uint8: the hull of (P, 2) points in crop sides, wider by ``grow`` mask sides."""
    mask = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
    hull = cv2.convexHull((outline * MASK_SIDE).astype(np.float32))
    cv2.fillConvexPoly(mask, hull.round().astype(np.int32), 255)
    side = 2 * round(grow * MASK_SIDE) + 1
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.uint8)


def soften(mask: np.ndarray) -> np.ndarray:
    """The (S, S) uint8 mask with a soft edge that ends inside the crop."""
    blur = MASK_BLUR * len(mask)
    border = round(2 * blur)
    inside = np.zeros_like(mask)
    inside[border:-border, border:-border] = mask[border:-border, border:-border]
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), blur), np.uint8)


def match_colour(drawn: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``drawn`` (S, S, 3) uint8 in the colours of ``crop`` (S, S, 3), smoothly over the face.

    The two are compared where ``mask`` (M, M) is not full: there both show the same skin.
    """
    small = (COLOUR_SIDE, COLOUR_SIDE)
    old = cv2.resize(crop, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    new = cv2.resize(drawn, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    shown = cv2.resize(mask, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    # Near the edge of the mask, where a step would show, and not in the mouth or far outside.
    weight = 4 * shown * (1 - shown) + 1e-4
    total = np.asarray(cv2.GaussianBlur(weight, (0, 0), COLOUR_SIGMA), np.float32)
    offset = np.asarray(cv2.GaussianBlur((old - new) * weight[:, :, None], (0, 0), COLOUR_SIGMA), np.float32)
    offset /= total[:, :, None]
    size = drawn.shape[1], drawn.shape[0]
    return np.asarray(cv2.add(drawn, cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_8U))
