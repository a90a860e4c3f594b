"""Pasting a drawn face into its frame without touching the rest of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from modules.avatar.base import FaceFrame
from modules.media import I420, planes, to_i420


def paste(frame: I420, face: FaceFrame) -> I420:
    """``frame`` ((3H/2, W) I420, changed in place) with the patch of ``face`` blended in.

    Only the patch is converted to I420, and planes are blended there, so a pixel where the mask is 0
    keeps exactly the value that was decoded.
    """
    if face.patch is None:
        return frame
    face = _shown(face)
    assert face.patch is not None
    height, width = face.patch.shape[:2]
    if not height:
        return frame
    patch = planes(to_i420(np.ascontiguousarray(face.patch)))
    mask = np.full((height, width), 255, np.uint8) if face.mask is None else face.mask
    # A chroma sample covers 2 x 2 pixels; it changes as far as they do on the whole.
    quarter = cv2.resize(mask, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    for target, source, shown, step in zip(planes(frame), patch, (mask, quarter, quarter), (1, 2, 2), strict=True):
        top, left = face.top // step, face.left // step
        part = target[top : top + height // step, left : left + width // step]
        share = shown.astype(np.uint16)  # 16 bits hold 255 * 255 + 127, and take half the time of 32
        part[:] = (part * (255 - share) + source * share + 127) // 255
    return frame


def _shown(face: FaceFrame) -> FaceFrame:
    """Only the part of ``face`` where its mask is not 0, on even places."""
    if face.mask is None or face.patch is None:
        return face
    left, top, width, height = cv2.boundingRect(face.mask)
    right, bottom = -(-(left + width) // 2) * 2, -(-(top + height) // 2) * 2
    left, top = left // 2 * 2, top // 2 * 2
    part = slice(top, bottom), slice(left, right)
    return FaceFrame(face.base, face.patch[part], face.mask[part], face.left + left, face.top + top)
