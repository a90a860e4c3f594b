"""How the skin of a face goes with the mouth: displacement fields, and what they make of a picture.

Two fields meet at the line between the lips: one for all that hangs on the upper jaw, one for all that
hangs on the lower. They are the same beyond the corners of the mouth. So lips keep their thickness and
their texture, however far they part, and nothing is stretched over the opening.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from modules.avatar.builtin.warp import smoothstep
from modules.avatar.crops import Box
from modules.face import landmarks as at
from modules.face.geometry import eye_distance

# Of one unit of opening, how much the lower jaw drops; the upper lip rises by the rest.
JAW_SHARE = 0.76
# A mouth that is closed over its teeth: how much of the way the lower lip comes up.
CLOSING_SHARE = 0.55
# All in eye distances from the line between the lips, down positive: where the cheeks begin to follow the jaw.
CHEEK_TOP = -0.26
# The jaw turns about the ears, so it drops most in the middle.
JAW_REACH = 0.46
# The neck, and what lies beside the face, gives way over this distance.
OUTSIDE_REACH = 0.42
UPPER_LIP_REACH, LOWER_LIP_REACH = 0.14, 0.26
LIP_BODY = 0.1
ROUND_REACH = 0.42
# Opening pulls the corners in a little.
CORNERS_IN = 0.12
CONTOUR_STEPS = 49
INNER_CORNERS = at.LIPS_INNER_UPPER[0], at.LIPS_INNER_UPPER[-1]
OUTER_CORNERS = at.MOUTH_LEFT, at.MOUTH_RIGHT
INVERSE_STEPS = 4


def read(picture: np.ndarray, places: np.ndarray, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """(h, w, C) values of ``picture`` (H, W, C) at ``places`` (h, w, 2) in its own pixels."""
    both = np.asarray(places, np.float32)
    return np.asarray(cv2.remap(picture, both, np.empty(0), interpolation, borderMode=cv2.BORDER_REPLICATE))


@dataclass(frozen=True)
class Axes:
    """A right-handed frame in a picture, in pixels: ``origin`` (2,), direction ``axis`` (2,) of its x, and its unit."""

    origin: np.ndarray
    axis: np.ndarray
    unit: float

    @classmethod
    def of(cls, left: np.ndarray, right: np.ndarray, unit: float) -> Axes:
        """From ``left`` to ``right`` (2,) in pixels, the origin half way."""
        across = right - left
        return cls((left + right) / 2, across / max(float(np.linalg.norm(across)), 1e-6), unit)

    def local(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points in pixels as (right, down) in eye distances."""
        away = (points - self.origin) / self.unit
        x, y = self.axis
        return np.stack([away[..., 0] * x + away[..., 1] * y, away[..., 1] * x - away[..., 0] * y], -1)

    def picture(self, local: np.ndarray) -> np.ndarray:
        """(..., 2) points in eye distances back in pixels."""
        return np.asarray(self.origin + self.vector(local))

    def vector(self, local: np.ndarray) -> np.ndarray:
        """(..., 2) differences in eye distances as differences in pixels."""
        x, y = self.axis
        turned = [local[..., 0] * x - local[..., 1] * y, local[..., 0] * y + local[..., 1] * x]
        return np.asarray(np.stack(turned, -1) * self.unit)


