"""Rigid geometry of face points: head pose, and shapes with the pose taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.face import landmarks as at

STABLE = list(at.STABLE)


@dataclass(frozen=True)
class HeadMotion:
    """Similarity from a person's canonical frame to each picture: p = scale * c @ rotation + shift.

    scale (N,), rotation (N, 3, 3), shift (N, 3); row vectors, float64.
    """

    scale: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray

    def to_picture(self, shapes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(M, P, 3) canonical ``shapes`` as seen in ``frames`` ((M,) indices), in pixels."""
        turned = shapes @ self.rotation[frames]
        return np.asarray(self.scale[frames][:, None, None] * turned + self.shift[frames][:, None])

    def angles(self) -> np.ndarray:
        """(N, 3) yaw, pitch, roll in radians, against the canonical frame."""
        r = self.rotation
        yaw = np.arctan2(r[:, 0, 2], r[:, 2, 2])
        pitch = np.arctan2(r[:, 1, 2], r[:, 2, 2])
        roll = np.arctan2(r[:, 0, 1], r[:, 0, 0])
        return np.stack([yaw, pitch, roll], 1)


def align(points: np.ndarray, target: np.ndarray) -> HeadMotion:
    """Least-squares similarity that carries each of ``points`` (N, P, 3) to ``target`` ((P, 3) or (N, P, 3)).

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
    """
    target = np.broadcast_to(target, points.shape)
    center, goal = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    a, b = points - center, target - goal
    u, s, vt = np.linalg.svd(a.transpose(0, 2, 1) @ b)
    mirror = np.ones_like(s)
    mirror[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * mirror[:, None]) @ vt
    scale = (s * mirror).sum(1) / np.maximum((a**2).sum((1, 2)), 1e-12)
    shift = goal[:, 0] - scale[:, None] * (center @ rotation)[:, 0]
    return HeadMotion(scale, rotation, shift)


def reference_face(landmarks: np.ndarray, stable: np.ndarray) -> np.ndarray:
    """(478, 3) mean face of one person: level, centred between the eyes, unit = outer-eye distance.

    landmarks (N, 478, 3) raw; stable (N, 36, 3) the same frames' STABLE points, which may be smoothed.
    """
    rigid = stable[len(stable) // 3]
    mean = landmarks[0]
    for _ in range(3):
        motion = align(stable, rigid)
        moved = motion.scale[:, None, None] * (landmarks @ motion.rotation) + motion.shift[:, None]
        mean = moved.mean(0)
        rigid = (motion.scale[:, None, None] * (stable @ motion.rotation) + motion.shift[:, None]).mean(0)
    left, right = mean[at.EYE_OUTER_LEFT], mean[at.EYE_OUTER_RIGHT]
    angle = np.arctan2(right[1] - left[1], right[0] - left[0])
    cosine, sine = np.cos(angle), np.sin(angle)
    level = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return np.asarray((mean - (left + right) / 2) @ level / np.linalg.norm((right - left)[:2]))


def canonical_shapes(landmarks: np.ndarray, stable: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, HeadMotion]:
    """(N, 478, 3) shapes with head pose removed, and the motion that puts it back."""
    motion = align(np.broadcast_to(reference[STABLE], stable.shape), stable)
    centred = landmarks - motion.shift[:, None]
    return (centred @ motion.rotation.transpose(0, 2, 1)) / motion.scale[:, None, None], motion


def head_pose(points: np.ndarray) -> np.ndarray:
    """(3,) yaw, pitch, roll in degrees of one (478, 3) face, from the mesh's own depth.

    Yaw is positive when the face turns to the picture's right, pitch when it looks down,
    roll when it leans clockwise.
    """
    pairs = np.array(at.MIRRORED_PAIRS)
    across = (points[pairs[:, 1]] - points[pairs[:, 0]]).mean(0)
    down = points[at.CHIN] - points[at.FOREHEAD]
    yaw = np.arctan2(across[2], np.hypot(across[0], across[1]))
    roll = np.arctan2(across[1], across[0])
    pitch = np.arctan2(-down[2], np.hypot(down[0], down[1]))
    return np.asarray(np.degrees([yaw, pitch, roll]), np.float32)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance between the outer eye corners in pixels, for (..., 478, 2 or 3) points."""
    difference = landmarks[..., at.EYE_OUTER_RIGHT, :2] - landmarks[..., at.EYE_OUTER_LEFT, :2]
    return np.asarray(np.linalg.norm(difference, axis=-1))
