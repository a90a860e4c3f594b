"""The space of one person's mouth shapes: lower-face points without head pose, as a few coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.face import landmarks as at
from modules.face.geometry import HeadMotion, canonical_shapes, reference_face

COMPONENTS = 10
LIP_WEIGHT = 2.0
# Only the STABLE points are smoothed, and hardly: a pose that lags behind a quick head makes the mouth tremble on it.
STABLE_SIGMA = 0.4
LOWER = list(at.LOWER)
LIP_COUNT = len(at.LIPS)
TOP, BOTTOM = LOWER.index(at.LIP_INNER_TOP), LOWER.index(at.LIP_INNER_BOTTOM)
# Below this opening (in eye distances) the lips touch.
CLOSED = 0.02
# A pause is short, and the mouth on its way for most of it: closed in two fifths of all silent frames is always.
CLOSING_GAIN = 2.5
QUANTILES = np.linspace(0, 1, 41)


@dataclass(frozen=True)
class FaceShapes:
    """A run of frames as canonical shapes: (N, 478, 3) in eye distances, and the head motion taken out."""

    points: np.ndarray
    motion: HeadMotion
    reference: np.ndarray

    @property
    def lower(self) -> np.ndarray:
        """(N, 116, 3) the points that speech moves."""
        return np.asarray(self.points[:, LOWER])

    def part(self, chosen: np.ndarray) -> FaceShapes:
        """Only the frames ``chosen`` ((M,) places)."""
        motion = HeadMotion(self.motion.scale[chosen], self.motion.rotation[chosen], self.motion.shift[chosen])
        return FaceShapes(self.points[chosen], motion, self.reference)


def smooth_runs(values: np.ndarray, frames: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing along time, never across a gap in ``frames`` ((N,) rising frame numbers)."""
    smoothed = np.empty(values.shape, np.float64)
    starts = np.flatnonzero(np.diff(frames, prepend=frames[0] - 2) != 1)
    for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True):
        smoothed[start:stop] = gaussian_filter1d(values[start:stop].astype(np.float64), sigma, axis=0, mode="nearest")
    return smoothed


def face_shapes(landmarks: np.ndarray, frames: np.ndarray, reference: np.ndarray | None = None) -> FaceShapes:
    """Shapes of (N, 478, 3) tracked ``landmarks`` at ``frames`` ((N,) rising frame numbers).

    reference: (478, 3) the person's mean face; None: that of these frames.
    """
    raw = landmarks.astype(np.float64)
    stable = smooth_runs(raw[:, list(at.STABLE)], frames, STABLE_SIGMA)
    reference = reference_face(raw, stable) if reference is None else reference
    points, motion = canonical_shapes(raw, stable, reference)
    return FaceShapes(points, motion, reference)


def opening(lower: np.ndarray) -> np.ndarray:
    """Inner-lip distance of (..., 116, 2 or 3) lower-face points, in eye distances."""
    return np.asarray(np.linalg.norm(lower[..., TOP, :2] - lower[..., BOTTOM, :2], axis=-1))


@dataclass(frozen=True)
class ShapeSpace:
    """Principal components of a person's lower face, lips counting double.

    mean (232,), basis (K, 232), deviation (K,) of the coefficients; rest (K,) the mouth at rest;
    closing: how far the mouth goes to rest in short pauses, 0 to 1;
    open_direction (K,) change of coefficients for one unit of opening; open_quantiles (41,) of the openings seen.
    """

    mean: np.ndarray
    basis: np.ndarray
    deviation: np.ndarray
    rest: np.ndarray
    closing: float
    open_direction: np.ndarray
    open_quantiles: np.ndarray

    @classmethod
    def fit(cls, lower: np.ndarray, silent: np.ndarray) -> ShapeSpace:
        """From (N, 116, 3) shapes; ``silent`` (N,) bool marks frames without sound, where a mouth may rest."""
        flat = _flatten(lower)
        mean = flat.mean(0)
        basis = np.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS]
        codes = (flat - mean) @ basis.T
        opened = opening(lower)
        spread = opened - opened.mean()
        direction = ((codes - codes.mean(0)) * spread[:, None]).sum(0) / max(float((spread**2).sum()), 1e-9)
        return cls(
            mean,
            basis,
            codes.std(0) + 1e-9,
            codes[_resting(opened, silent)].mean(0),
            _closing(opened, silent),
            direction,
            np.quantile(opened, QUANTILES),
        )

    def encode(self, lower: np.ndarray) -> np.ndarray:
        """(N, K) coefficients of (N, 116, 3) shapes."""
        return np.asarray((_flatten(lower) - self.mean) @ self.basis.T)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(N, 116, 2) points of (N, K) coefficients."""
        return np.asarray((codes @ self.basis + self.mean).reshape(len(codes), -1, 2) / _weights())

    @property
    def open_motion(self) -> np.ndarray:
        """(116, 2) movement of the points that opens the lips by one eye distance."""
        motion = (self.open_direction @ self.basis).reshape(-1, 2) / _weights()
        return np.asarray(motion / (np.linalg.norm(motion[TOP] - motion[BOTTOM]) + 1e-6))


def _weights() -> np.ndarray:
    weights = np.ones((len(LOWER), 1))
    weights[:LIP_COUNT] = LIP_WEIGHT
    return weights


def _flatten(lower: np.ndarray) -> np.ndarray:
    return np.asarray((lower[:, :, :2] * _weights()).reshape(len(lower), -1))


def _resting(opened: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """(N,) bool: the frames that show the mouth at rest: closed, in silence where there is any."""
    resting = silent & (opened < max(CLOSED, float(np.quantile(opened, 0.2))))
    return resting if resting.sum() >= 5 else opened <= np.quantile(opened, 0.1)


def _closing(opened: np.ndarray, silent: np.ndarray) -> float:
    """How often the mouth is closed in silence; people differ: many keep it open for the next word."""
    share = float((opened[silent] < CLOSED).mean()) if silent.any() else 0.0
    return min(1.0, CLOSING_GAIN * share)