@dataclass(frozen=True)
class Grid:
    """Nodes every ``step`` pixels over a box; fields on it are arrays (rows, columns, ...)."""

    box: Box
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        return -(-self.box.height // self.step), -(-self.box.width // self.step)

    @cached_property
    def nodes(self) -> np.ndarray:
        """(rows, columns, 2) float64 places of the nodes in pixels: the middles of step x step cells."""
        rows, columns = self.shape
        xs = self.box.left + (np.arange(columns) + 0.5) * self.step - 0.5
        ys = self.box.top + (np.arange(rows) + 0.5) * self.step - 0.5
        return np.stack(np.meshgrid(xs, ys), -1)

    def at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(..., C) float32 values of a ``field`` (rows, columns, C) at ``points`` (..., 2) in pixels."""
        places = ((points - self.box.corner + 0.5) / self.step - 0.5).reshape(-1, 1, 2)
        values = read(np.asarray(field, np.float32), places, cv2.INTER_LINEAR)
        return np.asarray(values.reshape(*points.shape[:-1], -1))

    def dense(self, field: np.ndarray, part: Box) -> np.ndarray:
        """(h, w, C) float32 values of a field for every pixel of ``part``, which lies inside the box."""
        rows, columns = self.shape
        left = max(0, (part.left - self.box.left) // self.step - 1)
        top = max(0, (part.top - self.box.top) // self.step - 1)
        right = min(columns, (part.right - self.box.left - 1) // self.step + 2)
        bottom = min(rows, (part.bottom - self.box.top - 1) // self.step + 2)
        nodes = np.ascontiguousarray(field[top:bottom, left:right], np.float32)
        size = ((right - left) * self.step, (bottom - top) * self.step)
        filled = cv2.resize(nodes, size, interpolation=cv2.INTER_LINEAR)
        x, y = part.left - self.box.left - left * self.step, part.top - self.box.top - top * self.step
        return np.asarray(filled[y : y + part.height, x : x + part.width])

    def inverse(self, moved: np.ndarray) -> np.ndarray:
        """What undoes a displacement: (rows, columns, 2) r so that x + r(x) is the point that ``moved`` brings to x.

        Fixed-point iteration, which converges because skin is never folded (slopes stay under 1).
        """
        back = -moved
        for _ in range(INVERSE_STEPS):
            back = -self.at(moved, self.nodes + back)
        return back


@dataclass(frozen=True)
class Contour:
    """The line where the lips part: at ``across`` (S,) the ``upper`` and ``lower`` (S,) inner edges, all local."""

    across: np.ndarray
    upper: np.ndarray
    lower: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return np.asarray((self.upper + self.lower) / 2)

    @property
    def gap(self) -> np.ndarray:
        return np.asarray(np.maximum(self.lower - self.upper, 0))


def contour_of(local: np.ndarray) -> Contour:
    """The inner lips of a face's (478, 2) local points, as smooth curves from corner to corner."""
    upper, lower = local[list(at.LIPS_INNER_UPPER)], local[list(at.LIPS_INNER_LOWER)]
    # The mesh puts the inner corners a little inside of where lips really meet.
    corners = [(local[inner] + local[outer]) / 2 for inner, outer in zip(INNER_CORNERS, OUTER_CORNERS, strict=True)]
    across = np.linspace(corners[0][0], corners[1][0], CONTOUR_STEPS)
    curves = []
    for line in (upper, lower):
        line = np.stack([corners[0], *line[1:-1], corners[1]])
        # Points of a turned mouth can come close in x; a function needs them apart.
        xs = np.maximum.accumulate(line[:, 0] + np.arange(len(line)) * 1e-5)
        curves.append(PchipInterpolator(xs, line[:, 1])(across))
    middle = (curves[0] + curves[1]) / 2
    return Contour(across, np.minimum(curves[0], middle), np.maximum(curves[1], middle))


@dataclass(frozen=True)
class Weights:
    """How far each of some points follows: arrays of the points' shape, 0 to 1 unless said otherwise.

    jaw: with the jaw, away from the lips; lower, upper: with the lower and the upper lip; gap: how far the
    lips are apart there in the picture (eye distances); near_lower, near_upper: with lips that are drawn
    together; inward: along x when the mouth narrows by one (-1 to 1).
    """

    jaw: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    gap: np.ndarray
    near_lower: np.ndarray
    near_upper: np.ndarray
    inward: np.ndarray


@dataclass(frozen=True)
class Move:
    """What the mouth does: ``change`` of its opening and ``rounding``, both in eye distances."""

    change: float
    rounding: float


class Skin:
    """One face in one picture, and how its skin follows the mouth. points: (478, 2) in pixels."""

    def __init__(self, points: np.ndarray) -> None:
        self.axes = Axes.of(points[at.MOUTH_LEFT], points[at.MOUTH_RIGHT], float(eye_distance(points)))
        local = self.axes.local(points)
        self.rest = contour_of(local)
        self.chin = float(local[at.CHIN, 1])
        self._outline = local[list(at.FACE_OVAL)].astype(np.float32)
        self.own_opening = float(local[at.LIP_INNER_BOTTOM, 1] - local[at.LIP_INNER_TOP, 1])

    def weights(self, local: np.ndarray) -> Weights:
        """For local points (..., 2)."""
        x, y = local[..., 0], local[..., 1]
        rest = self.rest
        below = y - np.interp(x, rest.across, rest.middle)
        left, right = rest.across[0], rest.across[-1]
        half = (right - left) / 2
        place = (x - (left + right) / 2) / half
        arch = np.clip(1 - place**2, 0, 1)
        still = self._beyond(local)
        jaw = smoothstep((below - CHEEK_TOP) / (self.chin - CHEEK_TOP)) * np.exp(-((x / JAW_REACH) ** 2) / 2) * still
        near = np.exp(-(x**2 + below**2) / (2 * ROUND_REACH**2))
        return Weights(
            jaw=jaw,
            lower=jaw + (1 - jaw) * arch * (1 - smoothstep((np.abs(below) - LIP_BODY) / LOWER_LIP_REACH)),
            upper=arch * (1 - smoothstep((np.abs(below) - LIP_BODY / 2) / UPPER_LIP_REACH)),
            gap=np.interp(x, rest.across, rest.gap),
            near_lower=1 - smoothstep((np.abs(below) - LIP_BODY) / LOWER_LIP_REACH),
            near_upper=1 - smoothstep((np.abs(below) - LIP_BODY) / UPPER_LIP_REACH),
            inward=-np.tanh(place) * near * still,
        )

    def _beyond(self, local: np.ndarray) -> np.ndarray:
        """1 on the face, falling to 0 with the distance from its outline."""
        flat = local.reshape(-1, 2).astype(np.float64)
        start, end = self._outline, np.roll(self._outline, -1, axis=0)
        along = end - start
        share = ((flat[:, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
        away = flat[:, None] - (start + np.clip(share, 0, 1)[..., None] * along)
        distance = np.sqrt((away**2).sum(-1).min(1)) / OUTSIDE_REACH
        inside = _inside(flat, self._outline)
        return np.where(inside, 1.0, 1 - smoothstep(distance)).reshape(local.shape[:-1])

    def moved(self, weights: Weights, move: Move, lower: bool) -> np.ndarray:
        """(..., 2) local displacement of the points of ``weights`` as part of the lower or the upper face."""
        opened = max(move.change, 0.0)
        closed = min(max(-move.change, 0.0) / max(self.own_opening, 1e-6), 1.0)
        if lower:
            down = JAW_SHARE * opened * weights.lower - CLOSING_SHARE * closed * weights.gap * weights.near_lower
        else:
            down = JAW_SHARE * opened * weights.jaw * (1 - weights.upper) - (1 - JAW_SHARE) * opened * weights.upper
            down = down + (1 - CLOSING_SHARE) * closed * weights.gap * weights.near_upper
        return np.stack([(move.rounding + CORNERS_IN * opened) * weights.inward, down], -1)

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray, Weights, Weights]:
        rest = self.rest
        upper, lower = np.stack([rest.across, rest.upper], -1), np.stack([rest.across, rest.lower], -1)
        return upper, lower, self.weights(upper), self.weights(lower)

    def lips(self, move: Move) -> tuple[np.ndarray, np.ndarray]:
        """(S, 2) upper and lower inner edge of the lips after ``move``, local."""
        upper, lower, upper_weights, lower_weights = self._edges
        return upper + self.moved(upper_weights, move, False), lower + self.moved(lower_weights, move, True)


def _inside(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """(P,) bool: which (P, 2) points lie in the polygon ``outline`` (K, 2) (crossing number)."""
    x, y = points[:, :1], points[:, 1:]
    x1, y1 = outline.T
    x2, y2 = np.roll(outline, -1, axis=0).T
    crosses = (y1 > y) != (y2 > y)
    at_x = x1 + (y - y1) / np.where(y2 == y1, 1e-9, y2 - y1) * (x2 - x1)
    return np.asarray((crosses & (x < at_x)).sum(1) % 2 == 1)
