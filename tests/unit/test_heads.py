"""How the head is held, without speech, and pictures turned to be held as in another frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modules.avatar.ultralight import features, heads
from modules.face.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, JAW, LIPS, LOWER, STABLE

COUNT, BOX = 20, (100, 200, 436, 536)


def face() -> np.ndarray:
    """(478, 3) pixels: points spread over the front of a ball, eyes level, as large as the box."""
    random = np.random.default_rng(0)
    points = np.c_[random.uniform(-0.6, 0.6, (478, 2)), np.zeros(478)]
    points[EYE_OUTER_LEFT, :2], points[EYE_OUTER_RIGHT, :2] = (-0.3, -0.2), (0.3, -0.2)
    points[:, 2] = -np.sqrt(1 - (points**2).sum(1))
    return points * 150


def turned(points: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(N, 478, 3) ``points`` after (N,) turns to the side, moved into the box."""
    angle = np.radians(degrees)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    rows = [np.cos(angle), zero, -np.sin(angle), zero, one, zero, np.sin(angle), zero, np.cos(angle)]
    rotation = np.stack(rows, 1).reshape(-1, 3, 3)
    return points @ rotation + np.array([268.0, 368.0, 0.0])


def test_a_head_is_held_as_what_does_not_speak() -> None:
    landmarks = turned(face(), np.linspace(-12, 12, COUNT))
    boxes = np.tile(BOX, (COUNT, 1))
    still = heads.resting_heads(landmarks, boxes)
    wanted = (landmarks[:, [*STABLE, *JAW], :2] - BOX[:2]) / (BOX[2] - BOX[0])
    assert still.dtype == np.float32
    assert np.abs(still - wanted).max() < 1e-4
    # Mouth and chin that move alike on both sides of their place leave every head where it is.
    speaking = landmarks.copy()
    swing = np.sin(np.arange(COUNT) * np.pi / 2)
    speaking[:, list(LOWER), 1] += 15 * swing[:, None]
    assert np.abs(heads.resting_heads(speaking, boxes) - still).max() < 1e-4
    assert np.abs(speaking[:, list(LIPS)] - landmarks[:, list(LIPS)]).max() == pytest.approx(15)


def test_references_are_held_alike_and_apart() -> None:
    turns = np.sin(np.arange(200) / 10)[:, None, None] * np.ones((1, 4, 2))
    chosen = heads.reference_frames(turns, count=6, apart=5)
    assert (np.abs(chosen - np.arange(200)[:, None]) >= 5).all()
    assert np.abs(turns[chosen] - turns[:, None]).max() < 0.3


def pattern(places: np.ndarray) -> np.ndarray:
    """(..., 3) 0..1: soft waves at (..., 2) ``places`` in crop sides."""
    across, down = places[..., 0], places[..., 1]
    waves = [np.sin(25 * across + 9 * down), np.cos(21 * down), np.sin(17 * (across + down))]
    return 0.5 + 0.4 * np.stack(waves, -1)


def grid(side: int) -> np.ndarray:
    """(side, side, 2) across and down, the middles of a crop's pixels, in crop sides."""
    steps = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(steps, steps), -1)


def test_a_picture_is_turned_to_where_another_head_is() -> None:
    def moved(places: np.ndarray) -> np.ndarray:
        """Where what is at ``places`` of frame 1 is in frame 0."""
        away = places - 0.5
        bent = 0.05 * away[..., ::-1] ** 2 - 0.04 * away[..., :1] * away[..., 1:]
        return places @ np.array([[0.97, 0.05], [-0.06, 1.02]]) + bent + 0.01

    points = np.random.default_rng(1).uniform(0.05, 0.95, (40, 2))
    turner = heads.Turner(np.stack([moved(points), points]).astype(np.float32), torch.device("cpu"))
    places = grid(features.CROP_SIDE)
    shown = torch.from_numpy(pattern(places)).float().permute(2, 0, 1)[None]
    corner = torch.tensor([[3, 6]])
    found = turner.turned(shown, torch.tensor([0]), torch.tensor([1]), corner)
    wanted = torch.from_numpy(pattern(moved(places))).float().permute(2, 0, 1)[:, 3:163, 6:166]
    assert found.shape == (1, 3, 160, 160)
    inside = np.s_[..., 12:-12, 12:-12]  # what came from outside the crop is not known
    assert (found[0] - wanted)[inside].abs().max() < 0.02
    assert (shown[0, :, 3:163, 6:166] - wanted)[inside].abs().max() > 0.2


def test_the_same_frame_is_left_as_it_is_and_so_is_one_whose_points_tell_nothing() -> None:
    crops = torch.rand(2, 3, 168, 168)
    corner = torch.tensor([[0, 8], [4, 4]])
    wanted = torch.stack([crops[0, :, :160, 8:], crops[1, :, 4:164, 4:164]])
    held = np.random.default_rng(2).uniform(0, 1, (2, 30, 2)).astype(np.float32)
    for points in (held, np.repeat(held[:1, :1], 2, 0).repeat(30, 1)):
        turner = heads.Turner(points, torch.device("cpu"))
        found = turner.turned(crops, torch.tensor([0, 1]), torch.tensor([0, 1]), corner)
        assert (found - wanted).abs().max() < 1e-3
