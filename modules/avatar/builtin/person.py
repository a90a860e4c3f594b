"""A person whose mouth has been learnt, on disk and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.avatar.builtin.footage import mouth_boxes
from modules.avatar.builtin.regress import SpeechToShape
from modules.avatar.builtin.selection import OPENING_WEIGHT, Units
from modules.avatar.builtin.shapes import CLOSED, FaceShapes, ShapeSpace, face_shapes, opening
from modules.avatar.crops import Box, CropStore
from modules.errors import StudioError
from modules.face import landmarks as at

MODEL = "model.npz"
VERSION = 7
# Between closed and just open the eye sees a step: as much as this opening (eye distances) elsewhere.
CLOSURE_STEP = 0.15


@dataclass(frozen=True)
class PersonModel:
    """What was learnt of a person, and the frames to take mouths from.

    frames (N,) rising frame numbers; landmarks (N, 478, 3) float32 at them; reference (478, 3) the mean face;
    size (2,) width and height; lag: seconds by which the footage shows lips later than they should be.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    reference: np.ndarray
    size: np.ndarray
    lag: float
    space: ShapeSpace
    speech: SpeechToShape

    def save(self, folder: Path) -> None:
        """Write MODEL into ``folder``."""
        arrays: dict[str, Any] = {f"shape.{name}": value for name, value in vars(self.space).items()}
        arrays |= {f"speech.{name}": value for name, value in self.speech.to_arrays().items()}
        for name in ("frames", "landmarks", "reference", "size", "lag"):
            arrays[name] = getattr(self, name)
        with open(folder / MODEL, "wb") as file:
            np.savez(file, version=VERSION, **arrays)

    @classmethod
    def load(cls, folder: Path) -> PersonModel:
        """What ``save`` wrote; StudioError('avatar_broken') where it cannot be read."""
        try:
            with np.load(folder / MODEL, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            return cls(
                arrays["frames"],
                arrays["landmarks"],
                arrays["reference"],
                arrays["size"],
                float(arrays["lag"]),
                ShapeSpace(**_group(arrays, "shape.")),
                SpeechToShape.from_arrays(_group(arrays, "speech.")),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudioError("avatar_broken", name=MODEL) from error


def _group(arrays: dict[str, np.ndarray], start: str) -> dict[str, Any]:
    return {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}


class LoadedPerson:
    """A PersonModel with everything that follows from it, ready for drawing."""

    def __init__(self, folder: Path) -> None:
        model = PersonModel.load(folder)
        self.space, self.speech, self.frames, self.lag = model.space, model.speech, model.frames, model.lag
        self.crops = CropStore(folder)
        self.shapes: FaceShapes = face_shapes(model.landmarks, model.frames, model.reference)
        self.points = model.landmarks[:, :, :2].astype(np.float64)
        self.boxes: list[Box] = mouth_boxes(self.shapes, *model.size.tolist())[0]
        self.lower = self.shapes.lower
        self.pose = self.shapes.motion.angles()
        self.speed = _speed(self.shapes, self.frames)
        codes = self.space.encode(self.lower)
        self._code_scale = 1 / self.space.deviation[0]
        self._open_scale = OPENING_WEIGHT / max(float(opening(self.lower).std()), 1e-6)
        self.units = Units(self.vectors(codes, opening(self.lower)), self.pose, self.frames)
        self.transitions = self.units.transition_costs()

    def vectors(self, codes: np.ndarray, openings: np.ndarray) -> np.ndarray:
        """(T, K + 1) what unit selection compares, for (T, K) codes and (T,) openings."""
        felt = openings + CLOSURE_STEP * (1 - np.exp(-openings / CLOSED))
        return np.concatenate([codes * self._code_scale, felt[:, None] * self._open_scale], axis=1)


def _speed(shapes: FaceShapes, frames: np.ndarray) -> np.ndarray:
    """(N, 2) pixels a frame that the mouth moves along x and y because the head does."""
    mouth = shapes.reference[list(at.LIPS)].mean(0)
    place = shapes.motion.to_picture(np.tile(mouth, (len(frames), 1, 1)), np.arange(len(frames)))[:, 0, :2]
    steps = np.abs(np.diff(place, axis=0)) * (np.diff(frames) == 1)[:, None]
    still = np.zeros((1, 2))
    return np.maximum(np.concatenate([still, steps]), np.concatenate([steps, still]))
