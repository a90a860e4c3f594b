"""A photo that speaks: skin, the inside of the mouth, lids and sway."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from modules.avatar.builtin import eyelids, photo, sway
from modules.avatar.builtin.articulation import movements, said
from modules.avatar.builtin.photo import LoadedPreview, Preview
from modules.avatar.builtin.skin import Axes, Grid, Move, Skin
from modules.avatar.builtin.tones import measure
from modules.avatar.crops import Box, Crop, CropWriter
from modules.face import landmarks as at
from modules.face.track import FaceTracker
from modules.media import Phone
from tests.clips import HEIGHT, WIDTH, Pose, draw_face

STILL = np.zeros(7)


@cache
def face(mouth: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A drawn photo (H, W, 3) and its landmarks (478, 3)."""
    picture = draw_face(Pose(mouth=mouth))
    points, _ = FaceTracker().follow(picture)
    assert points is not None
    return picture, points.astype(np.float64)


def loaded(folder: Path, mouth: float = 0.0) -> LoadedPreview:
    picture, points = face(mouth)
    with CropWriter(folder) as writer:
        writer.add(picture, photo.stored_boxes(points[None], WIDTH, HEIGHT)[0])
    photo.save(folder, np.array([0]), points[None], WIDTH, HEIGHT, True)
    return LoadedPreview(folder)


def drawn(preview: LoadedPreview, what: Preview, picture: np.ndarray) -> np.ndarray:
    """The whole photo with ``what`` done."""
    patch, mask, box = preview.draw(what)
    full = picture.astype(np.float64)
    share = mask[..., None] / 255
    part = full[box.top : box.bottom, box.left : box.right]
    part += (patch - part) * share
    return full


def test_the_mouth_does_what_is_said() -> None:
    """a: wide open; m: shut; u: round; i: spread; nothing: closed."""
    phones = [Phone(letter, 0.2 * place, 0.2 * (place + 1)) for place, letter in enumerate(" amuai ")]
    times = (np.arange(35) + 0.5) / 25
    mel, spoken = np.zeros((140, 40), np.float32), np.ones(140, bool)
    opening, rounding = movements(said(phones, 70), mel, spoken, times)
    middles = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3])
    opened, rounded = np.interp(middles, times, opening), np.interp(middles, times, rounding)
    assert opened[1] > 0.15
    assert opened[4] > 0.15
    assert (opening[(times > 0.4) & (times < 0.6)] == 0).all()
    assert opened[0] < 0.02
    assert opened[6] < 0.02
    assert rounded[3] > 0.03
    assert rounded[5] < -0.02
    assert np.abs(np.diff(opening)).max() <= 0.1


def test_lips_touch_for_the_shortest_b_between_two_frames() -> None:
    times = (np.arange(20) + 0.5) / 25
    for start in (0.31, 0.35, 0.38, 0.43):
        phones = [Phone("a", 0, start), Phone("b", start, start + 0.03), Phone("a", start + 0.03, 0.8)]
        opening, _ = movements(said(phones, 40), np.zeros((80, 40)), np.ones(80, bool), times)
        assert opening[10 - 4 : 14].min() == 0


def test_phones_before_the_sound_say_nothing_in_it() -> None:
    shares = said([Phone("m", -0.5, -0.2), Phone("a", -0.1, 0.1), Phone("i", 0.9, 1.3)], 50)
    np.testing.assert_array_equal(shares, said([Phone("a", 0, 0.1), Phone("i", 0.9, 1.0)], 50))
    assert shares[:5].sum() == 5
    assert shares.sum() == 10


def test_soft_speech_opens_the_mouth_less() -> None:
    times = (np.arange(25) + 0.5) / 25
    mel = np.zeros((100, 40), np.float32)
    mel[50:] = -4
    opening, _ = movements(said([Phone("a", 0, 1)], 50), mel, np.ones(100, bool), times)
    assert 0.5 < opening[18] / opening[6] < 0.9


def test_axes_lead_there_and_back() -> None:
    axes = Axes.of(np.array([10.0, 20.0]), np.array([40.0, 60.0]), 25.0)
    points = np.random.default_rng(0).uniform(0, 100, (9, 2))
    np.testing.assert_allclose(axes.picture(axes.local(points)), points, atol=1e-9)
    np.testing.assert_allclose(axes.local(np.array([40.0, 60.0])), (1.0, 0.0), atol=1e-9)


