"""Face detection with BlazeFace (short range) on ONNX Runtime.

Model: MediaPipe face_detection_short_range (arXiv:1907.05047), converted by tools/convert_face_models.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from modules.devices.sessions import session

if TYPE_CHECKING:
    import onnxruntime

DATA = Path(__file__).parent / "data"
INPUT_SIDE = 128
THRESHOLD = 0.5
SAME_FACE_OVERLAP = 0.3
# (cells a side, anchors a cell) of the detector's two output grids.
GRIDS = ((16, 2), (8, 6))


@dataclass(frozen=True)
class Detection:
    """One face in one picture, in the picture's pixels.

    box: left, top, right, bottom (eyebrows to chin).
    keypoints: (6, 2) eye centres left and right in the picture, nose tip, mouth, ears left and right.
    """

    box: tuple[float, float, float, float]
    score: float
    keypoints: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """(2,) middle of the box."""
        left, top, right, bottom = self.box
        return np.array([(left + right) / 2, (top + bottom) / 2])

    @property
    def side(self) -> float:
        """The longer side of the box."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


def open_model(name: str, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session of one of the models in ``data/``."""
    return session(DATA / name, threads)


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of one box (4,) with ``boxes`` (N, 4)."""
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    own = float(np.prod(box[2:] - box[:2]))
    return np.asarray(shared / np.maximum(area + own - shared, 1e-9))


class FaceDetector:
    """Finds faces; loads its model at the first call."""

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_model("face_detector.onnx")

    @cached_property
    def _anchors(self) -> np.ndarray:
        grids = []
        for cells, repeats in GRIDS:
            y, x = np.mgrid[0:cells, 0:cells]
            centers = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
            grids.append(np.repeat(centers, repeats, axis=0))
        return np.concatenate(grids)

    def detect_all(self, picture: np.ndarray) -> list[Detection]:
        """Every face in ``picture`` ((H, W, 3) uint8 BGR), best score first.

        The whole picture is looked at first; when that shows nobody, or the picture is long,
        squares along its long side find the faces that are small in it.
        """
        height, width = picture.shape[:2]
        found = self._detect(picture, 0, 0)
        side = min(height, width)
        if max(height, width) > 1.2 * side:
            count = -(-max(height, width) // side) + 1
            for start in np.linspace(0, max(height, width) - side, count).astype(int):
                left, top = (start, 0) if width > height else (0, start)
                found += self._detect(picture[top : top + side, left : left + side], left, top)
        return _distinct(found)

    def _detect(self, picture: np.ndarray, left: int, top: int) -> list[Detection]:
        tensor, scale, offset = _letterbox(picture)
        regressors, scores = self._session.run(["regressors", "classificators"], {"input": tensor})
        score = 1 / (1 + np.exp(-np.clip(scores[0, :, 0], -80, 80)))
        likely = score >= THRESHOLD
        if not likely.any():
            return []
        raw, score = regressors[0][likely] / INPUT_SIDE, score[likely]
        anchor = self._anchors[likely]
        center, half = raw[:, :2] + anchor, raw[:, 2:4] / 2
        boxes = np.concatenate([center - half, center + half], axis=1)
        points = raw[:, 4:].reshape(-1, 6, 2) + anchor[:, None]
        detections = []
        while len(score):
            same = overlap(boxes[score.argmax()], boxes) > SAME_FACE_OVERLAP
            same[score.argmax()] = True
            # BlazeFace's own way of joining: the mean of overlapping answers, weighted by score, is steadier
            # from frame to frame than the best answer alone.
            weight = score[same] / score[same].sum()
            box = (boxes[same] * weight[:, None]).sum(0).reshape(2, 2)
            keypoints = (points[same] * weight[:, None, None]).sum(0)
            corner = (box * INPUT_SIDE - offset) / scale + (left, top)
            placed = (keypoints * INPUT_SIDE - offset) / scale + (left, top)
            numbers = corner.ravel().tolist()
            detections.append(
                Detection((numbers[0], numbers[1], numbers[2], numbers[3]), float(score[same].max()), placed)
            )
            boxes, points, score = boxes[~same], points[~same], score[~same]
        return detections


def _letterbox(picture: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture as the detector's input, with the scale and offset that lead from picture to input pixels."""
    height, width = picture.shape[:2]
    scale = INPUT_SIDE / max(height, width)
    offset = np.array([(INPUT_SIDE - width * scale) / 2, (INPUT_SIDE - height * scale) / 2])
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)
    small, back = picture, 1.0
    if scale < 0.5:
        # warpAffine does not average; shrinking by area first avoids aliasing.
        small = cv2.resize(picture, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        back = 0.5 / scale
    matrix[:, :2] *= back
    boxed = cv2.warpAffine(small, matrix, (INPUT_SIDE, INPUT_SIDE))
    tensor = boxed[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    return np.ascontiguousarray(tensor), scale, offset


def _distinct(detections: list[Detection]) -> list[Detection]:
    """The detections without those that show the same face again, best score first."""
    kept: list[Detection] = []
    for candidate in sorted(detections, key=lambda d: -d.score):
        boxes = np.array([other.box for other in kept]).reshape(-1, 4)
        if not (overlap(np.array(candidate.box), boxes) > SAME_FACE_OVERLAP).any():
            kept.append(candidate)
    return kept
