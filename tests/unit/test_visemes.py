"""From phones to mouths, on a made-up person who opens and widens a simple mouth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules import media
from modules.avatar.builtin import visemes
from modules.avatar.builtin.plan import CLOSABLE, LOWER_LIP, UPPER_LIP, _shut
from modules.avatar.builtin.shapes import BOTTOM, CLOSED, LOWER, TOP, ShapeSpace, opening
from modules.avatar.builtin.visemes import DEMANDS, Mouth
from modules.avatar.listen import LIVE, STEADY, Pace, windows
from modules.face import landmarks as at
from modules.media import PAUSE, Phone

LEFT, RIGHT = LOWER.index(at.MOUTH_LEFT), LOWER.index(at.MOUTH_RIGHT)
FRAMES = 400


def faces(openings: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(N, 116, 3) lower faces with these mouths."""
    layout = np.random.default_rng(1).normal(0, 0.3, (len(LOWER), 3))
    lower = np.repeat(layout[None], len(openings), 0)
    for place, share in ((TOP, -0.4), (BOTTOM, 0.6)):
        lower[:, place, 0] = 0.0
        lower[:, place, 1] = share * openings
    for place, share in ((LEFT, -0.5), (RIGHT, 0.5)):
        lower[:, place, 0] = share * widths
        lower[:, place, 1] = 0.0
    return lower


@pytest.fixture(scope="module")
def lower() -> np.ndarray:
    random = np.random.default_rng(0)
    openings = np.clip(random.normal(0.08, 0.06, FRAMES), 0, 0.25)
    openings[::8] = 0.002
    return faces(openings, 0.6 + 0.3 * openings + random.normal(0, 0.04, FRAMES))


@pytest.fixture(scope="module")
def space(lower: np.ndarray) -> ShapeSpace:
    return ShapeSpace.fit(lower, np.arange(FRAMES) % 8 == 0)


@pytest.fixture(scope="module")
def mouth(space: ShapeSpace, lower: np.ndarray) -> Mouth:
    return Mouth(space, lower, np.arange(FRAMES))


def said(mouth: Mouth, space: ShapeSpace, phones: list[Phone], frames: int, heard: float = 0.1) -> visemes.Wish:
    """What the mouth does for ``phones`` when the sound suggests the same medium opening all the time."""
    codes = space.encode(faces(np.full(frames, heard), np.full(frames, 0.63)))
    return mouth.follow(codes, (np.arange(frames) + 0.5) / media.FRAME_RATE, phones)


def row(symbols: str, seconds: float, start: float = 0.0) -> list[Phone]:
    return [Phone(s, start + n * seconds, start + (n + 1) * seconds) for n, s in enumerate(symbols)]


def seen(space: ShapeSpace, wish: visemes.Wish) -> tuple[np.ndarray, np.ndarray]:
    """(T,) openings and (T,) widths."""
    points = space.decode(wish.codes)
    return opening(points), np.linalg.norm(points[:, LEFT] - points[:, RIGHT], axis=1)


@pytest.mark.parametrize("symbol", "bpm")
def test_lips_touch_in_every_frame_of_a_bilabial_and_only_there(mouth: Mouth, space: ShapeSpace, symbol: str) -> None:
    wish = said(mouth, space, row(f"a{symbol}a", 0.2), 15)
    opened, _ = seen(space, wish)
    assert wish.closed.tolist() == [5 <= n < 10 for n in range(15)]
    assert opened[5:10].max() < CLOSED
    assert opened[:4].min() > 2 * CLOSED


def test_a_bilabial_between_two_frames_closes_the_nearest_one(mouth: Mouth, space: ShapeSpace) -> None:
    short = [Phone("a", 0.0, 0.21), Phone("m", 0.21, 0.215), Phone("a", 0.215, 0.6)]
    assert np.flatnonzero(said(mouth, space, short, 15).closed).tolist() == [5]


def test_lips_come_to_a_closure_as_fast_as_this_person_moves(mouth: Mouth, space: ShapeSpace) -> None:
    wish = said(mouth, space, row("ama", 0.4), 30, heard=0.24)
    opened, _ = seen(space, wish)
    steps = np.abs(np.diff(opened))
    assert steps.max() < mouth.speed * 1.1
    assert opened[14] < opened[4]


def test_open_vowels_are_wider_open_than_close_ones(mouth: Mouth, space: ShapeSpace) -> None:
    mean = {s: seen(space, said(mouth, space, row(s, 0.4), 10))[0].mean() for s in "aiuf"}
    assert mean["a"] > 1.15 * mean["i"]
    assert mean["i"] > mean["f"]


@pytest.mark.parametrize("symbol", "fv")
def test_lips_come_near_the_teeth(mouth: Mouth, space: ShapeSpace, symbol: str) -> None:
    wish = said(mouth, space, row(f"a{symbol}a", 0.2), 15)
    opened, _ = seen(space, wish)
    assert opened[5:10].max() < 0.6 * opened[:4].min()
    assert not wish.closed.any()