def test_a_grid_reads_between_its_nodes_and_fills_every_pixel() -> None:
    grid = Grid(Box(6, 4, 71, 59), 7)
    plane = np.array([[0.2, 0.05], [-0.1, 0.3]])
    slope = grid.nodes @ plane
    inside = np.random.default_rng(1).uniform((12, 10), (60, 50), (20, 2))
    np.testing.assert_allclose(grid.at(slope, inside), inside @ plane, atol=0.05)
    part = Box(15, 13, 58, 40)
    y, x = np.mgrid[13:40, 15:58]
    filled = grid.dense(slope, part)
    assert filled.shape == (27, 43, 2)
    np.testing.assert_allclose(filled, np.stack([0.2 * x - 0.1 * y, 0.05 * x + 0.3 * y], -1), atol=1e-3)


def test_the_inverse_of_a_displacement_undoes_it() -> None:
    grid = Grid(Box(0, 0, 200, 200), 4)
    bump = np.exp(-((grid.nodes - 100) ** 2).sum(-1) / (2 * 30**2))[..., None] * [6.0, 14.0]
    starts = np.random.default_rng(2).uniform(50, 150, (40, 2))
    ends = starts + grid.at(bump, starts)
    np.testing.assert_allclose(ends + grid.at(grid.inverse(bump), ends), starts, atol=0.2)


