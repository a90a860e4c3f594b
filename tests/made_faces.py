"""Footage for trainings in tests: faces whose mouth is a bar, as high as a code says."""

from __future__ import annotations

import numpy as np

from modules.avatar.ultralight import features


def faces(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ``train.train`` takes: (count, 168, 168, 3) uint8 BGR crops, (count, 1) codes of -1 to 1, and heads."""
    codes = np.random.default_rng(0).uniform(-1, 1, (count, 1)).astype(np.float32)
    crops = np.full((count, features.CROP_SIDE, features.CROP_SIDE, 3), (120, 140, 190), np.uint8)
    for crop, code in zip(crops, codes[:, 0], strict=True):
        crop[50 : 58 + round(6 * float(code)), 60:108] = (30, 20, 90)
    heads = np.random.default_rng(1).uniform(0.2, 0.8, (9, 2)) + np.zeros((count, 1, 1))
    return crops, codes, heads.astype(np.float32)