def test_spread_vowels_are_wider_than_rounded_ones(mouth: Mouth, space: ShapeSpace) -> None:
    mean = {s: seen(space, said(mouth, space, row(s, 0.4), 10))[1].mean() for s in "iuwo"}
    assert mean["i"] > max(mean["u"], mean["w"], mean["o"]) + 0.05


def test_a_glide_ends_as_another_vowel_than_it_began(mouth: Mouth, space: ShapeSpace) -> None:
    opened, width = seen(space, said(mouth, space, row("W", 0.8), 20))
    assert opened[3] > opened[16]
    assert width[3] > width[16]


def test_the_mouth_rests_in_long_pauses_and_not_in_short_ones(mouth: Mouth, space: ShapeSpace) -> None:
    # Two pauses that follow each other are one.
    long = said(mouth, space, [*row("a", 0.4), *row(PAUSE + PAUSE, 0.2, 0.4), *row("a", 0.4, 0.8)], 30)
    assert np.abs(long.codes[10:20] - space.rest).max() < 1e-9
    assert long.closed[10:20].all()
    short = said(mouth, space, [*row("a", 0.4), *row(PAUSE, 0.2, 0.4), *row("a", 0.4, 0.6)], 25)
    assert not short.closed.any()


def test_a_mouth_that_rests_open_is_left_open_in_pauses(lower: np.ndarray, space: ShapeSpace) -> None:
    rest = space.encode(faces(np.array([0.05]), np.array([0.6])))[0]
    agape = dataclasses.replace(space, rest=rest)
    mouth = Mouth(agape, lower, np.arange(FRAMES))
    wish = said(mouth, agape, [*row("a", 0.4), *row(PAUSE, 0.4, 0.4), *row("a", 0.4, 0.8)], 30)
    opened, _ = seen(agape, wish)
    assert opened[10:20] == pytest.approx(np.full(10, 0.05), abs=5e-3)
    assert np.abs(np.diff(opened)).max() < mouth.speed * 1.1
    assert not wish.closed.any()


def test_without_demands_the_sound_is_followed(mouth: Mouth, space: ShapeSpace, lower: np.ndarray) -> None:
    open_faces = lower[opening(lower) > CLOSED]
    heard = space.encode(open_faces)
    times = (np.arange(len(heard)) + 0.5) / media.FRAME_RATE
    for phones in ([], row("?", 0.4)):
        wish = mouth.follow(heard, times, phones)
        assert np.abs(seen(space, wish)[0] - opening(open_faces)).max() < 2e-3
        assert not wish.closed.any()


def test_a_mumbler_is_made_lively(mouth: Mouth, space: ShapeSpace, lower: np.ndarray) -> None:
    open_faces = lower[opening(lower) > CLOSED]
    life = opening(open_faces)
    mumbled = life.mean() + 0.6 * (life - life.mean()) - 0.02
    codes = space.encode(faces(mumbled, np.full(len(life), 0.63)))
    wish = mouth.follow(codes, (np.arange(len(life)) + 0.5) / media.FRAME_RATE, [])
    assert seen(space, wish)[0].mean() == pytest.approx(life.mean(), abs=0.01)
    assert seen(space, wish)[0].std() == pytest.approx(life.std(), rel=0.2)


def test_each_letter_has_one_demand() -> None:
    letters = "".join(demand.phones for demand in DEMANDS)
    assert len(letters) == len(set(letters))
    assert all(0 <= demand.least < demand.most <= 1 for demand in DEMANDS)


def test_closed_geometry_has_touching_lips_where_pixels_allow_it() -> None:
    source = faces(np.array([CLOSABLE / 2, 0.2]), np.array([0.6, 0.6]))[:, :, :2]
    source[:, UPPER_LIP, 1] = 0.0
    source[:, LOWER_LIP, 1] = np.array([[CLOSABLE / 2], [0.2]])
    goal = _shut(source, source + 0.01)
    gap = goal[:, LOWER_LIP, 1] - goal[:, UPPER_LIP, 1]
    assert np.abs(gap[0]).max() < 1e-9
    assert gap[1].min() > CLOSABLE


def rounded(phones: tuple[Phone, ...]) -> list[tuple[str, float, float]]:
    return [(p.symbol, round(p.start, 6), round(p.stop, 6)) for p in phones if p.stop - p.start > 1e-6]


@pytest.mark.parametrize("pace", [STEADY, LIVE])
def test_windows_tell_the_phones_of_their_own_sound(pace: Pace) -> None:
    rate, seconds = 24000, 45
    phones = row("abc" * 150, 0.1)
    chunks = [
        media.AudioChunk(
            np.zeros(rate, np.float32),
            rate,
            tuple(p.moved(-n) for p in phones if n <= p.start < n + 1),
        )
        for n in range(seconds)
    ]
    for window in windows(iter(chunks), pace):
        begin = (window.first - window.before) / media.FRAME_RATE
        end = begin + (window.before + window.count + window.after) / media.FRAME_RATE
        assert window.phones is not None
        assert rounded(window.phones) == rounded(media.sounding(phones, begin, end))
    unknown = [chunks[0], media.AudioChunk(chunks[1].samples, rate)]
    assert list(windows(iter(unknown), pace))[-1].phones is None
