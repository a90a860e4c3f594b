"""Where MuseTalk's crops lie on a face, and what of a picture is parsed."""

from __future__ import annotations

import numpy as np
import pytest

from modules.avatar.musetalk import features
from modules.face import landmarks as at


def a_face(width: float = 200.0, height: float = 260.0) -> np.ndarray:
    """(1, 478, 3): an oval around (500, 400) with a straight nose; all other points in its middle."""
    points = np.zeros((1, 478, 3), np.float32)
    points[:, :, :2] = (500, 400)
    turn = np.linspace(0, 2 * np.pi, len(at.FACE_OVAL), endpoint=False)
    points[0, at.FACE_OVAL, 0] = 500 + width / 2 * np.sin(turn)
    points[0, at.FACE_OVAL, 1] = 400 - height / 2 * np.cos(turn)
    points[0, list(features.NOSE_BRIDGE), 1] = 405, 415
    return points


def test_the_middle_of_the_box_lies_on_the_bridge_of_the_nose_and_the_chin_on_its_lower_edge() -> None:
    left, top, right, bottom = features.boxes(a_face(), "1.0", {"bbox_shift": 0})[0]
    assert (left, right, bottom) == pytest.approx((400, 600, 530), abs=0.5)
    assert (top + bottom) / 2 == pytest.approx(410)


def test_a_shift_moves_the_middle_and_not_the_chin() -> None:
    plain, shifted = (features.boxes(a_face(), "1.0", {"bbox_shift": shift})[0] for shift in (0, 6))
    assert shifted - plain == pytest.approx([0, 12, 0, 0])


def test_a_margin_is_added_under_the_chin() -> None:
    plain, wider = (features.boxes(a_face(), "1.5", {"extra_margin": margin})[0] for margin in (0, 10))
    assert wider - plain == pytest.approx([0, 0, 0, 10])


@pytest.mark.parametrize("box", [(10, 12, 50, 60), (-5, -8, 30, 40), (60, 40, 110, 95)])
def test_the_square_is_cut_out_of_the_picture_and_black_beyond_it(box: tuple[int, int, int, int]) -> None:
    picture = np.random.default_rng(1).integers(1, 256, (80, 100, 3), np.uint8)
    given = np.array(box)
    seen = features.square_picture(picture, given)
    rows, columns = features.box_in_square(given)
    assert seen.shape[0] == seen.shape[1] and columns.stop - columns.start == box[2] - box[0]
    x, y = features.square_around(given)[:2]
    for row in range(0, len(seen), 7):
        for column in range(0, len(seen), 7):
            inside = 0 <= row + y < 80 and 0 <= column + x < 100
            assert np.array_equal(seen[row, column], picture[row + y, column + x] if inside else [0, 0, 0])
    assert rows.stop - rows.start == box[3] - box[1]


def test_only_the_lower_half_of_the_box_is_replaced_and_softly() -> None:
    box = np.array([35, 25, 120, 123])
    mask = features.blend_mask(np.full((512, 512), features.SKIN, np.uint8), box, "raw", 90, 90)
    rows, columns = features.box_in_square(box)
    side = len(mask)
    assert mask[: side // 2 - 5].max() == 0
    assert mask[side * 3 // 4, side // 2] == 255
    assert 0 < mask[side // 2 + 1, side // 2] < 255
    assert mask[side * 3 // 4, : columns.start - 5].max() == 0 and mask[rows.stop + 5 :].max(initial=0) == 0


def test_nothing_is_heard_before_the_sound_and_after_it() -> None:
    states = np.arange(1, 21, dtype=np.float32)[:, None, None] * np.ones((1, 5, 384), np.float32)
    tokens = features.hear(states, 0, 10).reshape(10, 10, 5, 384)[:, :, 0, 0]
    assert tokens[0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert tokens[5].tolist() == list(range(7, 17))
    assert tokens[9].tolist() == [15, 16, 17, 18, 19, 20, 0, 0, 0, 0]
    assert features.hear(states, 40, 2).max() == 0