@pytest.mark.parametrize("mouth", [0.0, 0.6])
@pytest.mark.parametrize("opened", [0.0, 0.05, 0.14])
def test_lips_open_by_what_is_asked_and_meet_in_the_corners(mouth: float, opened: float) -> None:
    skin = Skin(face(mouth)[1][:, :2])
    upper, lower = skin.lips(Move(opened - skin.own_opening, 0.0))
    gap = lower[:, 1] - upper[:, 1]
    assert gap[len(gap) // 2] == pytest.approx(opened, abs=0.012)
    assert gap.min() > -1e-6
    assert max(abs(gap[0]), abs(gap[-1])) < 1e-3


def test_the_lower_lip_keeps_its_thickness_and_the_chin_follows() -> None:
    skin = Skin(face()[1][:, :2])
    local = skin.axes.local(face()[1][:, :2])
    places = local[[at.LIP_INNER_BOTTOM, 17, at.CHIN]]
    moved = skin.moved(skin.weights(places), Move(0.12, 0.0), True)[:, 1]
    assert moved[1] - moved[0] == pytest.approx(0, abs=0.01)
    assert 0.06 < moved[2] < 0.1
    far = np.array([[0.0, -0.7], [1.3, 0.2], [-1.3, 0.2], [0.0, 1.6]])
    for lower in (True, False):
        assert np.abs(skin.moved(skin.weights(far), Move(0.12, 0.05), lower)).max() < 2e-3


def test_beyond_the_corners_upper_and_lower_face_are_one() -> None:
    skin = Skin(face()[1][:, :2])
    left, right = skin.rest.across[[0, -1]]
    beside = np.array([(x, y) for x in (left - 0.02, right + 0.02, right + 0.3) for y in (-0.1, 0.0, 0.1)])
    weights = skin.weights(beside)
    for move in (Move(0.12, 0.0), Move(0.05, 0.05)):
        np.testing.assert_allclose(skin.moved(weights, move, True), skin.moved(weights, move, False), atol=1e-9)


def test_at_rest_a_photo_is_as_it_was(tmp_path: Path) -> None:
    preview = loaded(tmp_path)
    own = Skin(face()[1][:, :2]).own_opening
    picture = face()[0]
    change = np.abs(drawn(preview, Preview(0, Move(0.0, 0.0), STILL, 0.0), picture) - picture)
    assert change.mean() < 1.0  # what JPEG at quality 97 does
    assert own < 0.05


def test_a_mouth_starts_to_move_without_a_jump(tmp_path: Path) -> None:
    for mouth in (0.0, 0.3, 0.7):
        preview, picture = loaded(tmp_path, mouth), face(mouth)[0]
        steps = [drawn(preview, Preview(0, Move(change, 0.0), STILL, 0.0), picture) for change in (-2e-4, 0.0, 2e-4)]
        for before, after in itertools.pairwise(steps):
            assert np.abs(after - before).max() < 6


def test_an_open_mouth_shows_teeth_above_the_dark(tmp_path: Path) -> None:
    preview = loaded(tmp_path)
    skin = Skin(face()[1][:, :2])
    full = drawn(preview, Preview(0, Move(0.15, 0.0), STILL, 0.0), face()[0])
    upper, lower = (edge[len(edge) // 2] for edge in skin.lips(Move(0.15, 0.0)))
    # A quarter tooth beside the middle: there is a gap between the teeth in the very middle.
    down = [upper[1] + share * (lower[1] - upper[1]) for share in (0.3, 0.62)]
    teeth, dark = (
        full[tuple(np.round(skin.axes.picture(np.array([upper[0] + 0.03, y]))).astype(int)[::-1])].mean() for y in down
    )
    assert teeth > 2 * dark
    assert dark < 60


def test_real_teeth_stay_where_they_are(tmp_path: Path) -> None:
    """The drawn person's open mouth shows teeth: opening it further moves the chin, not them."""
    preview = loaded(tmp_path, 0.7)
    picture, points = face(0.7)
    skin = Skin(points[:, :2])
    assert skin.own_opening > 0.06
    top = skin.axes.picture(np.stack([skin.rest.across, skin.rest.upper + 0.015], -1))[15:34]
    columns, rows = np.round(top).astype(int).T
    full = drawn(preview, Preview(0, Move(0.04, 0.0), STILL, 0.0), picture)
    assert np.abs(full[rows, columns] - picture[rows, columns]).mean() < 12


def test_blinks_are_irregular_short_and_the_same_however_they_are_asked_for() -> None:
    numbers = np.arange(25 * 120)
    closed = eyelids.closures(numbers)
    assert set(closed) <= {0.0, *eyelids.LEVELS}
    edges = np.flatnonzero(np.diff((closed > 0).astype(int)))
    starts, stops = edges[::2] + 1, edges[1::2] + 1
    assert set((stops - starts[: len(stops)]).tolist()) == {4, 5, 6}
    pauses = np.diff(starts) / 25
    assert pauses.min() > 1.9
    assert pauses.max() < 6.1
    assert pauses.std() > 0.5
    np.testing.assert_array_equal(eyelids.closures(numbers[1000:1100]), closed[1000:1100])


def test_lids_close_over_the_eyes_and_touch_nothing_else(tmp_path: Path) -> None:
    preview = loaded(tmp_path)
    picture, points = face()
    opened, closed = (
        drawn(preview, Preview(0, Move(0.0, 0.0), STILL, level), picture) for level in (0.0, max(eyelids.LEVELS))
    )
    for iris in (468, 473):
        x, y = np.round(points[iris, :2]).astype(int)
        # Where the dark iris was there is skin.
        assert closed[y, x].mean() > opened[y, x].mean() + 50
    changed = np.abs(closed - opened).max(-1) > 0
    allowed = np.zeros(changed.shape, bool)
    for eye in (at.LEFT_EYE_UPPER, at.RIGHT_EYE_UPPER):
        low, high = points[list(eye), :2].min(0), points[list(eye), :2].max(0)
        width = high[0] - low[0]
        left, top = (low - width * np.array([0.2, 0.7])).astype(int)
        right, bottom = (high + width * np.array([0.2, 0.6])).astype(int)
        allowed[top:bottom, left:right] = True
    assert not (changed & ~allowed).any()


def test_tones_follow_light_and_sharpness_of_the_picture() -> None:
    picture, points = face()
    plain = measure(Crop(picture, 0, 0), points[:, :2])
    dark = measure(Crop((picture * 0.5).astype(np.uint8), 0, 0), points[:, :2])
    soft = measure(Crop(cv2.GaussianBlur(picture, (0, 0), 2.0), 0, 0), points[:, :2])
    warm = measure(Crop((picture * [0.6, 0.9, 1.0]).astype(np.uint8), 0, 0), points[:, :2])
    assert dark.teeth.mean() == pytest.approx(plain.teeth.mean() / 2, rel=0.1)
    assert plain.blur < 1.6 < soft.blur
    assert soft.grain < plain.grain
    assert warm.teeth[0] / warm.teeth[2] < 0.9 * plain.teeth[0] / plain.teeth[2]
    assert plain.cavity.mean() < plain.tongue.mean() < plain.teeth.mean()


def test_closed_eyes_are_left_alone() -> None:
    picture = draw_face(Pose(eyes=0.12))
    points, _ = FaceTracker().follow(picture)
    assert points is not None
    crop = Crop(picture, 0, 0)
    patches = eyelids.lid_patches(crop, points[:, :2], measure(crop, points[:, :2]))
    assert not any(patches.values())
    assert eyelids.can_blink(face()[1][:, :2])


def test_sway_is_slow_small_and_goes_on_where_it_was() -> None:
    numbers = np.arange(3000)
    poses = sway.poses(numbers, np.zeros(3000))
    np.testing.assert_array_equal(sway.poses(numbers[700:800], np.zeros(100)), poses[700:800])
    assert np.abs(poses).max() < 0.05
    assert np.abs(np.diff(poses, axis=0)).max() < 0.003
    assert poses.std(0).min() > 1e-3


def test_swaying_tears_nothing_and_leaves_border_and_background(tmp_path: Path) -> None:
    preview = loaded(tmp_path)
    picture, points = face()
    extreme = np.abs(sway.poses(np.arange(3000), np.ones(3000))).max(0)
    grid = Grid(Box(0, 0, WIDTH, HEIGHT), 6)
    body = sway.Body.of(points, grid, WIDTH, HEIGHT)
    for signs in (1, -1, np.array([1, -1, 1, -1, 1, -1, 1])):
        moved = body.moved(extreme * signs) / 6
        slopes = [np.abs(np.diff(moved, axis=axis)).max() for axis in (0, 1)]
        assert max(slopes) < 0.35  # 1 would fold the picture
        full = drawn(preview, Preview(0, Move(0.1, 0.0), extreme * signs, 0.0), picture)
        still = body.reach == 0
        outside = cv2.resize(still.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) > 0
        core = cv2.erode(outside.astype(np.uint8), np.ones((15, 15))) > 0
        assert core.sum() > 1000
        np.testing.assert_array_equal(full[core], picture[core])
        rim = np.concatenate([full[0], full[-1], full[:, 0], full[:, -1]])
        np.testing.assert_array_equal(rim, np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]))
    nose = points[4, :2]
    travel = grid.at(body.moved(extreme), nose[None])[0]
    assert 2 < np.linalg.norm(travel) < 0.12 * body.axes.unit


def test_an_output_in_pieces_goes_on_where_it_was(tmp_path: Path) -> None:
    """A piece that begins in a pause is planned as the whole is: blinks alike, the head within half a pixel."""
    preview = loaded(tmp_path)
    numbers = np.arange(300)
    opening = 0.1 * (numbers % 12 < 8) * ((numbers < 140) | (numbers >= 170))
    bases, none = np.zeros(300, int), np.zeros(300)
    whole = preview.plan(numbers, bases, opening, none)[155:]
    piece = preview.plan(numbers[155:], bases[155:], opening[155:], none[155:])
    assert [planned.lids for planned in piece] == [planned.lids for planned in whole]
    assert [planned.move for planned in piece] == [planned.move for planned in whole]
    away = [np.abs(one.pose - two.pose).max() for one, two in zip(piece, whole, strict=True)]  # type: ignore[operator]
    assert max(away) * 340 < 0.5  # pixels of a large face, whose eyes are 340 apart
    assert any(planned.lids for planned in piece)


def test_footage_that_moves_by_itself_is_neither_swayed_nor_made_to_blink(tmp_path: Path) -> None:
    preview = loaded(tmp_path)
    numbers, zeros = np.arange(200), np.zeros(200)
    bases = np.zeros(200, int)
    assert any(planned.lids for planned in preview.plan(numbers, bases, zeros, zeros))
    preview.still = False
    for planned in preview.plan(numbers, bases, zeros, zeros):
        assert planned.pose is None
        assert planned.lids == 0
