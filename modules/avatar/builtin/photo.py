"""Preview quality: a mouth moved by warping the picture itself, with a drawn inside where it opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from modules.avatar.builtin.articulation import LOWER, moved_shapes
from modules.avatar.builtin.crops import CropStore
from modules.avatar.builtin.footage import mouth_boxes
from modules.avatar.builtin.shapes import CLOSED, face_shapes, smooth_runs
from modules.avatar.builtin.warp import ANCHORS, GRID, Box, Crop, border, feather, sample, warp_maps
from modules.errors import StudioError
from modules.face import landmarks as at
from modules.face.geometry import eye_distance

MODEL = "photo.npz"
VERSION = 1
INNER = [*at.LIPS_INNER_UPPER, *at.LIPS_INNER_LOWER[-2:0:-1]]
POINTS_SIGMA = 0.8
# An open mouth in the picture shows real teeth: they may be stretched and covered only so far.
OPEN_GROWTH, OPEN_MORE = 1.3, 0.02
TEETH_HEIGHT, TEETH_EDGE = 0.055, 0.008
SOFT_EDGE = 0.008
CAVITY_BGR, TEETH_BGR = (42.0, 34.0, 74.0), (150.0, 168.0, 180.0)


def save(folder: Path, frames: np.ndarray, landmarks: np.ndarray, width: int, height: int) -> None:
    """Keep what drawing needs beside the crops: (N,) frame numbers and (N, 478, 3) landmarks."""
    with open(folder / MODEL, "wb") as file:
        np.savez(file, version=VERSION, frames=frames, landmarks=landmarks, size=np.array([width, height]))


@dataclass(frozen=True)
class Preview:
    """One frame to draw: the number of its stored frame, and the LOWER points (116, 2) in frame pixels."""

    base: int
    goal: np.ndarray


class LoadedPreview:
    """A photo, or footage without speech, ready for drawing."""

    def __init__(self, folder: Path) -> None:
        try:
            with np.load(folder / MODEL, allow_pickle=False) as data:
                self.frames, landmarks, size = data["frames"], data["landmarks"], data["size"]
        except (OSError, ValueError, KeyError) as error:
            raise StudioError("avatar_broken", name=MODEL) from error
        self.crops = CropStore(folder)
        self.shapes = face_shapes(landmarks, self.frames)
        self.points = smooth_runs(landmarks[:, :, :2], self.frames, POINTS_SIGMA)
        self.boxes: list[Box] = mouth_boxes(self.shapes, *size.tolist())[0]
        self.light = self._skin_light()

    def plan(self, bases: np.ndarray, opening: np.ndarray, rounding: np.ndarray) -> list[Preview]:
        """Previews for (T,) stored frame numbers with their ``opening`` and ``rounding`` (T,) in eye distances."""
        planned = []
        for base, opened, rounded in zip(bases.tolist(), opening, rounding, strict=True):
            rest = self.shapes.points[base]
            own = float(np.linalg.norm(rest[at.LIP_INNER_TOP, :2] - rest[at.LIP_INNER_BOTTOM, :2]))
            change = opened if own < CLOSED else float(np.clip(opened, 0, OPEN_GROWTH * own + OPEN_MORE)) - own
            flat = moved_shapes(rest[:, :2], np.array([change]), np.array([rounded]))
            shape = np.concatenate([flat, rest[None, LOWER, 2:]], -1)
            planned.append(Preview(base, self.shapes.motion.to_picture(shape, np.array([base]))[0, :, :2]))
        return planned

    def draw(self, preview: Preview) -> tuple[np.ndarray, np.ndarray, Box]:
        """(h, w, 3) uint8 BGR patch, its (h, w) uint8 mask, and where it lies in the frame."""
        box, points = self.boxes[preview.base], self.points[preview.base]
        eyes = float(eye_distance(points))
        moved = points.copy()
        moved[LOWER] = preview.goal
        rim = border(box)
        (map_x, map_y) = warp_maps(
            np.concatenate([moved[ANCHORS], rim]),
            [np.concatenate([points[ANCHORS], rim])],
            box,
            max(6, round(GRID * eyes)),
        )[0]
        crop = self.crops[preview.base]
        picture = sample(crop, map_x, map_y)
        own = np.linalg.norm(points[at.LIP_INNER_TOP] - points[at.LIP_INNER_BOTTOM]) / eyes
        if own < CLOSED:
            picture = self._with_inside(picture, moved - box.corner, eyes)
        return picture, feather(box, eyes), box

    def _with_inside(self, picture: np.ndarray, points: np.ndarray, eyes: float) -> np.ndarray:
        """The picture with a dark mouth and upper teeth between the inner lips; points in its own pixels."""
        height, width = picture.shape[:2]
        inside = np.zeros((height, width), np.uint8)
        cv2.fillPoly(inside, [np.round(points[INNER] * 16).astype(np.int32)], 255, shift=4, lineType=cv2.LINE_AA)
        share = cv2.GaussianBlur(inside, (0, 0), max(SOFT_EDGE * eyes, 0.5)).astype(np.float32)[..., None] / 255
        corners = points[[at.LIPS_INNER_UPPER[0], at.LIPS_INNER_UPPER[-1]]]
        axis = corners[1] - corners[0]
        half = max(float(np.linalg.norm(axis)) / 2, 1.0)
        axis = axis / (2 * half)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = x - corners.mean(0)[0], y - corners.mean(0)[1]
        across = np.abs(x * axis[0] + y * axis[1]) / half
        down = y * axis[0] - x * axis[1]
        top, bottom = ((points[at.LIP_INNER_TOP] - corners.mean(0)), (points[at.LIP_INNER_BOTTOM] - corners.mean(0)))
        roof, floor = float(top[1] * axis[0] - top[0] * axis[1]), float(bottom[1] * axis[0] - bottom[0] * axis[1])
        depth = np.clip((down - roof) / max(floor - roof, 1.0), 0, 1)
        shadow = (0.6 + 0.6 * depth) * (1 - 0.55 * np.minimum(across, 1) ** 2)
        cavity = np.array(CAVITY_BGR, np.float32) * shadow[..., None]
        edge = roof + min(TEETH_HEIGHT * eyes, 0.6 * (floor - roof)) * (1 - 0.5 * across**2)
        teeth = 1 / (1 + np.exp(np.clip((down - edge) / (TEETH_EDGE * eyes), -30, 30)))
        teeth = (teeth * np.clip(1.1 - across, 0, 1) ** 0.6)[..., None]
        shade = (0.62 + 0.38 * np.clip((down - roof) / (0.4 * TEETH_HEIGHT * eyes), 0, 1))[..., None]
        drawn = (cavity * (1 - teeth) + np.array(TEETH_BGR, np.float32) * shade * teeth) * self.light
        return np.clip(picture * (1 - share) + drawn * share + 0.5, 0, 255).astype(np.uint8)

    def _skin_light(self) -> float:
        """How bright the cheeks are against a usual face: what is drawn gets the same light."""
        crop: Crop = self.crops[0]
        gray = cv2.cvtColor(crop.pixels, cv2.COLOR_BGR2GRAY)
        places = np.round(self.points[0][[205, 425]] - (crop.left, crop.top)).astype(int)
        values = [float(gray[np.clip(y, 0, gray.shape[0] - 1), np.clip(x, 0, gray.shape[1] - 1)]) for x, y in places]
        return float(np.clip(np.mean(values) / 150, 0.35, 1.25))
