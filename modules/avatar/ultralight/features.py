"""What goes into Ultralight's network and what comes out of it: crops of the face, and windows of sound.

The rules are those of https://github.com/anliyuan/Ultralight-Digital-Human; only the box comes from our own mesh.
"""

from __future__ import annotations

import cv2
import numpy as np

CROP_SIDE, RIM = 168, 4
FACE_SIDE = CROP_SIDE - 2 * RIM
# What the network does not see of the face: a rectangle of FACE_SIDE's pixels, the last ones left outside.
MASK_LEFT, MASK_TOP, MASK_RIGHT, MASK_BOTTOM = 5, 5, 155, 150

# So much of the neck is shown with the face, in sides of the crop: the chin hangs as much lower when the mouth is wide.
NECK = 0.12

# The published box goes from point 1 to point 31 of 110 (the face's outline under the level of the eyes) and from
# point 52 (the ridge of the nose, a third of its way up) down by as much. On the mean face of its landmark network,
# fitted to our mesh over the eyes, nose, mouth and chin of two people, point 52 is mesh point 5 (within 0.024 eye
# distances); points 1 and 31 lie on the level of 127 and 356, outside them: together by a tenth of their distance.
OUTLINE_LEFT, OUTLINE_RIGHT, NOSE_RIDGE = 127, 356, 5
WIDER = 0.096
PUBLISHED_LEFT, PUBLISHED_RIGHT, PUBLISHED_TOP = 1, 31, 52

# Steps of two rows (40 ms) that a frame hears: so many before it, and it and those after it.
STEPS_BEFORE, STEPS_AFTER = 4, 4
STEPS = STEPS_BEFORE + STEPS_AFTER
ROWS_A_STEP, ROW_WIDTH = 2, 1024
WINDOW_SHAPE = (STEPS * ROWS_A_STEP, 32, 32)
# HuBERT hears in pieces of so many samples at 16 kHz, each going on a little into the next; its own first layers make
# one row of every HOP of them and look LEAST wide.
PIECE, HOP, LEAST = 320_000, 320, 400


def face_boxes(landmarks: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom of the square that is cropped, for (N, 478, 2 or 3) mesh points; may leave it."""
    left, right = landmarks[:, OUTLINE_LEFT, 0], landmarks[:, OUTLINE_RIGHT, 0]
    more = (right - left) * WIDER / 2
    width = right - left + 2 * more
    top = landmarks[:, NOSE_RIDGE, 1]
    return np.stack([left - more, top, right + more, top + width], 1)


def published_box(points: np.ndarray) -> np.ndarray:
    """(4,) left, top, right, bottom for the (110, 2) points of the published landmark network."""
    left, right, top = points[PUBLISHED_LEFT, 0], points[PUBLISHED_RIGHT, 0], points[PUBLISHED_TOP, 1]
    return np.array([left, top, right, top + right - left])


def crop_face(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(168, 168, 3) uint8: the part ``box`` (4,) of ``picture`` (H, W, 3)."""
    left, top, right, bottom = box.tolist()
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    return np.asarray(cv2.resize(part, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def face_input(crop: np.ndarray) -> np.ndarray:
    """(6, 160, 160) float32 0..1: of (168, 168, 3) uint8 BGR the inner face, and the same without its mouth."""
    face = crop[RIM:-RIM, RIM:-RIM].astype(np.float32).transpose(2, 0, 1) / 255
    masked = face.copy()
    masked[:, MASK_TOP:MASK_BOTTOM, MASK_LEFT:MASK_RIGHT] = 0
    return np.concatenate([face, masked])


def paste_face(picture: np.ndarray, crop: np.ndarray, drawn: np.ndarray, box: np.ndarray) -> np.ndarray:
    """``picture`` (H, W, 3) with ``drawn`` (3, 160, 160) 0..1 inside ``crop`` (168, 168, 3) put into ``box`` (4,)."""
    whole, changed = picture.copy(), crop.copy()
    changed[RIM:-RIM, RIM:-RIM] = (drawn.astype(np.float32).transpose(1, 2, 0) * 255).astype(np.uint8)
    left, top, right, bottom = box.tolist()
    whole[top:bottom, left:right] = cv2.resize(changed, (right - left, bottom - top))
    return whole


def sound_window(rows: np.ndarray, frame: int) -> np.ndarray:
    """(8, 2, W) of ``rows`` (T, 2, W), two for each frame of 40 ms: what ``frame`` hears; zeros outside."""
    window = np.zeros((STEPS, *rows.shape[1:]), rows.dtype)
    first = frame - STEPS_BEFORE
    start, stop = max(first, 0), min(first + STEPS, len(rows))
    if start < stop:
        window[start - first : stop - first] = rows[start:stop]
    return window


def sound_windows(rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(B, 16, 32, 32) of ``rows`` (T, 2, 1024) for ``frames`` (B,)."""
    places = frames[:, None] - STEPS_BEFORE + np.arange(STEPS)
    inside = (places >= 0) & (places < len(rows))
    windows = rows[np.clip(places, 0, len(rows) - 1)] * inside[..., None, None].astype(rows.dtype)
    return np.asarray(windows.reshape(-1, *WINDOW_SHAPE))


def live_rows(batch: int, left: int, right: int, steps: int) -> np.ndarray:
    """(batch * steps, 16) which rows each frame hears in the published live loop, at every of its ``steps``.

    Its buffer holds ``left`` + 2 ``batch`` + ``right`` pieces of 20 ms; what lies outside is the row at its end.
    """
    total = left + 2 * batch + right
    middles = (2 * (np.arange(batch) + left / 2)).astype(int)
    around = np.arange(-ROWS_A_STEP * STEPS_BEFORE, ROWS_A_STEP * STEPS_AFTER)
    return np.tile(np.clip(middles[:, None] + around, 0, total - 1), (steps, 1))


def as_steps(rows: np.ndarray) -> np.ndarray:
    """(ceil(R / 2), 2, W) of (R, W) rows at 50 a second; an odd one gets zeros beside it."""
    odd = len(rows) % ROWS_A_STEP
    return np.pad(rows, ((0, odd), (0, 0))).reshape(-1, ROWS_A_STEP, rows.shape[1])


def hubert_cuts(samples: int) -> tuple[np.ndarray, int]:
    """(P, 2) first sample and end of the pieces in which HuBERT hears so many ``samples``, and the count of rows."""
    starts = list(range(0, samples, PIECE))
    if samples - starts[-1] < LEAST and len(starts) > 1:
        starts.pop()
    ends = [min(start + PIECE + LEAST - HOP, samples) for start in starts]
    return np.stack([starts, ends], 1), max(samples - (LEAST - HOP), 0) // HOP
