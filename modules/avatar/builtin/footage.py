"""Which frames of a footage the built-in engine works with, and where the mouth is in them."""

from __future__ import annotations

import numpy as np

from modules.avatar.base import BaseLoop
from modules.avatar.builtin.shapes import LIP_COUNT, FaceShapes, opening
from modules.avatar.crops import Box
from modules.face import landmarks as at
from modules.face.track import Track

# Frames whose pictures are kept: those that carry the output, and more of them to take mouths from.
MAX_FRAMES = 1500
# Frames that are learnt from: five minutes.
MAX_TAUGHT = 7500
# Footage is chosen in pieces of this many frames; their variety is judged by every so many of them.
PIECE, EVERY = 50, 5
# The mouth's surroundings in a person's own frame, in eye distances: half width, above the lips, below the chin.
HALF_WIDTH, ABOVE_LIPS, BELOW_CHIN = 0.74, 0.42, 0.38
CROP_MARGIN = 0.12


def choose_taught(track: Track) -> np.ndarray:
    """(N,) rising numbers of the usable frames to learn from: all, or pieces from all over a long footage."""
    usable = np.flatnonzero(track.usable)
    pieces = np.array_split(usable, -(-len(usable) // PIECE))
    count = min(len(pieces), MAX_TAUGHT // PIECE)
    return np.concatenate([pieces[place] for place in np.linspace(0, len(pieces) - 1, count).round().astype(int)])


def choose_kept(taught: np.ndarray, shapes: FaceShapes, loop: BaseLoop) -> np.ndarray:
    """(M,) rising places in ``taught`` ((N,) frame numbers) of the frames whose pictures are kept.

    The loop's, and of the others the pieces whose mouths and poses differ most from what is there already.
    """
    kept = (taught >= loop.start) & (taught < loop.stop)
    others = np.flatnonzero(~kept)
    pieces = np.array_split(others, -(-len(others) // PIECE)) if len(others) else []
    looks = _looks(shapes)
    distance = np.full(len(taught), np.inf)
    _nearer(distance, looks, np.flatnonzero(kept)[::EVERY])
    while pieces and kept.sum() < MAX_FRAMES:
        piece = pieces.pop(int(np.argmax([np.sum(np.minimum(distance[p[::EVERY]], 1e3)) for p in pieces])))
        kept[piece[: MAX_FRAMES - int(kept.sum())]] = True
        _nearer(distance, looks, piece[::EVERY])
    return np.flatnonzero(kept)


def _looks(shapes: FaceShapes) -> np.ndarray:
    """(N, 5) opening, width, yaw, pitch and roll, each in deviations."""
    ends = shapes.points[:, [at.MOUTH_LEFT, at.MOUTH_RIGHT], :2]
    width = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    looks = np.column_stack([opening(shapes.lower), width, shapes.motion.angles()])
    return np.asarray((looks - looks.mean(0)) / (looks.std(0) + 1e-6))


def _nearer(distance: np.ndarray, looks: np.ndarray, added: np.ndarray) -> None:
    """Bring ``distance`` (N,), each frame's squared distance to the nearest chosen one, up to date."""
    for place in added.tolist():
        np.minimum(distance, ((looks - looks[place]) ** 2).sum(1), out=distance)


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
