"""Which passage of a footage carries the output."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.base import BaseLoop
from modules.errors import StudioError
from modules.face import landmarks as at
from modules.face.geometry import eye_distance
from modules.face.track import Track

# Frames of the longest loop.
MAX_LOOP = 1000
# At an end of the loop the head's motion turns back: within so many frames of it, at the stillest moment.
MAX_TRIM, TRIM_SHARE = 50, 0.15
STILL_SIGMA = 2.0
# A loop shorter than this is worth lengthening over short gaps in the track.
SHORT_LOOP = 250
MAX_GAP = 10


def choose_loop(track: Track) -> BaseLoop:
    """The passage that carries the output: the longest usable one, at most MAX_LOOP of it, the most frontal part.

    It begins and ends where the head is stillest, for there its motion turns back.
    """
    usable = track.usable
    if not usable.any():
        raise StudioError("face_unusable")
    passages = runs(usable)
    if max(stop - start for start, stop in passages) < SHORT_LOOP:
        bridged = usable.copy()
        for (_, before), (after, _) in pairwise(passages):
            if after - before <= MAX_GAP:
                bridged[before:after] = True
        passages = runs(bridged)
    start, stop = max(passages, key=lambda run: run[1] - run[0])
    if stop - start > MAX_LOOP:
        turn = np.concatenate([[0.0], np.cumsum(np.abs(track.pose[start:stop, 0]))])
        start += int((turn[MAX_LOOP:] - turn[:-MAX_LOOP]).argmin())
        stop = start + MAX_LOOP
    trim = min(MAX_TRIM, int(TRIM_SHARE * (stop - start)))
    if not trim:  # a photo, or next to nothing
        return BaseLoop(start, stop)
    motion = _motion(track.landmarks[start:stop])
    # Of equally still moments the outermost is taken.
    first = int(motion[: trim + 1].argmin())
    last = len(motion) - 1 - int(motion[::-1][: trim + 1].argmin())
    return BaseLoop(start + first, start + last + 1)


def runs(usable: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of true values."""
    edges = np.diff(np.concatenate([[0], usable.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _motion(landmarks: np.ndarray) -> np.ndarray:
    """(N,) how fast the head moves, in eye distances a frame, from (N, 478, 3) landmarks."""
    stable = landmarks[:, list(at.STABLE), :2].astype(np.float64)
    eyes = np.maximum(eye_distance(landmarks).astype(np.float64), 1.0)
    speed = np.gradient(gaussian_filter1d(stable, STILL_SIGMA, axis=0, mode="nearest"), axis=0)
    return np.asarray(np.linalg.norm(speed, axis=-1).mean(1) / eyes)
