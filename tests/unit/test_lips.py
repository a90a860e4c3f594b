"""The footage-driven lips: which frames are used, what is heard in a sound, how a mouth is made to fit its frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from modules.avatar.base import BaseLoop
from modules.avatar.builtin.footage import MAX_FRAMES, MAX_TAUGHT, choose_kept, choose_taught
from modules.avatar.builtin.plan import SHRINK, _allowed
from modules.avatar.builtin.selection import Units
from modules.avatar.builtin.shapes import BOTTOM, CLOSED, LOWER, TOP, ShapeSpace, face_shapes, opening
from modules.avatar.builtin.sharpness import softened
from modules.avatar.builtin.sounds import GROUPS, OPENNESS, heard_phones, sound_groups
from modules.avatar.builtin.sync import USUAL_LAG, footage_lag
from modules.avatar.builtin.visemes import Mouth
from modules.avatar.loop import MAX_LOOP, choose_loop
from modules.avatar.silence import gate
from modules.face import landmarks as at
from modules.face.track import Track
from modules.media import Phone


def track_of(usable: np.ndarray, yaw: np.ndarray | None = None, landmarks: np.ndarray | None = None) -> Track:
    count = len(usable)
    pose = np.zeros((count, 3), np.float32)
    if yaw is not None:
        pose[:, 0] = yaw
    if landmarks is None:
        landmarks = np.ones((count, 478, 3), np.float32)
    return Track(landmarks, usable, pose, np.ones(count, np.float32))


def faces(openings: np.ndarray) -> np.ndarray:
    """(N, 478, 3) landmarks of one random head whose lower lip hangs ``openings`` (N,) pixels lower."""
    random = np.random.default_rng(3)
    head = random.uniform(100, 300, (478, 3)).astype(np.float32)
    head[at.EYE_OUTER_LEFT], head[at.EYE_OUTER_RIGHT] = (150, 150, 0), (250, 150, 0)
    head[at.LIP_INNER_TOP], head[at.LIP_INNER_BOTTOM] = (200, 250, 0), (200, 250, 0)
    landmarks = np.repeat(head[None], len(openings), 0)
    landmarks[:, at.LIP_INNER_BOTTOM, 1] += openings
    return landmarks


def test_of_a_very_long_passage_the_most_frontal_part_carries_the_output() -> None:
    yaw = np.array([25.0] * 1000 + [2.0] * MAX_LOOP + [25.0] * 500)
    assert choose_loop(track_of(np.ones(len(yaw), bool), yaw)) == BaseLoop(1000, 1000 + MAX_LOOP)


def test_the_loop_turns_back_where_the_head_is_still() -> None:
    # The head moves all the time but for a moment 12 frames after the beginning and one 9 before the end.
    speed = np.ones(300)
    speed[8:17] = speed[-14:-5] = 0
    landmarks = faces(np.zeros(300))
    landmarks[:, :, 0] += np.cumsum(speed)[:, None]
    loop = choose_loop(track_of(np.ones(300, bool), landmarks=landmarks))
    assert 9 <= loop.start <= 15
    assert 300 - 13 <= loop.stop - 1 <= 300 - 7


def test_unusable_frames_are_never_learnt_from() -> None:
    usable = np.array([True] * 100 + [False] * 5 + [True] * 100 + [False] * 30 + [True] * 50)
    taught = choose_taught(track_of(usable))
    np.testing.assert_array_equal(taught, np.flatnonzero(usable))


def test_long_footage_is_learnt_from_all_over() -> None:
    taught = choose_taught(track_of(np.ones(4 * MAX_TAUGHT, bool)))
    assert len(taught) <= MAX_TAUGHT
    assert (np.diff(taught) > 0).all()
    assert np.histogram(taught, 10, (0, 4 * MAX_TAUGHT))[0].min() > MAX_TAUGHT / 12


def test_pictures_are_kept_of_mouths_that_the_loop_does_not_show() -> None:
    count = MAX_FRAMES + 1000
    openings = np.zeros(count, np.float32)
    # Only here, outside the loop, is the mouth open.
    openings[MAX_FRAMES + 500 : MAX_FRAMES + 600] = 30
    landmarks = faces(openings) + np.random.default_rng(0).normal(0, 0.2, (count, 1, 3)).astype(np.float32)
    frames = np.arange(count)
    kept = choose_kept(frames, face_shapes(landmarks, frames), BaseLoop(0, MAX_LOOP))
    assert len(kept) == MAX_FRAMES
    assert (np.diff(kept) > 0).all()
    assert np.isin(frames[:MAX_LOOP], kept).all()
    assert np.isin(np.flatnonzero(openings), kept).all()


def test_shares_of_sounds_are_shares() -> None:
    states = np.random.default_rng(0).normal(0, 1, (20, 512)).astype(np.float32)
    shares = sound_groups(states)
    assert shares.shape == (20, len(GROUPS))
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_sounds_that_are_heard_become_phones() -> None:
    shares = np.full((40, len(GROUPS)), 0.01, np.float32)
    shares[:10, 0] = shares[10:15, 1] = shares[15:25, 5] = 0.87
    shares[25:, 2] = 0.2  # heard too faintly to be followed
    assert heard_phones(shares) == (Phone("p", 0.19, 0.29), Phone(GROUPS[5][0], 0.29, 0.49))


def test_no_letter_is_in_two_groups_of_sounds() -> None:
    letters = "".join(GROUPS)
    assert len(set(letters)) == len(letters)


def heard_and_seen(lag: float, seconds: float = 12.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T50, 14) shares of sounds that change every 0.1 to 0.3 s, frame times (N,), and lips (N,) late by ``lag``."""
    random = np.random.default_rng(1)
    edges = np.cumsum(random.uniform(0.1, 0.3, 200))
    kinds = random.integers(0, len(GROUPS), 201)
    times50, times = np.arange(int(seconds * 50)) / 50, (np.arange(int(seconds * 25)) + 0.5) / 25
    shares = np.eye(len(GROUPS), dtype=np.float32)[kinds[np.searchsorted(edges, times50)]]
    fine = np.arange(-0.03, 0.031, 0.01)
    moments = (times - lag)[:, None] + fine
    openings = OPENNESS[kinds[np.searchsorted(edges, moments)]].mean(1)
    return shares, times, openings + random.normal(0, 0.5, len(times))


