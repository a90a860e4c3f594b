"""Pasting a drawn face into its frame without touching the rest of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from modules.avatar.base import FaceFrame
from modules.media import I420, planes, to_i420

# Coarse is what is left of a picture by a blur of this deviation, in widths of the patch; fine is the rest.
FINE = 0.018
# Grey levels between frame and patch, where both are coarse: up to NEAR they show the same skin, from FAR on not.
NEAR, FAR = 8.0, 28.0
# The blur is done where the picture is so small that it is about this wide, in pixels: what is coarse loses nothing.
COARSE_PIXELS = 1.5


def paste(frame: I420, face: FaceFrame) -> I420:
    """``frame`` ((3H/2, W) I420, changed in place) with the patch of ``face`` blended in.

    Only the patch is converted to I420, and planes are blended there, so a pixel where the mask is 0
    keeps exactly the value that was decoded.
    """
    if face.patch is None:
        return frame
    fine = FINE * face.patch.shape[1]
    face = _shown(face)
    assert face.patch is not None
    height, width = face.patch.shape[:2]
    if not height:
        return frame
    patch = planes(to_i420(np.ascontiguousarray(face.patch)))
    if face.mouth is not None:
        own = planes(frame)[0][face.top : face.top + height, face.left : face.left + width]
        patch[0][:] = _with_detail(patch[0], own, face.mouth, fine)
    mask = np.full((height, width), 255, np.uint8) if face.mask is None else face.mask
    # A chroma sample covers 2 x 2 pixels; it changes as far as they do on the whole.
    quarter = cv2.resize(mask, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    for target, source, shown, step in zip(planes(frame), patch, (mask, quarter, quarter), (1, 2, 2), strict=True):
        top, left = face.top // step, face.left // step
        part = target[top : top + height // step, left : left + width // step]
        share = shown.astype(np.uint16)  # 16 bits hold 255 * 255 + 127, and take half the time of 32
        part[:] = (part * (255 - share) + source * share + 127) // 255
    return frame


def _with_detail(patch: np.ndarray, own: np.ndarray, mouth: np.ndarray, fine: float) -> np.ndarray:
    """``patch`` (h, w) uint8 with what is fine in ``own`` (h, w) uint8, the frame; ``fine``: a deviation in pixels.

    Only outside ``mouth`` (h, w) uint8 and where both show the same skin: elsewhere the face moves, and fine detail of
    the frame would show its old mouth and jaw through. Two bands of the pyramid of Burt & Adelson, 1983.
    """
    height, width = own.shape
    difference = cv2.subtract(patch, own, dtype=cv2.CV_32F)
    step = max(1, int(fine / COARSE_PIXELS))
    small = max(1, width // step), max(1, height // step)
    deviation = fine / step
    coarse = cv2.GaussianBlur(cv2.resize(difference, small, interpolation=cv2.INTER_AREA), (0, 0), deviation)
    # As far around as the detail reaches, and without a hard end.
    reach = 2 * round(deviation) + 1
    unlike = cv2.GaussianBlur(cv2.dilate(np.abs(coarse), np.ones((reach, reach))), (0, 0), deviation)
    outside = 1 - cv2.resize(mouth, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    kept = np.clip((FAR - unlike) / (FAR - NEAR), 0, 1) * outside
    coarse, kept = (cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (coarse, kept))
    cv2.subtract(difference, coarse, difference)
    cv2.multiply(difference, kept, difference)
    return np.asarray(cv2.subtract(patch, difference, dtype=cv2.CV_8U), np.uint8)


def _shown(face: FaceFrame) -> FaceFrame:
    """Only the part of ``face`` where its mask is not 0, on even places."""
    if face.mask is None or face.patch is None:
        return face
    left, top, width, height = cv2.boundingRect(face.mask)
    right, bottom = -(-(left + width) // 2) * 2, -(-(top + height) // 2) * 2
    left, top = left // 2 * 2, top // 2 * 2
    part = slice(top, bottom), slice(left, right)
    mouth = None if face.mouth is None else face.mouth[part]
    return FaceFrame(face.base, face.patch[part], face.mask[part], face.left + left, face.top + top, mouth)
