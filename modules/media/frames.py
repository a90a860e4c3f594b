"""Pictures as I420 arrays: one layout everywhere, so that pixels nobody touches are never converted.

An I420 picture of W x H (both even) is a uint8 array of shape (3 * H // 2, W): H rows of luma, then
the quarter-size U and V planes. Values are limited range (16 to 235), whatever the source was.
"""

from __future__ import annotations

import cv2
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

I420 = NDArray[np.uint8]
BGR = NDArray[np.uint8]

FULL_RANGE, LIMITED_RANGE = 2, 1

# Several pictures are worked on at a time, each in a thread of ours. OpenCV's own threads beside them gain nothing, and
# wait spinning: on 16 cores a render took twice the system's time with them.
cv2.setNumThreads(1)


def planes(i420: I420) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Writable views of Y (H, W), U and V (H/2, W/2) of one picture."""
    rows, width = i420.shape
    height = rows * 2 // 3
    flat = i420.reshape(-1)
    luma, quarter = width * height, width * height // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + quarter].reshape(half),
        flat[luma + quarter :].reshape(half),
    )


def to_bgr(i420: I420) -> BGR:
    """(3H/2, W) I420 to (H, W, 3) BGR, BT.601; to_i420 is its inverse."""
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)


def to_i420(bgr: BGR) -> I420:
    """(H, W, 3) BGR with even sides to I420."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)


def turn(i420: I420, degrees: int) -> I420:
    """The picture turned counter-clockwise by a multiple of 90 degrees."""
    quarters = degrees // 90 % 4
    if quarters == 0:
        return i420
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    if quarters % 2:
        height, width = width, height
    turned = np.empty((height * 3 // 2, width), np.uint8)
    for target, source in zip(planes(turned), planes(i420), strict=True):
        target[:] = np.rot90(source, quarters)
    return turned


def from_video_frame(frame: VideoFrame, width: int, height: int) -> I420:
    """A decoded frame of any pixel format as I420 of ``width`` x ``height`` (before turning).

    The size differs from the frame's only for odd sides (the last column or row is cut) and for
    sources whose pixels are not square (they are stretched).
    """
    stretched = abs(frame.width - width) > 1 or abs(frame.height - height) > 1
    if frame.format.name != "yuv420p" or frame.color_range == FULL_RANGE or stretched:
        frame = frame.reformat(
            width=width if stretched else frame.width,
            height=height if stretched else frame.height,
            format="yuv420p",
            dst_color_range=LIMITED_RANGE,
        )
    i420 = np.empty((height * 3 // 2, width), np.uint8)
    for target, plane in zip(planes(i420), frame.planes, strict=True):
        rows, columns = target.shape
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        target[:] = lines[:rows, :columns]
    return i420