@pytest.mark.parametrize("lag", [-0.2, -0.1, 0.1, 0.24])
def test_the_lag_of_a_footage_is_found(lag: float) -> None:
    assert footage_lag(*heard_and_seen(lag + USUAL_LAG)) == pytest.approx(lag, abs=0.03)


def test_footage_in_sync_and_footage_that_does_not_speak_have_no_lag() -> None:
    assert footage_lag(*heard_and_seen(USUAL_LAG)) == 0
    shares, times, openings = heard_and_seen(0.2)
    assert footage_lag(shares, times, np.random.default_rng(5).permutation(openings)) == 0


def test_phones_that_are_heard_close_and_hold_back_lips_but_never_open_them() -> None:
    random = np.random.default_rng(4)
    rest = random.normal(0, 0.3, (len(LOWER), 3))
    rest[TOP, :2] = rest[BOTTOM, :2] = 0
    lower = np.repeat(rest[None], 400, 0)
    gaps = 0.1 + 0.1 * np.sin(np.arange(400) / 3)
    lower[:, BOTTOM, 1] += gaps
    space = ShapeSpace.fit(lower, np.zeros(400, bool))
    mouth = Mouth(space, lower, np.arange(400))
    times = (np.arange(50) + 0.5) / 25
    phones = [Phone("ɑ", 0.0, 0.4), Phone("p", 0.8, 0.92), Phone("f", 1.4, 1.6)]
    for wanted in (0.01, 0.15):
        codes = space.encode(np.repeat(rest[None] + wanted * np.eye(len(LOWER))[BOTTOM][:, None] * [0, 1, 0], 50, 0))
        wish = mouth.heed(codes, times, phones)
        before, after = opening(space.decode(codes)), opening(space.decode(wish.codes))
        assert (after <= before + 0.005).all()
        assert wish.closed[20:23].all()
        assert not wish.closed[:19].any()
        assert (after[20:23] < CLOSED).all()
    assert after[35:39].max() < 0.6 * 0.15
    assert after[3] == pytest.approx(0.15, abs=0.01)


