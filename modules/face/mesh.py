"""478 face points in a rotated square region, with MediaPipe's attention mesh on ONNX Runtime.

Model: MediaPipe face_landmark_with_attention (arXiv:2006.10962), converted by tools/convert_face_models.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from modules.face import landmarks as at
from modules.face.detect import Detection, open_model

if TYPE_CHECKING:
    import onnxruntime

INPUT_SIDE = 192
# MediaPipe's margin around a face, for detections and for landmarks alike.
REGION_SCALE = 1.5
OUTPUTS = (
    "output_mesh_identity",
    "output_lips",
    "output_left_eye",
    "output_right_eye",
    "output_left_iris",
    "output_right_iris",
    "conv_faceflag",
)


@dataclass(frozen=True)
class Region:
    """A square of the picture, upright with the face: centre and side in pixels, angle in radians (clockwise)."""

    x: float
    y: float
    side: float
    angle: float


def region_of_detection(detection: Detection) -> Region:
    """Where to look for the mesh of a detected face."""
    left_eye, right_eye = detection.keypoints[:2]
    angle = float(np.arctan2(right_eye[1] - left_eye[1], right_eye[0] - left_eye[0]))
    x, y = detection.center
    return Region(float(x), float(y), detection.side * REGION_SCALE, angle)


def region_of_points(points: np.ndarray) -> Region:
    """Where to look in the next frame for a face whose (478, 3) points are known."""
    eyes = points[at.EYE_OUTER_RIGHT, :2] - points[at.EYE_OUTER_LEFT, :2]
    angle = float(np.arctan2(eyes[1], eyes[0]))
    cosine, sine = np.cos(angle), np.sin(angle)
    upright = np.array([[cosine, sine], [-sine, cosine]])
    turned = points[:468, :2] @ upright.T
    low, high = turned.min(0), turned.max(0)
    x, y = upright.T @ ((low + high) / 2)
    return Region(float(x), float(y), float(max(high - low)) * REGION_SCALE, angle)


class FaceMesh:
    """Places the 478 points; loads its model at the first call."""

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_model("face_mesh.onnx")

    def points(self, picture: np.ndarray, region: Region) -> tuple[np.ndarray, float]:
        """(478, 3) float32 points in the pixels of ``picture`` ((H, W, 3) uint8 BGR), and the face score 0 to 1.

        z has the scale of x; smaller is nearer.
        """
        matrix = _to_input(region)
        crop = _crop(picture, region, matrix)
        tensor = np.ascontiguousarray(crop[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None] / 255)
        mesh, lips, left_eye, right_eye, left_iris, right_iris, flag = self._session.run(OUTPUTS, {"input": tensor})
        points = np.zeros((478, 3), np.float32)
        points[:468] = mesh.reshape(468, 3)
        refined = ((at.REFINED_LIPS, lips), (at.REFINED_LEFT_EYE, left_eye), (at.REFINED_RIGHT_EYE, right_eye))
        for indices, values in refined:
            points[list(indices), :2] = values.reshape(-1, 2)
        points[468:473, :2] = left_iris.reshape(5, 2)
        points[473:478, :2] = right_iris.reshape(5, 2)
        back = np.linalg.inv(matrix[:, :2])
        points[:, :2] = (points[:, :2] - matrix[:, 2]) @ back.T
        points[:, 2] *= region.side / INPUT_SIDE
        return points, float(1 / (1 + np.exp(-float(flag.ravel()[0]))))


def _to_input(region: Region) -> np.ndarray:
    """(2, 3) float32 affine map from picture pixels to the mesh model's input pixels."""
    scale = INPUT_SIDE / region.side
    cosine, sine = scale * np.cos(region.angle), scale * np.sin(region.angle)
    matrix = np.array([[cosine, sine, 0], [-sine, cosine, 0]], np.float32)
    matrix[:, 2] = INPUT_SIDE / 2 - matrix[:, :2] @ np.array([region.x, region.y], np.float32)
    return matrix


def _crop(picture: np.ndarray, region: Region, matrix: np.ndarray) -> np.ndarray:
    """The region as the mesh model sees it, (192, 192, 3); large regions are averaged down first."""
    scale = INPUT_SIDE / region.side
    if scale < 0.5:
        reach = region.side / 2 * (abs(np.cos(region.angle)) + abs(np.sin(region.angle))) + 2
        left, top = int(max(region.x - reach, 0)), int(max(region.y - reach, 0))
        right, bottom = int(min(region.x + reach, picture.shape[1])), int(min(region.y + reach, picture.shape[0]))
        part = picture[top:bottom, left:right]
        if part.size:
            picture = cv2.resize(part, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
            zoom_x, zoom_y = picture.shape[1] / part.shape[1], picture.shape[0] / part.shape[0]
            shrink = np.array(
                [[1 / zoom_x, 0, left + 0.5 / zoom_x - 0.5], [0, 1 / zoom_y, top + 0.5 / zoom_y - 0.5], [0, 0, 1]]
            )
            matrix = (matrix @ shrink).astype(np.float32)
    return cv2.warpAffine(picture, matrix, (INPUT_SIDE, INPUT_SIDE), flags=cv2.INTER_LINEAR)
