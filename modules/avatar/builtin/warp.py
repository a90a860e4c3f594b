"""Drawing one mouth: thin-plate warps of base and source into one geometry, colour fitted, blended."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from modules.avatar.builtin.sharpness import softened
from modules.avatar.crops import Box, Crop
from modules.face import landmarks as at
from modules.face.geometry import eye_distance

LOWER = list(at.LOWER)
ANCHORS = list(dict.fromkeys((*at.LOWER, *at.UPPER)))
OUTLINE = list(at.LOWER_FACE_OUTLINE)
LIPS_OUTLINE = list(at.LIPS_OUTER)
INNER_CONTOURS = (list(at.LIPS_INNER_UPPER), list(at.LIPS_INNER_LOWER))
INNER_OUTLINE = [*at.LIPS_INNER_UPPER, *at.LIPS_INNER_LOWER[-2:0:-1]]
# A contour of the inner lips moves as a curve of this degree: teeth behind it would show each point's own error.
CONTOUR_DEGREE = 3
# All in eye distances.
MASK_ERODE, MASK_BLUR = 0.16, 0.07
LIPS_GROW = 0.06
COLOR_SIGMA = 0.22
FEATHER = 0.12
GRID = 0.075
# Soft things are computed at this fraction of the size.
SHRINK = 4
BORDER_POINTS = 5
SMOOTHNESS = 1e-3


@dataclass(frozen=True)
class Source:
    """A crop to take a mouth from, with its (478, 2) landmarks in frame pixels and its share."""

    crop: Crop
    points: np.ndarray
    share: float


def border(box: Box) -> np.ndarray:
    """(16, 2) points round the box, which hold the warp still there."""
    across = np.linspace(box.left, box.right, BORDER_POINTS)
    along = np.linspace(box.top, box.bottom, BORDER_POINTS)[1:-1]
    rim = [(x, y) for x in across for y in (box.top, box.bottom)]
    rim += [(x, y) for y in along for x in (box.left, box.right)]
    return np.array(rim, np.float64)


def warp_maps(goal: np.ndarray, origins: list[np.ndarray], box: Box, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each of ``origins`` (P, 2): where each pixel of ``box`` comes from when origin moves to ``goal`` (P, 2).

    Thin-plate splines (F. Bookstein, 1989) on a grid of ``step`` pixels, filled linearly; all share one
    factorisation because they share the goal. Returns (h, w) float32 x and y maps in frame pixels.
    """
    unit = 100.0  # keeps the system well conditioned
    count = len(goal)
    placed = (goal - box.corner) / unit
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(placed, placed) + SMOOTHNESS * np.eye(count)
    system[:count, count] = 1
    system[:count, count + 1 :] = placed
    system[count:, :count] = system[:count, count:].T
    moves = np.zeros((count + 3, 2 * len(origins)))
    moves[:count] = np.concatenate([origin - goal for origin in origins], axis=1)
    weights = np.linalg.solve(system, moves)
    grid_x, grid_y = np.arange(0, box.width + step, step), np.arange(0, box.height + step, step)
    grid = np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 2) / unit
    field = _kernel(grid, placed) @ weights[:count] + weights[count] + grid @ weights[count + 1 :]
    field = field.reshape(len(grid_y), len(grid_x), -1).astype(np.float32)
    scale = np.array([[step, 0, 0], [0, step, 0]], np.float32)
    xs = np.arange(box.width, dtype=np.float32) + box.left
    ys = np.arange(box.height, dtype=np.float32)[:, None] + box.top
    maps = []
    for number in range(len(origins)):
        dense = cv2.warpAffine(
            np.ascontiguousarray(field[..., 2 * number : 2 * number + 2]),
            scale,
            (box.width, box.height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        maps.append((dense[..., 0] + xs, dense[..., 1] + ys))
    return maps


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) thin-plate kernel r^2 log r^2 of (N, 2) and (M, 2) points."""
    squared = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)
    return np.asarray(squared * np.log(squared + 1e-9))


def similarity(origin: np.ndarray, goal: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``points`` (Q, 2) carried by the best similarity from ``origin`` (P, 2) to ``goal`` (P, 2)."""
    a, b = origin - origin.mean(0), goal - goal.mean(0)
    real = (a * b).sum() / (a**2).sum()
    turned = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / (a**2).sum()
    matrix = np.array([[real, turned], [-turned, real]])
    return np.asarray((points - origin.mean(0)) @ matrix + goal.mean(0))


def evened(origin: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """``origin`` (478, 2) whose inner lips differ from those of ``goal`` (478, 2) by smooth curves only."""
    smooth = origin.copy()
    for contour in INNER_CONTOURS:
        inside = contour[1:-1]
        smooth[inside] = goal[inside] + _CURVES[1:-1] @ (origin[contour] - goal[contour])
    return smooth


def _curves(count: int, degree: int) -> np.ndarray:
    """(count, count) least-squares projection of values at even places on polynomials of ``degree``."""
    powers = np.vander(np.linspace(-1, 1, count), degree + 1)
    return np.asarray(powers @ np.linalg.pinv(powers))


_CURVES = _curves(len(at.LIPS_INNER_UPPER), CONTOUR_DEGREE)


def sample(crop: Crop, map_x: np.ndarray, map_y: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: the crop's pixels at the frame positions of the maps."""
    return cv2.remap(
        crop.pixels,
        map_x - np.float32(crop.left),
        map_y - np.float32(crop.top),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def draw_mouth(
    base: Crop, base_points: np.ndarray, speed: np.ndarray, goal: np.ndarray, sources: list[Source], box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """The part ``box`` of a frame with its lower face moved to ``goal`` and filled from ``sources``.

    base: crop of the frame, larger than ``box``; base_points (478, 2) its landmarks;
    speed (2,) how far it moves within a frame; goal (116, 2) where
    the LOWER points shall be; all in frame pixels. Returns (h, w, 3) uint8 BGR and its (h, w) uint8 mask.
    """
    eyes = float(eye_distance(base_points))
    moved = base_points.copy()
    moved[LOWER] = goal
    rim = border(box)
    near = _near(moved[ANCHORS], box, eyes)
    anchors = [point for point, is_near in zip(ANCHORS, near, strict=True) if is_near]
    goals = np.concatenate([moved[anchors], rim])
    origins = [np.concatenate([base_points[anchors], rim])]
    for source in sources:
        outside = similarity(moved[ANCHORS], source.points[ANCHORS], rim)
        origins.append(np.concatenate([evened(source.points, moved)[anchors], outside]))
    maps = warp_maps(goals, origins, box, max(6, round(GRID * eyes)))
    background = sample(base, *maps[0])
    mouth = sample(sources[0].crop, *maps[1])
    if len(sources) > 1:
        mouth = _faded(mouth, sample(sources[1].crop, *maps[2]), sources[0].share, moved, box)
    inside, lips = _masks(moved, box, eyes)
    mouth = softened(mouth, background, inside * (1 - lips), eyes, speed)
    tint = _color_offset(background, mouth, inside, lips, eyes)
    share = cv2.resize(inside, (box.width, box.height), interpolation=cv2.INTER_LINEAR)[..., None]
    blended = background + (mouth.astype(np.float32) + tint - background) * share
    return np.clip(blended + 0.5, 0, 255).astype(np.uint8), feather(box, eyes)


def _faded(mouth: np.ndarray, other: np.ndarray, share: float, points: np.ndarray, box: Box) -> np.ndarray:
    """``share`` of ``mouth`` and the rest of ``other``; but only ``mouth`` between the lips, or teeth were doubled."""
    blended = cv2.addWeighted(mouth, share, other, 1 - share, 0)
    between = cv2.resize(_filled(points[INNER_OUTLINE], box), (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    part = between.astype(np.float32)[..., None] / 255
    return np.asarray(mouth * part + blended * (1 - part) + 0.5).astype(np.uint8)


def _near(points: np.ndarray, box: Box, eyes: float) -> np.ndarray:
    """(P,) bool: which (P, 2) points lie in the box or close to it."""
    reach = 0.3 * eyes
    low, high = box.corner - reach, box.corner + np.array([box.width, box.height]) + reach
    return np.asarray(((points >= low) & (points <= high)).all(1))


def _masks(points: np.ndarray, box: Box, eyes: float) -> tuple[np.ndarray, np.ndarray]:
    """How far the mouth replaces the base, and where the lips are: (h/4, w/4) float32 0 to 1.

    Both are soft, so a quarter of the size is enough.
    """
    unit = eyes / SHRINK
    lower = cv2.erode(_filled(points[OUTLINE], box), _disc(MASK_ERODE * unit))
    lower = cv2.GaussianBlur(lower.astype(np.float32) / 255, (0, 0), MASK_BLUR * unit)
    lips = cv2.dilate(_filled(points[LIPS_OUTLINE], box), _disc(LIPS_GROW * unit))
    return lower, lips.astype(np.float32) / 255


def _small(box: Box) -> tuple[int, int]:
    """Width and height of ``box`` at a quarter of its size."""
    return max(8, box.width // SHRINK), max(8, box.height // SHRINK)


def _filled(outline: np.ndarray, box: Box) -> np.ndarray:
    """(h/4, w/4) uint8 picture of a polygon given in frame pixels."""
    width, height = _small(box)
    picture = np.zeros((height, width), np.uint8)
    placed = (outline - box.corner + 0.5) * (width / box.width, height / box.height) - 0.5
    cv2.fillPoly(picture, [np.round(placed * 16).astype(np.int32)], 255, shift=4, lineType=cv2.LINE_AA)
    return picture


def _disc(diameter: float) -> np.ndarray:
    side = max(3, int(diameter)) // 2 * 2 + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _color_offset(base: np.ndarray, mouth: np.ndarray, inside: np.ndarray, lips: np.ndarray, eyes: float) -> np.ndarray:
    """(h, w, 3) float32 slow colour difference that makes ``mouth`` meet ``base`` on the skin around the lips."""
    height, width = base.shape[:2]
    small = (inside.shape[1], inside.shape[0])
    weight = (inside > 0.02) * (1 - lips) * (1 - 0.75 * inside)
    difference = cv2.resize(base, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference -= cv2.resize(mouth, small, interpolation=cv2.INTER_AREA)
    sigma = COLOR_SIGMA * eyes / SHRINK
    total = cv2.GaussianBlur(difference * weight[..., None], (0, 0), sigma)
    amount = cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3
    return cv2.resize(total / amount[..., None], (width, height), interpolation=cv2.INTER_LINEAR)


def smoothstep(value: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and smooth between."""
    held = np.clip(value, 0, 1)
    return np.asarray(held * held * (3 - 2 * held))


def feather(box: Box, eyes: float) -> np.ndarray:
    """(h, w) uint8 mask of the box that fades to 0 at its border."""
    reach = 2 * FEATHER * eyes

    def ramp(length: int) -> np.ndarray:
        return smoothstep(np.minimum(np.arange(length), np.arange(length)[::-1]) / reach)

    return np.round(255 * np.outer(ramp(box.height), ramp(box.width))).astype(np.uint8)
