"""Preview quality: one picture made to speak by rule. Nothing is learnt and no mouth is taken from elsewhere.

A photo is moved as a whole (sway), blinks (eyelids) and speaks (skin, mouth); in footage in which nobody
speaks only the mouth is moved, because the rest moves by itself. All displacements are put together on a
coarse grid first, so that every pixel is read from the picture just once and stays as sharp as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from modules.avatar.builtin import eyelids, mouth, sway
from modules.avatar.builtin.articulation import OPENINGS
from modules.avatar.builtin.footage import mouth_boxes
from modules.avatar.builtin.shapes import face_shapes, smooth_runs
from modules.avatar.builtin.skin import Axes, Grid, Move, Skin, Weights, read
from modules.avatar.builtin.tones import Tones, blur, measure
from modules.avatar.builtin.warp import feather
from modules.avatar.crops import Box, Crop, CropStore
from modules.errors import StudioError
from modules.face import landmarks as at
from modules.face.geometry import eye_distance
from modules.media import FRAME_RATE

MODEL = "photo.npz"
VERSION = 2
POINTS_SIGMA = 0.8
GRID_STEP = 0.03  # eye distances
# The upper and the lower face differ between the corners of the mouth and so far down (eye distances).
BESIDE_LIPS, BELOW_LIPS = 0.06, 0.6
# Half the length in eye distances by which the motion of the mouth's axes is measured.
SPAN = 0.25
# A mouth that is open further than this in the picture opens further for every sound.
WIDE = 0.12
# A nod follows the speech this slowly.
STRESS_SECONDS = 0.2
# Where less than this share of the motion arrives, the patch fades into the frame.
FADE = 0.06


def stored_boxes(landmarks: np.ndarray, width: int, height: int) -> list[Box]:
    """What to keep of a photo with a face at (1, 478, 3) ``landmarks``: all that can move."""
    return [sway.head_box(points, width, height) for points in landmarks]


def save(folder: Path, frames: np.ndarray, landmarks: np.ndarray, width: int, height: int, still: bool) -> None:
    """Keep what drawing needs beside the crops: (N,) frame numbers and (N, 478, 3) landmarks; still: of a photo."""
    with open(folder / MODEL, "wb") as file:
        size = np.array([width, height])
        np.savez(file, version=VERSION, frames=frames, landmarks=landmarks, size=size, still=still)


@dataclass(frozen=True)
class Preview:
    """One frame to draw: the number of its stored frame, what the mouth does, and for a photo
    the head's pose (7,) (see sway.poses) and how far the lids are closed.
    """

    base: int
    move: Move
    pose: np.ndarray | None
    lids: float


class LoadedPreview:
    """A photo, or footage without speech, ready for drawing."""

    def __init__(self, folder: Path) -> None:
        try:
            with np.load(folder / MODEL, allow_pickle=False) as data:
                self.frames, landmarks = data["frames"], data["landmarks"].astype(np.float64)
                self._width, self._height = data["size"].tolist()
                self.still = bool(data["still"])
        except (OSError, ValueError, KeyError) as error:
            raise StudioError("avatar_broken", name=MODEL) from error
        self._crops = CropStore(folder)
        self._landmarks = landmarks
        self._points = smooth_runs(landmarks[:, :, :2], self.frames, POINTS_SIGMA)
        self._tones = measure(self._crops[0], self._points[0])
        self._photo = self._prepared_photo() if self.still else None
        shapes = face_shapes(landmarks, self.frames)
        self._boxes = mouth_boxes(shapes, self._width, self._height)[0]

    def plan(self, numbers: np.ndarray, bases: np.ndarray, opening: np.ndarray, rounding: np.ndarray) -> list[Preview]:
        """Previews for output frames ``numbers`` (T,), carried by the stored frames ``bases`` (T,).

        opening, rounding: (T,) in eye distances, as articulation.movements gives them.
        """
        points = self._points[bases]
        own = np.linalg.norm(points[:, at.LIP_INNER_TOP] - points[:, at.LIP_INNER_BOTTOM], axis=1)
        own = own / eye_distance(points)
        # Who shows teeth at rest opens further to speak.
        opening = opening * np.maximum(own / WIDE, 1.0)
        moves = [Move(float(change), float(rounded)) for change, rounded in zip(opening - own, rounding, strict=True)]
        if not self.still:
            return [Preview(base, move, None, 0.0) for base, move in zip(bases.tolist(), moves, strict=True)]
        keep = np.exp(-1 / (STRESS_SECONDS * FRAME_RATE))
        stress = lfilter([1 - keep], [1, -keep], np.minimum(opening / OPENINGS.max(), 1.0))
        previews = zip(
            bases.tolist(), moves, sway.poses(numbers, stress), eyelids.closures(numbers).tolist(), strict=True
        )
        return [Preview(*preview) for preview in previews]

    def draw(self, preview: Preview) -> tuple[np.ndarray, np.ndarray, Box]:
        """(h, w, 3) uint8 BGR patch, its (h, w) uint8 mask, and where it lies in the frame."""
        if self._photo is not None:
            face, look = self._photo, self._tones
        else:
            crop, points = self._crops[preview.base], self._points[preview.base]
            face = _Face.of(crop, points, self._boxes[preview.base])
            # A face that moves is not always as sharp.
            look = replace(self._tones, blur=blur(crop, points))
        return face.drawn(preview, look), face.mask, face.box

    def _prepared_photo(self) -> _Face:
        crop, points = self._crops[0], self._landmarks[0]
        height, width = crop.pixels.shape[:2]
        box = Box(crop.left, crop.top, crop.left + width, crop.top + height)
        body_grid = _grid(points[:, :2], box)
        body = sway.Body.of(points, body_grid, self._width, self._height)
        return _Face.of(crop, points[:, :2], box, body, eyelids.lid_patches(crop, points[:, :2], self._tones))


def _grid(points: np.ndarray, box: Box) -> Grid:
    return Grid(box, max(4, round(GRID_STEP * sway.head_axes(points).unit)))


@dataclass(frozen=True)
class _Face:
    """A picture with a face, and all that stays the same however it moves."""

    crop: Crop
    box: Box
    grid: Grid
    skin: Skin
    weights: Weights
    body: sway.Body | None
    lids: dict[float, list[Crop]]

    @classmethod
    def of(
        cls,
        crop: Crop,
        points: np.ndarray,
        box: Box,
        body: sway.Body | None = None,
        lids: dict[float, list[Crop]] | None = None,
    ) -> _Face:
        grid = _grid(points, box)
        skin = Skin(points)
        return cls(crop, box, grid, skin, skin.weights(skin.axes.local(grid.nodes)), body, lids or {})

    @cached_property
    def mask(self) -> np.ndarray:
        """(h, w) uint8: everything that moves; 0 where nothing ever does."""
        if self.body is None:
            return feather(self.box, self.skin.axes.unit)
        reach = np.maximum(self.body.reach, self.weights.jaw)
        mask = 255 * np.clip(self.grid.dense(reach / FADE, self.box), 0, 1)
        return np.asarray(np.round(mask).astype(np.uint8))

    def drawn(self, preview: Preview, look: Tones) -> np.ndarray:
        """(h, w, 3) uint8 BGR picture of ``box`` with everything in ``preview`` done."""
        swayed = np.zeros((*self.grid.shape, 2))
        if self.body is not None and preview.pose is not None:
            swayed = self.body.moved(preview.pose)
        unswayed = self.grid.nodes + self.grid.inverse(swayed)
        axes = self._carried_axes(swayed)
        rest = self.skin.axes
        upper, lower = (axes.local(self._carried(rest.picture(edge), swayed)) for edge in self.skin.lips(preview.move))
        origins = self.grid.dense(self._origins(preview.move, unswayed, False), self.box)
        self._put_lower(origins, self._origins(preview.move, unswayed, True), axes, (upper + lower) / 2)
        crop = self._with_lids(preview.lids)
        picture = read(crop.pixels, origins)
        opening = mouth.Opening(upper, lower, preview.move, self.skin.rest, self.skin.own_opening)
        mouth.paint(picture, self.box.corner, axes, opening, look, mouth.Original(self.crop, rest))
        return picture

    def _origins(self, move: Move, unswayed: np.ndarray, lower: bool) -> np.ndarray:
        """(rows, columns, 2) where in ``crop`` each node comes from, as part of the lower or the upper face."""
        displaced = self.skin.axes.vector(self.skin.moved(self.weights, move, lower))
        there = unswayed + self.grid.at(self.grid.inverse(displaced), unswayed)
        return np.asarray(there - (self.crop.left, self.crop.top))

    def _carried(self, points: np.ndarray, swayed: np.ndarray) -> np.ndarray:
        """(..., 2) where ``points`` in pixels are when the body has moved."""
        return np.asarray(points + self.grid.at(swayed, points))

    def _carried_axes(self, swayed: np.ndarray) -> Axes:
        """The mouth's axes when the body has moved: what is fixed to the upper jaw stays at its place on them."""
        axes = self.skin.axes
        ends = axes.picture(np.array([[-SPAN, 0.0], [SPAN, 0.0]]))
        left, right = self._carried(ends, swayed)
        return Axes.of(left, right, float(np.linalg.norm(right - left)) / (2 * SPAN))

    def _put_lower(self, origins: np.ndarray, lower: np.ndarray, axes: Axes, middle: np.ndarray) -> None:
        """Take what lies under the line ``middle`` (S, 2) between the lips from the lower face instead.

        Only round the lips: further away both fields say the same.
        """
        edges = axes.picture(middle) - self.box.corner
        reach = axes.unit * np.array([BESIDE_LIPS, BELOW_LIPS])
        left, top = np.maximum(np.floor(edges.min(0) - reach[0]), 0).astype(int).tolist()
        right, bottom = np.ceil(edges.max(0) + reach).astype(int).tolist()
        part = Box(
            self.box.left + left,
            self.box.top + top,
            min(self.box.left + right, self.box.right),
            min(self.box.top + bottom, self.box.bottom),
        )
        if part.width <= 0 or part.height <= 0:
            return
        pixels = np.stack(np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom)), -1)
        local = axes.local(pixels)
        under = local[..., 1] > np.interp(local[..., 0], middle[:, 0], middle[:, 1])
        target = origins[top : top + part.height, left : left + part.width]
        target[under] = self.grid.dense(lower, part)[under]

    def _with_lids(self, level: float) -> Crop:
        """The picture with its lids closed as far as ``level``, one of eyelids.LEVELS or 0."""
        patches = self.lids.get(level, [])
        if not patches:
            return self.crop
        pixels = self.crop.pixels.copy()
        for patch in patches:
            height, width = patch.pixels.shape[:2]
            left, top = patch.left - self.crop.left, patch.top - self.crop.top
            pixels[top : top + height, left : left + width] = patch.pixels
        return Crop(pixels, self.crop.left, self.crop.top)
