"""Following one face through a footage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from modules import media
from modules.face.detect import Detection, FaceDetector
from modules.face.geometry import eye_distance, head_pose
from modules.face.landmarks import LOWER
from modules.face.mesh import FaceMesh, Region, region_of_detection, region_of_points
from modules.progress import Progress

MIN_SCORE = 0.5
MAX_YAW = 30.0
MIN_EYE_DISTANCE = 36.0
# How far a face may be from where it was last seen, in sides of its box, to count as the same person.
SAME_PERSON_REACH = 1.2
REPORT_SECONDS = 0.3


class FrameState(IntEnum):
    """What a frame shows of the person."""

    GOOD = 0
    NO_FACE = 1
    TURNED = 2
    SMALL = 3
    CUT_OFF = 4


@dataclass(frozen=True)
class Person:
    """One of the people in a footage.

    box: left, top, right, bottom in pixels, where the face is first seen; share: 0 to 1 of the time;
    picture: (h, w, 3) uint8 BGR.
    """

    id: int
    box: tuple[float, float, float, float]
    share: float
    picture: np.ndarray


@dataclass(frozen=True)
class Track:
    """Face geometry of every frame of a footage; the points are never smoothed.

    landmarks: (N, 478, 3) float32 pixels of the displayed frame (zeros where there is no face).
    usable: (N,) bool. pose: (N, 3) float32 degrees of yaw, pitch, roll. score: (N,) float32, 0 to 1.
    """

    landmarks: np.ndarray
    usable: np.ndarray
    pose: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.usable)

    def part(self, start: int, stop: int) -> Track:
        """The track of frames ``start`` to ``stop``."""
        cut = slice(start, stop)
        return Track(self.landmarks[cut], self.usable[cut], self.pose[cut], self.score[cut])

    def save(self, path: Path) -> None:
        """Write an npz; the caller sees to atomicity."""
        with open(path, "wb") as file:
            np.savez(file, landmarks=self.landmarks, usable=self.usable, pose=self.pose, score=self.score)

    @classmethod
    def load(cls, path: Path) -> Track:
        """The track that ``save`` wrote."""
        with np.load(path, allow_pickle=False) as data:
            return cls(data["landmarks"], data["usable"], data["pose"], data["score"])


class FaceTracker:
    """Follows one face from frame to frame; detects anew only when it is lost."""

    def __init__(self, person: Person | None = None) -> None:
        self._detector = FaceDetector()
        self._mesh = FaceMesh()
        self._region: Region | None = None
        self._last_box = np.array(person.box) if person is not None else None

    def follow(self, picture: np.ndarray) -> tuple[np.ndarray | None, float]:
        """(478, 3) points of the face in the next picture ((H, W, 3) BGR), or None, and the score."""
        if self._region is not None:
            points, score = self._mesh.points(picture, self._region)
            if score >= MIN_SCORE:
                return self._keep(points), score
            self._region = None
        score = 0.0
        for detection in self._by_preference(self._detector.detect_all(picture)):
            points, score = self._mesh.points(picture, region_of_detection(detection))
            if score >= MIN_SCORE:
                # The detection's region is rough; a second look through the points' own one is as good as tracking.
                points, score = self._mesh.points(picture, region_of_points(points))
            if score >= MIN_SCORE:
                return self._keep(points), score
        return None, score

    def _keep(self, points: np.ndarray) -> np.ndarray:
        self._region = region_of_points(points)
        self._last_box = np.concatenate([points[:468, :2].min(0), points[:468, :2].max(0)])
        return points

    def _by_preference(self, detections: list[Detection]) -> list[Detection]:
        """Faces that may be the person: nearest to where it was, or largest first when nobody was followed yet.

        The mesh has the last word on each: a detector takes hands and patterns for faces now and then.
        """
        if self._last_box is None:
            return sorted(detections, key=lambda d: -d.side)
        center = (self._last_box[:2] + self._last_box[2:]) / 2
        reach = SAME_PERSON_REACH * max(self._last_box[2:] - self._last_box[:2])

        def distance(detection: Detection) -> float:
            return float(np.linalg.norm(detection.center - center))

        near = [d for d in detections if distance(d) <= reach] if len(detections) > 1 else detections
        return sorted(near, key=distance)


def frame_state(points: np.ndarray | None, pose: np.ndarray, width: int, height: int) -> FrameState:
    """Whether a frame of ``width`` x ``height`` with these (478, 3) points can be used, and why not."""
    if points is None or not points.any():
        return FrameState.NO_FACE
    lower = points[list(LOWER), :2]
    if (lower < 0).any() or (lower > (width - 1, height - 1)).any():
        return FrameState.CUT_OFF
    if abs(float(pose[0])) > MAX_YAW:
        return FrameState.TURNED
    if float(eye_distance(points)) < MIN_EYE_DISTANCE:
        return FrameState.SMALL
    return FrameState.GOOD


def track_footage(footage: media.Footage, person: Person | None, progress: Progress) -> Track:
    """Track ``person`` (None: the largest face) through all of ``footage``; streaming, one pass."""
    count = max(footage.frame_count, 1)
    tracker = FaceTracker(person)
    landmarks: list[np.ndarray] = []
    usable: list[bool] = []
    poses: list[np.ndarray] = []
    scores: list[float] = []
    nothing, level = np.zeros((478, 3), np.float32), np.zeros(3, np.float32)
    reported = 0.0
    for number, frame in enumerate(media.prefetch(media.read_frames(footage), 4)):
        if time.monotonic() - reported > REPORT_SECONDS:
            progress.at(number / count)
            reported = time.monotonic()
        points, score = tracker.follow(media.to_bgr(frame))
        pose = level if points is None else head_pose(points)
        landmarks.append(nothing if points is None else points)
        usable.append(frame_state(points, pose, footage.width, footage.height) == FrameState.GOOD)
        poses.append(pose)
        scores.append(score)
    progress.at(1.0)
    return Track(
        np.array(landmarks, np.float32).reshape(-1, 478, 3),
        np.array(usable, bool),
        np.array(poses, np.float32).reshape(-1, 3),
        np.array(scores, np.float32),
    )
