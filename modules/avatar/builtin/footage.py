"""Which frames of a footage the built-in engine works with, and where the mouth is in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from modules.avatar.base import BaseLoop
from modules.avatar.builtin.shapes import LIP_COUNT, FaceShapes
from modules.avatar.builtin.warp import Box
from modules.errors import StudioError
from modules.face import landmarks as at
from modules.face.track import Track

MAX_FRAMES = 1500
# A loop shorter than this is worth lengthening over short gaps in the track.
SHORT_LOOP = 250
MAX_GAP = 10
# The mouth's surroundings in a person's own frame, in eye distances: half width, above the lips, below the chin.
HALF_WIDTH, ABOVE_LIPS, BELOW_CHIN = 0.74, 0.42, 0.38
CROP_MARGIN = 0.12


def runs(usable: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of true values."""
    edges = np.diff(np.concatenate([[0], usable.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def choose_loop(track: Track) -> BaseLoop:
    """The passage that carries the output: the longest usable one, at most MAX_FRAMES, the most frontal part."""
    usable = track.usable
    if not usable.any():
        raise StudioError("face_unusable")
    passages = runs(usable)
    if max(stop - start for start, stop in passages) < SHORT_LOOP:
        bridged = usable.copy()
        for (_, before), (after, _) in pairwise(passages):
            if after - before <= MAX_GAP:
                bridged[before:after] = True
        passages = runs(bridged)
    start, stop = max(passages, key=lambda run: run[1] - run[0])
    if stop - start > MAX_FRAMES:
        turn = np.concatenate([[0.0], np.cumsum(np.abs(track.pose[start:stop, 0]))])
        start += int((turn[MAX_FRAMES:] - turn[:-MAX_FRAMES]).argmin())
        stop = start + MAX_FRAMES
    return BaseLoop(start, stop)


def choose_frames(track: Track, loop: BaseLoop) -> np.ndarray:
    """(N,) rising numbers of the usable frames to learn from: the loop's, then others from the longest runs on."""
    wanted = np.zeros(len(track), bool)
    wanted[loop.start : loop.stop] = True
    wanted &= track.usable
    for start, stop in sorted(runs(track.usable & ~wanted), key=lambda run: run[0] - run[1]):
        room = MAX_FRAMES - int(wanted.sum())
        wanted[start : min(stop, start + max(room, 0))] = True
    return np.flatnonzero(wanted)


def mouth_boxes(shapes: FaceShapes, width: int, height: int) -> tuple[list[Box], list[Box]]:
    """For each frame the box that is redrawn, with even sides and corner, and the larger one that is stored."""
    reference = shapes.reference
    lips = reference[list(at.LIPS), 1].min()
    depth = float(reference[list(at.LIPS[:LIP_COUNT]), 2].mean())
    ends = [
        (x, y, depth)
        for x in (-HALF_WIDTH, HALF_WIDTH)
        for y in (lips - ABOVE_LIPS, reference[at.CHIN, 1] + BELOW_CHIN)
    ]
    count = len(shapes.points)
    corners = shapes.motion.to_picture(np.tile(np.array(ends), (count, 1, 1)), np.arange(count))[:, :, :2]
    margin = CROP_MARGIN * float(np.median(shapes.motion.scale))
    drawn, stored = [], []
    for low, high in zip(corners.min(1), corners.max(1), strict=True):
        drawn.append(_box(low, high, width, height))
        stored.append(_box(low - margin, high + margin, width, height))
    return drawn, stored


def _box(low: np.ndarray, high: np.ndarray, width: int, height: int) -> Box:
    left, top = (int(max(value, 0)) // 2 * 2 for value in low)
    right = min(-(-int(np.ceil(high[0])) // 2) * 2, width)
    bottom = min(-(-int(np.ceil(high[1])) // 2) * 2, height)
    return Box(left, top, right, bottom)
