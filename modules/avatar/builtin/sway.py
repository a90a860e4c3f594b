"""The small motion of somebody who sits still: head and shoulders of a photo, moved without a tear.

The motion of output frame n depends on n alone (and on how loud the speech is there), so an output made
piece by piece goes on where it was. The picture follows with weights that fall smoothly to nothing towards
the background and the border; the relief of the face gives turns and nods their depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.avatar.builtin.skin import Axes, Grid
from modules.avatar.builtin.warp import smoothstep
from modules.avatar.crops import Box
from modules.face import landmarks as at
from modules.face.geometry import eye_distance
from modules.media import FRAME_RATE

# Each motion is two slow swings: amplitudes (turns in radians, shifts in eye distances) and periods in seconds.
# Periods share no small multiple, so nothing seems to repeat.
TURN = ((0.022, 6.7), (0.014, 3.9))
NOD = ((0.012, 5.3), (0.008, 3.1))
LEAN = ((0.009, 8.3), (0.004, 4.7))
SIDE = ((0.012, 7.9), (0.005, 4.3))
RISE = ((0.006, 6.1), (0.003, 3.7))
GROW = ((0.003, 9.1), (0.002, 5.7))
BREATH = ((0.008, 3.7), (0.003, 9.7))
SWINGS = (TURN, NOD, LEAN, SIDE, RISE, GROW, BREATH)
# Loud syllables are nodded to.
EMPHASIS = 0.03
# All in eye distances, from between the eyes: the head moves as one within its radii, and nothing moves
# beyond ``HEAD_END`` times them.
HEAD_RADII, HEAD_CENTER, HEAD_END = np.array([1.0, 1.35]), 0.1, 1.9
SHOULDER_HALF, SHOULDER_END = 1.4, 2.4
SHOULDERS_BELOW_CHIN, SHOULDERS_FADE = 0.7, 1.2
SHOULDERS_FOLLOW = 0.35
BORDER = 0.45
NECK_BELOW_CHIN = 0.35
RELIEF_SIGMA = 0.13
RELIEF_FLOOR = 0.25


def poses(numbers: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """(T, 7) turn, nod, lean (radians), side, rise (eye distances), growth and breath of output frames ``numbers``.

    stress: (T,) how much louder than usual the speech is there, 0 to 1.
    """
    seconds = numbers / FRAME_RATE
    columns = []
    for place, swings in enumerate(SWINGS):
        phases = 2.4 * place + np.array([0.0, 1.1])
        columns.append(
            sum(
                size * np.sin(2 * np.pi * seconds / period + phase)
                for (size, period), phase in zip(swings, phases, strict=True)
            )
        )
    columns[1] = columns[1] + EMPHASIS * stress
    return np.stack(columns, 1)


def head_axes(points: np.ndarray) -> Axes:
    """Between the outer corners of the eyes of (478, 2 or 3) points, along them."""
    left, right = points[at.EYE_OUTER_LEFT, :2], points[at.EYE_OUTER_RIGHT, :2]
    return Axes.of(left, right, float(eye_distance(points)))


def head_box(points: np.ndarray, width: int, height: int) -> Box:
    """All of a photo that can move, with even sides and corner; points (478, 2 or 3) in pixels."""
    axes = head_axes(points)
    chin = float(axes.local(points[at.CHIN, :2])[1])
    side, up = SHOULDER_END, HEAD_END * HEAD_RADII[1] - HEAD_CENTER
    down = chin + SHOULDERS_BELOW_CHIN + SHOULDERS_FADE
    corners = axes.picture(np.array([(x, y) for x in (-side, side) for y in (-up, down)]))
    left, top = (int(max(value, 0)) // 2 * 2 for value in corners.min(0))
    right, bottom = (
        min(int(np.ceil(value)) // 2 * 2 + 2, limit)
        for value, limit in zip(corners.max(0), (width, height), strict=True)
    )
    return Box(left, top, right, bottom)


@dataclass(frozen=True)
class Body:
    """Weights on a grid (rows, columns): of the head, of the shoulders, and the face's relief; places (…, 2) local."""

    axes: Axes
    head: np.ndarray
    shoulders: np.ndarray
    relief: np.ndarray
    places: np.ndarray
    neck: float

    @classmethod
    def of(cls, points: np.ndarray, grid: Grid, width: int, height: int) -> Body:
        """Of a photo of ``width`` x ``height`` pixels with a face at ``points`` (478, 3)."""
        axes = head_axes(points)
        places = axes.local(grid.nodes)
        x, y = places[..., 0], places[..., 1]
        chin = float(axes.local(points[at.CHIN, :2])[1])
        away = np.hypot(x / HEAD_RADII[0], (y + HEAD_CENTER) / HEAD_RADII[1])
        head = 1 - smoothstep((away - 1) / (HEAD_END - 1))
        below = smoothstep((y - chin) / SHOULDERS_BELOW_CHIN)
        below = below * (1 - smoothstep((y - chin - SHOULDERS_BELOW_CHIN) / SHOULDERS_FADE))
        shoulders = below * (1 - smoothstep((np.abs(x) - SHOULDER_HALF) / (SHOULDER_END - SHOULDER_HALF)))
        edge = np.minimum(grid.nodes, np.array([width - 1, height - 1]) - grid.nodes).min(-1) / axes.unit
        # Nothing at all at the outermost nodes, which stand for the pixels beyond them, too.
        inner = smoothstep((edge - grid.step / axes.unit) / BORDER)
        # The shoulders take over from the head below the chin; together they never exceed one.
        head = head * (1 - (1 - SHOULDERS_FOLLOW) * smoothstep((y - chin) / SHOULDERS_BELOW_CHIN))
        return cls(axes, head * inner, shoulders * inner, _relief(points, places, axes), places, chin + NECK_BELOW_CHIN)

    @property
    def reach(self) -> np.ndarray:
        """(rows, columns) 0 where nothing ever moves."""
        return np.asarray(np.maximum(self.head, self.shoulders))

    def moved(self, pose: np.ndarray) -> np.ndarray:
        """(rows, columns, 2) displacement in pixels at ``pose`` (7,), a row of ``poses``."""
        turn, nod, lean, side, rise, growth, breath = pose
        x, y = self.places[..., 0], self.places[..., 1] - self.neck
        across = self.head * (side + turn * self.relief - lean * y + growth * x)
        down = self.head * (rise + nod * self.relief + lean * x + growth * y) + self.shoulders * breath
        return self.axes.vector(np.stack([across, down], -1))


def _relief(points: np.ndarray, places: np.ndarray, axes: Axes) -> np.ndarray:
    """(rows, columns) how far the face stands out before the ears, in eye distances, smooth, 0 beside the face."""
    depth = points[:, 2] / axes.unit
    height = np.maximum(depth[list(at.TEMPLES)].mean() - depth, 0)
    around = axes.local(points[:, :2])
    flat = places.reshape(-1, 2).astype(np.float32)
    squared = (flat**2).sum(1)[:, None] + (around**2).sum(1)[None] - 2 * flat @ around.T.astype(np.float32)
    near = np.exp(-squared / (2 * RELIEF_SIGMA**2))
    return np.asarray((near @ height) / (near.sum(1) + RELIEF_FLOOR)).reshape(places.shape[:-1])