def test_a_mouth_that_stays_open_in_pauses_is_closed_in_long_silence_only() -> None:
    spoken = np.ones(200, bool)
    spoken[50:60] = spoken[100:150] = False
    assert gate(spoken)[55] < 0.1
    assert gate(spoken, 0.0)[55] > 0.9
    assert gate(spoken, 0.5)[55] == pytest.approx(0.5, abs=0.1)
    for closing in (0.0, 0.5, 1.0):
        assert gate(spoken, closing)[125] < 0.1


@pytest.mark.parametrize(("opened", "closing"), [(0.0, 1.0), (0.2, 0.0)])
def test_how_a_person_pauses_is_learnt(opened: float, closing: float) -> None:
    silent = np.arange(200) % 20 < 5
    lower = np.zeros((200, len(LOWER), 3)) + np.random.default_rng(0).normal(0, 0.01, (200, len(LOWER), 3))
    lower[:, TOP, :2] = lower[:, BOTTOM, :2] = 0
    lower[:, BOTTOM, 1] += np.where(silent, opened, 0.1)
    assert ShapeSpace.fit(lower, silent).closing == closing


def test_lips_that_touch_keep_their_own_line() -> None:
    source = np.array([0.005, 0.03, 0.2])
    np.testing.assert_allclose(_allowed(np.zeros(3), source), [0.005, 0.0, SHRINK * 0.2])


@pytest.mark.parametrize(("axis", "degrees"), [(0, 12), (1, 14)])
def test_a_unit_turned_far_away_is_not_taken(axis: int, degrees: float) -> None:
    pose = np.zeros((2, 3))
    pose[0, axis] = np.radians(degrees)
    # The turned one has just the right shape, the other one is a deviation off.
    units = Units(np.array([[0.0], [1.0]]), pose, np.array([0, 50]))
    assert units.target_costs(np.zeros((1, 1)), np.zeros((1, 3))).argmin() == 1


def blurred_along(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigmaX=sigma, sigmaY=1e-3)


def test_a_mouth_takes_on_the_motion_blur_of_its_frame() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    mouth = cv2.GaussianBlur(noise, (0, 0), 1.0)
    base = blurred_along(mouth, 2.5)
    made = softened(mouth, base, np.ones((30, 40), np.float32), 165.0, np.array([12.0, 12.0]))

    def detail(picture: np.ndarray, axis: int) -> float:
        return float((np.diff(picture.astype(np.float64), axis=axis) ** 2).mean())

    assert detail(made, 1) / detail(base, 1) < 1.3
    assert detail(mouth, 1) / detail(base, 1) > 3
    # Across the motion nothing is lost beyond what the base has lost.
    assert detail(made, 0) > 0.8 * detail(base, 0)


def test_a_mouth_in_a_sharp_frame_stays_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    mouth = cv2.GaussianBlur(noise, (0, 0), 1.0)
    skin, fast = np.ones((30, 40), np.float32), np.array([20.0, 20.0])
    np.testing.assert_array_equal(softened(mouth, noise, skin, 165.0, fast), mouth)


def test_smooth_skin_on_a_still_head_is_not_taken_for_blur() -> None:
    mouth = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    base, skin = np.full_like(mouth, 128), np.ones((30, 40), np.float32)
    np.testing.assert_array_equal(softened(mouth, base, skin, 165.0, np.array([1.0, 0.5])), mouth)
    # It moves along x only, so it is blurred along x only, and not without end.
    along = blurred_along(mouth, 10 / np.sqrt(12)).astype(int)
    made = softened(mouth, base, skin, 165.0, np.array([10.0, 0.0]))
    assert np.abs(made.astype(int) - along)[:, 20:-20].mean() < 3
