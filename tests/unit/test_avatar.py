"""The parts of the built-in lip-sync engine, and the compositor."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from modules import media
from modules.avatar import compositor
from modules.avatar.base import BaseLoop, FaceFrame
from modules.avatar.builtin.ears import hear
from modules.avatar.builtin.features import (
    SAMPLE_RATE,
    at_times,
    log_mel,
    mel_filters,
    power_spectrum,
    whisper_mel,
)
from modules.avatar.builtin.plan import GROW, GROW_MORE, LOWER_LIP, UPPER_LIP, _lips_apart
from modules.avatar.builtin.regress import KernelRegression, Statistics, adapt
from modules.avatar.builtin.selection import JUMP_COST, STAY_COST, Units, cheapest_path, cross_fades
from modules.avatar.builtin.shapes import ShapeSpace, opening, smooth_runs
from modules.avatar.builtin.warp import border, feather, similarity, warp_maps
from modules.avatar.crops import Box, CropStore, CropWriter
from modules.avatar.listen import LIVE, STEADY, Pace, windows
from modules.avatar.loop import choose_loop
from modules.avatar.silence import gate, speaking
from modules.errors import StudioError
from modules.face.landmarks import LOWER
from modules.face.track import FaceTracker, Track
from tests.clips import SOUND_RATE, Pose, draw_face, speech


def track_of(usable: list[bool], yaw: list[float] | None = None) -> Track:
    count = len(usable)
    pose = np.zeros((count, 3), np.float32)
    if yaw is not None:
        pose[:, 0] = yaw
    return Track(np.ones((count, 478, 3), np.float32), np.array(usable), pose, np.ones(count, np.float32))


def test_the_loop_goes_forth_and_back_without_a_cut() -> None:
    loop = BaseLoop(10, 14)
    frames = [loop.frame(number) for number in range(14)]
    assert frames == [10, 11, 12, 13, 12, 11, 10, 11, 12, 13, 12, 11, 10, 11]
    assert {BaseLoop(3, 4).frame(number) for number in range(5)} == {3}


def test_the_longest_usable_passage_carries_the_output() -> None:
    assert choose_loop(track_of([True] * 300 + [False] * 20 + [True] * 400)) == BaseLoop(320, 720)
    # Short passages are joined over short gaps, long gaps stay.
    assert choose_loop(track_of([True] * 60 + [False] * 3 + [True] * 60 + [False] * 40 + [True] * 90)) == BaseLoop(
        0, 123
    )
    with pytest.raises(StudioError) as error:
        choose_loop(track_of([False] * 9))
    assert error.value.code == "face_unusable"


@pytest.mark.parametrize("mouth", [None, np.zeros((20, 30), np.uint8)])
def test_paste_leaves_everything_outside_the_mask_bit_for_bit(mouth: np.ndarray | None) -> None:
    random = np.random.default_rng(0)
    frame = random.integers(16, 235, (96 * 3 // 2, 64), np.uint8)
    patch = random.integers(0, 255, (20, 30, 3), np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[4:14, 6:20] = random.integers(1, 255, (10, 14))
    before = frame.copy()
    after = compositor.paste(frame, FaceFrame(0, patch, mask, 12, 40, mouth))
    changed = np.zeros((96, 64), bool)
    changed[40:60, 12:42] = mask > 0
    for now, old, may_change in zip(
        media.planes(after), media.planes(before), (changed, changed[::2, ::2], changed[::2, ::2]), strict=True
    ):
        if may_change.shape != now.shape:
            raise AssertionError
        np.testing.assert_array_equal(now[~may_change], old[~may_change])
    luma, old_luma = media.planes(after)[0], media.planes(before)[0]
    assert (luma[44:54, 18:32] != old_luma[44:54, 18:32]).mean() > 0.5


def test_a_full_mask_shows_the_patch_and_none_passes_the_frame_through() -> None:
    bgr = np.full((40, 60, 3), (40, 90, 200), np.uint8)
    frame = media.to_i420(np.full((40, 60, 3), 128, np.uint8))
    untouched = frame.copy()
    np.testing.assert_array_equal(compositor.paste(frame, FaceFrame(0)), untouched)
    shown = compositor.paste(frame, FaceFrame(0, bgr[:10, :20], None, 20, 10))
    np.testing.assert_array_equal(media.to_bgr(shown)[10:20, 20:40], media.to_bgr(media.to_i420(bgr))[10:20, 20:40])


def test_half_a_mask_blends_halfway() -> None:
    frame = np.full((24, 16), 100, np.uint8)
    patch = np.full((8, 8, 3), 255, np.uint8)
    bright = int(media.planes(media.to_i420(patch))[0][0, 0])
    after = compositor.paste(frame, FaceFrame(0, patch, np.full((8, 8), 51, np.uint8), 4, 4))
    assert media.planes(after)[0][6, 6] == round(100 + 0.2 * (bright - 100))


def test_what_is_fine_in_the_frame_stays_but_for_its_mouth_and_where_something_else_is_shown() -> None:
    random = np.random.default_rng(0)
    skin = cv2.GaussianBlur(random.normal(0, 1, (200, 200)).astype(np.float32), (0, 0), 12)
    grain = cv2.GaussianBlur(random.normal(0, 1, (200, 200)).astype(np.float32), (0, 0), 1)
    soft = 120 + 15 * skin / skin.std()
    soft[:, 150:] += 60  # as a jaw that is drawn where the frame has none
    own = 120 + 15 * skin / skin.std() + 8 * grain / grain.std()
    frame, patch = (cv2.merge([grey.clip(0, 255).astype(np.uint8)] * 3) for grey in (own, soft))
    mouth = np.zeros((200, 200), np.uint8)
    mouth[60:140, 20:100] = 255

    def shown(over: np.ndarray | None) -> np.ndarray:
        face = FaceFrame(0, patch, None, 0, 0, over)
        return media.planes(compositor.paste(media.to_i420(frame), face))[0].astype(int)

    plain, detailed = shown(None), shown(mouth)
    real = media.planes(media.to_i420(frame))[0].astype(int)
    parts = {"mouth": np.s_[63:137, 23:97], "jaw": np.s_[:, 156:], "skin": np.s_[:, 103:140]}
    for name in ("mouth", "jaw"):
        np.testing.assert_array_equal(detailed[parts[name]], plain[parts[name]])
    assert np.abs(plain - real)[parts["skin"]].mean() > 4
    assert np.abs(detailed - real)[parts["skin"]].mean() < 1.5


def test_a_warp_to_the_same_place_is_the_identity() -> None:
    box = Box(100, 60, 260, 220)
    points = np.random.default_rng(1).uniform((100, 60), (260, 220), (60, 2))
    points = np.concatenate([points, border(box)])
    ((map_x, map_y),) = warp_maps(points, [points], box, 12)
    y, x = np.mgrid[60:220, 100:260]
    assert np.abs(map_x - x).max() < 1e-3
    assert np.abs(map_y - y).max() < 1e-3


def test_a_warp_carries_its_points_where_they_shall_go() -> None:
    box = Box(0, 0, 160, 160)
    random = np.random.default_rng(2)
    origin = random.uniform(20, 140, (25, 2))
    goal = origin + random.normal(0, 2, origin.shape)
    rim = border(box)
    ((map_x, map_y),) = warp_maps(np.concatenate([goal, rim]), [np.concatenate([origin, rim])], box, 4)
    for wanted, (x, y) in zip(origin, np.round(goal).astype(int), strict=True):
        assert abs(map_x[y, x] - wanted[0]) < 2
        assert abs(map_y[y, x] - wanted[1]) < 2
    assert abs(map_x[0, 0]) < 0.2
    assert abs(map_y[159, 159] - 159) < 0.5


def test_similarity_recovers_turn_scale_and_shift() -> None:
    points = np.random.default_rng(3).normal(size=(12, 2))
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    np.testing.assert_allclose(
        similarity(points, 2 * points @ turn + 5, points[:3]), 2 * points[:3] @ turn + 5, atol=1e-9
    )


def test_the_feather_ends_at_nothing_on_every_side() -> None:
    mask = feather(Box(10, 10, 210, 190), 100.0)
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not rim.any()
    assert mask[90, 100] == 255


def test_the_cheapest_path_is_the_best_of_all_paths() -> None:
    random = np.random.default_rng(4)
    for trial in range(20):
        targets = random.uniform(0, 3, (5, 4)).astype(np.float32)
        transitions = random.uniform(0, 3, (4, 4)).astype(np.float32)
        previous = trial % 5 if trial % 5 < 4 else None

        def cost(path: tuple[int, ...], previous: int | None = previous, t=targets, s=transitions) -> float:
            steps = path if previous is None else (previous, *path)
            moves = sum(float(s[a, b]) for a, b in itertools.pairwise(steps))
            return moves + sum(float(t[n, unit]) for n, unit in enumerate(path))

        best = min(itertools.product(range(4), repeat=5), key=cost)
        found = cheapest_path(targets, transitions, previous)
        assert cost(tuple(found.tolist())) == pytest.approx(cost(best), abs=1e-4)


def test_going_on_is_free_and_jumping_dear() -> None:
    random = np.random.default_rng(5)
    units = Units(random.normal(size=(8, 3)), np.zeros((8, 3)), np.array([0, 1, 2, 3, 10, 11, 12, 13]))
    cost = units.transition_costs()
    assert cost[0, 1] == 0
    assert cost[5, 5] == pytest.approx(STAY_COST)
    assert cost[3, 4] >= JUMP_COST  # 3 and 4 stand side by side but are seven frames apart
    assert cost[6, 2] >= JUMP_COST


def test_a_unit_far_to_the_side_is_not_taken() -> None:
    pose = np.radians([[0, 0, 0], [20, 0, 0]])
    units = Units(np.array([[1.0], [0.0]]), pose, np.array([0, 50]))
    costs = units.target_costs(np.array([[0.0]]), pose[:1])
    assert costs[0].argmin() == 0


def test_jumps_are_faded_over_two_frames() -> None:
    frames = np.arange(20)
    path, nowhere = np.array([3, 4, 5, 12, 13]), np.zeros(20, bool)
    blends = cross_fades(path, frames, nowhere[:5], nowhere)
    assert [blend.units for blend in blends] == [(3,), (4,), (5, 11), (12, 6), (13,)]
    assert all(sum(blend.shares) == pytest.approx(1) for blend in blends)


def test_no_open_mouth_shines_through_touching_lips() -> None:
    path, gaping = np.array([3, 4, 5, 12, 13]), np.arange(20) == 6
    closed = np.array([False, False, True, True, True])
    blends = cross_fades(path, np.arange(20), closed, gaping)
    assert [blend.units for blend in blends] == [(3,), (4,), (5, 11), (12,), (13,)]


def test_shapes_survive_coding_and_open_as_told() -> None:
    random = np.random.default_rng(6)
    base, change = random.normal(size=(116, 3)), random.normal(size=(3, 116, 3)) * 0.05
    change[0, LOWER.index(14), 1] += 0.3
    mixed = random.normal(size=(60, 3))
    lower = base + np.einsum("nk,kpd->npd", mixed, change)
    space = ShapeSpace.fit(lower, np.zeros(60, bool))
    codes = space.encode(lower)
    np.testing.assert_allclose(space.decode(codes), lower[:, :, :2], atol=1e-6)
    gap = space.open_motion[LOWER.index(13)] - space.open_motion[LOWER.index(14)]
    assert np.linalg.norm(gap) == pytest.approx(1, abs=1e-3)
    rest = opening(space.decode(space.rest[None]))[0]
    assert rest < np.quantile(opening(lower), 0.3)


def test_smoothing_does_not_reach_over_gaps() -> None:
    frames = np.array([0, 1, 2, 50, 51, 52])
    values = np.array([0.0, 0, 0, 9, 9, 9])[:, None]
    np.testing.assert_allclose(smooth_runs(values, frames, 2.0), values)


def test_speech_is_told_from_silence_at_any_level() -> None:
    sound, _ = speech(6.0)
    padded = np.concatenate([np.zeros(SOUND_RATE), sound, np.zeros(SOUND_RATE)]).astype(np.float32)
    for gain in (1.0, 0.05):
        heard = hear(media.resample(padded * gain, SOUND_RATE, SAMPLE_RATE))
        assert not heard.spoken[:95].any()
        assert heard.spoken[110:300].mean() > 0.8
        assert not heard.spoken[-95:].any()
    assert not hear(np.zeros(SAMPLE_RATE, np.float32)).spoken.any()
    assert not speaking(np.full(50, -80.0)).any()


def test_the_gate_opens_around_speech_and_closes_in_between() -> None:
    spoken = np.zeros(100, bool)
    spoken[40:60] = True
    opened = gate(spoken)
    assert opened[50] > 0.99
    assert opened[38] > 0.3
    assert opened[20] < 0.01
    assert np.abs(np.diff(opened)).max() < 0.4


def test_the_mel_of_a_tone_lies_in_its_band() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    quiet, loud = log_mel(0.01 * np.sin(2 * np.pi * 1000 * time)), log_mel(0.1 * np.sin(2 * np.pi * 1000 * time))
    assert quiet.shape == (101, 40)
    band = int(loud[50].argmax())
    centers = np.linspace(0, 8000, 201)[mel_filters(40, 60.0, 7600.0).argmax(1)]
    assert abs(centers[band] - 1000) < 80
    assert loud[50, band] - quiet[50, band] == pytest.approx(2 * np.log(10), abs=0.05)
    spectrum = power_spectrum(np.sin(2 * np.pi * 2000 * time).astype(np.float32))
    assert spectrum[50].argmax() == 50


def test_whisper_input_is_what_faster_whisper_makes() -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    sound = media.resample(speech(5.0)[0], SOUND_RATE, SAMPLE_RATE)
    padded = np.zeros(30 * SAMPLE_RATE, np.float32)
    padded[: len(sound)] = sound
    np.testing.assert_allclose(whisper_mel(sound), FeatureExtractor()(padded, padding=0)[:, :3000], atol=1e-4)


def test_features_are_read_between_their_times() -> None:
    features = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_allclose(at_times(features, 10, np.array([-1, 0.25, 0.9, 7]))[:, 0], [0, 2.5, 9, 9])


def test_kernel_regression_learns_a_curve() -> None:
    x = np.linspace(-2, 2, 200)[:, None]
    model = KernelRegression.fit(x, np.sin(2 * x))
    assert np.abs(model(x[10:-10]) - np.sin(2 * x[10:-10])).max() < 0.1


def test_another_voice_is_moved_home_and_the_own_one_left_alone() -> None:
    random = np.random.default_rng(7)
    slow = np.repeat(random.normal(0, 0.3, (20, 4)), 100, axis=0)
    own = (slow + random.normal(0, 1, (2000, 4))).astype(np.float32)
    voiced = np.ones(2000, bool)
    home = Statistics.of(own, 100, voiced)
    np.testing.assert_allclose(adapt(own, 100, voiced, home), own, atol=1e-6)
    moved = adapt(own + 5, 100, voiced, home)
    assert np.abs(moved.mean(0) - own.mean(0)).max() < 0.1
    # A snatch of sound says nothing about a voice.
    np.testing.assert_array_equal(adapt(own[:50] + 5, 100, voiced[:50], home), own[:50] + 5)


@pytest.mark.parametrize("pace", [STEADY, LIVE])
@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
@pytest.mark.parametrize("seconds", [0.02, 0.04, 1.0, 19.99, 21.01, 65.3])
def test_windows_have_one_frame_for_each_40_ms_begun(rate: int, seconds: float, pace: Pace) -> None:
    samples = np.arange(round(seconds * rate), dtype=np.float32)
    cut = list(windows((media.AudioChunk(part, rate) for part in np.array_split(samples, 7)), pace))
    assert sum(window.count for window in cut) == -(-len(samples) * 25 // rate)
    step = rate / 25
    for window in cut:
        begin = (window.first - window.before) * step
        assert abs(window.samples[0] - begin) <= 1
        assert len(window.samples) <= (pace.count + pace.before + pace.after) * step + 1
        assert window.count <= pace.count
    assert [window.first for window in cut] == np.cumsum([0, *(window.count for window in cut)])[:-1].tolist()


def test_crops_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    picture = draw_face(Pose())
    with CropWriter(tmp_path) as writer:
        writer.add(picture, Box(100, 200, 300, 420))
        writer.add(picture, Box(0, 0, 50, 40))
    store = CropStore(tmp_path)
    assert len(store) == 2
    crop = store[0]
    assert (crop.left, crop.top) == (100, 200)
    assert cv2.PSNR(crop.pixels, np.ascontiguousarray(picture[200:420, 100:300])) > 38
    (tmp_path / "crops.npz").write_bytes(b"nonsense")
    with pytest.raises(StudioError) as error:
        CropStore(tmp_path)
    assert error.value.code == "avatar_broken"


def test_lips_never_cross_and_open_no_further_than_pixels_reach() -> None:
    points, _ = FaceTracker().follow(draw_face(Pose(mouth=0.3)))
    assert points is not None
    rest = (points[list(LOWER), :2] / np.linalg.norm(points[33, :2] - points[263, :2]))[None].astype(np.float64)
    own = rest[:, LOWER_LIP, 1] - rest[:, UPPER_LIP, 1]
    for shift in (-0.3, -0.05, 0.0, 0.3):
        goal = rest.copy()
        goal[:, LOWER_LIP, 1] += shift
        gap = _lips_apart(rest, goal)
        apart = gap[:, LOWER_LIP, 1] - gap[:, UPPER_LIP, 1]
        assert (apart >= -1e-9).all()
        assert (apart <= GROW * own + GROW_MORE + 1e-9).all()
        if shift == 0:
            np.testing.assert_allclose(apart, own)
