"""Blinking in a photo: when, and the lids drawn over the eyes from the skin above them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from modules.avatar.builtin.skin import Axes, read
from modules.avatar.builtin.tones import Tones
from modules.avatar.builtin.warp import smoothstep
from modules.avatar.crops import Crop
from modules.face import landmarks as at
from modules.media import FRAME_RATE

SHORTEST, LONGEST = 2.0, 6.0  # seconds from blink to blink
# How far the lids are closed in the frames of a blink: they fall faster than they rise.
COURSES = (
    (0.5, 1.0, 0.7, 0.15),
    (0.4, 1.0, 0.85, 0.5, 0.15),
    (0.4, 0.95, 1.0, 0.7, 0.4, 0.15),
)
LEVELS = tuple(sorted({level for course in COURSES for level in course}))
SEED = 20
# Units of the eye's width from corner to corner. An eye that shows less than this is closed or squints.
LEAST_HEIGHT = 0.13
LID_SHARE, LID_LEAST, LID_MOST = 0.6, 0.12, 0.4  # of the way up to the brow, what skin the lid is made of
LASHES = 0.05
# Its lower part is of the skin further up, where no lashes and no paint are.
BARE_SHARE, BARE_MOST = 0.5, 0.9
LINE_WIDTH, FRINGE_WIDTH, FRINGE = 0.026, 0.05, 0.35
LINE_DARKNESS = 0.8
DOME, EDGE_SHADE = 0.14, 0.12
CORNER_REACH = 0.2
MARGIN = 0.12

EYES = (
    (at.LEFT_EYE_UPPER, at.LEFT_EYE_LOWER, at.LEFT_BROW_LOWER),
    (at.RIGHT_EYE_UPPER, at.RIGHT_EYE_LOWER, at.RIGHT_BROW_LOWER),
)


def closures(numbers: np.ndarray) -> np.ndarray:
    """(T,) 0 open to 1 closed: the lids in output frames ``numbers`` ((T,) rising)."""
    closed = np.zeros(len(numbers))
    stop = int(numbers[-1]) + 1 if len(numbers) else 0
    # One draw a blink from each of two streams, so that a later end only adds to what was drawn before.
    count = int(stop / FRAME_RATE / SHORTEST) + 1
    pauses = np.random.default_rng(SEED).uniform(SHORTEST, LONGEST, count)
    kinds = np.random.default_rng(SEED + 1).integers(0, len(COURSES), count)
    starts = np.round(np.cumsum(pauses) * FRAME_RATE).astype(int)
    for start, kind in zip(starts.tolist(), kinds.tolist(), strict=True):
        course = np.array(COURSES[kind])
        inside = (numbers >= start) & (numbers < start + len(course))
        closed[inside] = course[numbers[inside] - start]
    return closed


def can_blink(points: np.ndarray) -> bool:
    """Whether both eyes of (478, 2) points are open enough to be closed."""
    for upper, lower, _ in EYES:
        width = np.linalg.norm(points[upper[-1]] - points[upper[0]])
        if np.linalg.norm(points[upper[4]] - points[lower[4]]) < LEAST_HEIGHT * width:
            return False
    return True


def lid_patches(crop: Crop, points: np.ndarray, tones: Tones) -> dict[float, list[Crop]]:
    """For each of LEVELS, pieces to lay over ``crop`` of a face at ``points`` (478, 2), in frame pixels."""
    eyes = [_Eye(crop, points, parts, tones) for parts in EYES] if can_blink(points) else []
    return {level: [eye.closed(level) for eye in eyes] for level in LEVELS}


class _Eye:
    """One eye, laid out along the line between its corners; unit: its width."""

    def __init__(self, crop: Crop, points: np.ndarray, parts: Sequence[Sequence[int]], tones: Tones) -> None:
        upper, lower, brow = (points[list(part)] for part in parts)
        self._axes = Axes.of(upper[0], upper[-1], float(np.linalg.norm(upper[-1] - upper[0])))
        self._tones = tones
        edges = self._axes.picture(np.array([(x, y) for x in (-0.5, 0.5) for y in (0.0, 0.0)]))
        edges = np.concatenate([edges, upper, lower, brow]) - (crop.left, crop.top)
        reach = MARGIN * self._axes.unit
        left, top = np.maximum(np.floor(edges.min(0) - reach), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(edges.max(0) + reach), crop.pixels.shape[1::-1]).astype(int).tolist()
        self._part = Crop(crop.pixels[top:bottom, left:right].copy(), crop.left + left, crop.top + top)
        columns, rows = np.arange(left, right) + crop.left, np.arange(top, bottom) + crop.top
        local = self._axes.local(np.stack(np.meshgrid(columns, rows), -1))
        self._across, self._down = local[..., 0], local[..., 1]
        # Towards the corners of the eye everything stays as it is.
        self._ends = smoothstep((0.5 - np.abs(self._across)) / CORNER_REACH)
        self._upper, self._lower, self._brow = (self._curve(line) for line in (upper, lower, brow))
        self._lower = np.maximum(self._upper, self._lower)
        self._dark = self._lash_color()
        self._bare = self._without_lashes()

    def _curve(self, line: np.ndarray) -> np.ndarray:
        """(h, w) height of a line of points at every pixel's place across, level beyond its ends."""
        local = self._axes.local(line)
        xs = np.maximum.accumulate(local[:, 0] + np.arange(len(local)) * 1e-5)
        return np.asarray(PchipInterpolator(xs, local[:, 1])(np.clip(self._across, xs[0], xs[-1])))

    def _lash_color(self) -> np.ndarray:
        """(3,) the dark end of what lies along the upper lid's edge."""
        along = (np.abs(self._down - self._upper) < LASHES) & (np.abs(self._across) < 0.45)
        pixels = self._part.pixels[along].astype(np.float64)
        if not len(pixels):
            return np.zeros(3)
        bright = pixels.mean(1)
        return np.asarray(pixels[bright <= np.quantile(bright, 0.15)].mean(0))

    def closed(self, level: float) -> Crop:
        """The eye with its upper lid ``level`` (0 to 1) of the way down."""
        edge = self._upper + level * (self._lower - self._upper)
        top = self._upper - np.clip(LID_SHARE * (self._upper - self._brow), LID_LEAST, LID_MOST)
        strip, wanted = self._upper - LASHES - top, np.maximum(edge - LASHES - top, 1e-3)
        # Skin near the brow stays; towards the edge of the lid it is drawn out more and more, never folded.
        stretch = np.maximum(wanted / np.maximum(strip, 1e-3), 1.0)
        share = np.clip((self._down - top) / wanted, 0, 1)
        along = stretch * share / (1 + (stretch - 1) * share)
        source = np.where(self._down < top, self._down, top + strip * along)
        drawn_out = (BARE_MOST * smoothstep(share * (stretch - 1) / 0.5) * self._ends)[..., None]
        bare = self._read(self._bare, top + BARE_SHARE * strip * along)
        lid = self._read(self._part.pixels, source) * (1 - drawn_out) + bare * drawn_out
        lid *= self._shading(level, share)[..., None]
        lid += self._noise(share * (1 - 1 / stretch))[..., None]
        soft = max(self._tones.blur, 0.5) / self._axes.unit
        cover = np.clip((edge - self._down) / soft + 0.5, 0, 1) * (np.abs(self._across) <= 0.5)
        cover = cover * np.clip((self._lower - self._upper) * level / LASHES, 0, 1)
        cover = (cover * smoothstep((self._down - top) / 0.05))[..., None]
        picture = self._part.pixels * (1 - cover) + lid * cover
        line = self._line(edge, level)[..., None]
        picture = picture * (1 - line) + self._dark * line
        return Crop(np.clip(picture + 0.5, 0, 255).astype(np.uint8), self._part.left, self._part.top)

    def _read(self, pixels: np.ndarray, down: np.ndarray) -> np.ndarray:
        """(h, w, 3) float64 values of ``pixels`` (h, w, 3) at the same place across and ``down``."""
        places = self._axes.picture(np.stack([self._across, down], -1)) - (self._part.left, self._part.top)
        return read(pixels, places).astype(np.float64)

    def _without_lashes(self) -> np.ndarray:
        """(h, w, 3) the eye's surroundings with what is thin and dark taken out: lashes would be drawn to streaks."""
        side = max(3, round(2 * LASHES * self._axes.unit)) // 2 * 2 + 1
        closed = cv2.morphologyEx(
            self._part.pixels, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        )
        return cv2.GaussianBlur(closed, (0, 0), LASHES * self._axes.unit, sigmaY=0.5 * LASHES * self._axes.unit)

    def _shading(self, level: float, share: np.ndarray) -> np.ndarray:
        """(h, w) light of a lid that lies over the round eye: darker to its sides and to its edge."""
        side = (4 * self._across**2).clip(0, 1)
        return np.asarray(1 - level * share * (DOME * side + EDGE_SHADE * share))

    def _noise(self, share: np.ndarray) -> np.ndarray:
        """(h, w) the picture's own grain, where stretching has smoothed it away."""
        grain = np.random.default_rng(SEED).normal(0, self._tones.grain, self._across.shape)
        return np.asarray(grain * share)

    def _line(self, edge: np.ndarray, level: float) -> np.ndarray:
        """(h, w) how far the lashes darken: a line along the lid's edge, and a soft fringe below it."""
        below = self._down - edge
        line = np.exp(-((below / LINE_WIDTH) ** 2)) + FRINGE * np.exp(-(((below - LASHES / 2) / FRINGE_WIDTH) ** 2))
        moved = smoothstep((self._lower - self._upper) * level / LASHES)
        return np.asarray(LINE_DARKNESS * np.clip(line, 0, 1) * self._ends * moved)
