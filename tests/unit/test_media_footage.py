"""Whatever a camera wrote becomes upright, even, limited-range pictures at 25 a second, or one clear error."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from modules import media
from modules.errors import StudioError
from modules.media.frames import from_video_frame
from tests.odd_clips import clicks, faststart, level_at, steady, truncated, write_clip, write_photo


def levels(footage: media.Footage) -> list[float]:
    """Mean luma of each picture."""
    return [float(media.planes(frame)[0].mean()) for frame in media.read_frames(footage)]


@pytest.fixture(scope="module")
def grey_scale() -> np.ndarray:
    """Luma that each grey level becomes in limited-range BT.601."""
    return np.array([16 + level * 219 / 255 for level in range(256)])


@pytest.mark.parametrize("rate", [24, 25, Fraction(30000, 1001), 30, 50, 60])
def test_any_rate_becomes_25_by_time(tmp_path: Path, rate: float, grey_scale: np.ndarray) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(float(rate), 3)))
    assert abs(footage.frame_count - 75) <= 1
    assert footage.source_rate == pytest.approx(float(rate), rel=0.02)
    for index, level in enumerate(levels(footage)):
        seen = np.abs(grey_scale - level).argmin()
        shown_at = (seen - 30) / 66
        assert abs(shown_at - index / 25) <= 0.5 / float(rate) + 0.025


def test_uneven_times_keep_the_clock(tmp_path: Path, grey_scale: np.ndarray) -> None:
    times = [0.0, 0.03, 0.1, 0.11, 0.5, 1.2, 1.21, 1.3, 2.0, 2.04, 2.5]
    footage = media.probe(write_clip(tmp_path / "vfr.mp4", times))
    for index, level in enumerate(levels(footage)):
        tick = index / 25
        allowed = [max(time for time in times if time <= tick)]
        allowed += [time for time in times if abs(time - tick) <= 0.0201]
        assert any(abs(level - grey_scale[level_at(time)]) <= 2.5 for time in allowed), index


def test_webm_of_a_browser_recording(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "webcam.webm", steady(30, 2), codec="libvpx-vp9", sound=clicks(2), container="webm")
    footage = media.probe(clip)
    assert abs(footage.frame_count - 50) <= 1 and footage.has_sound
    assert len(list(media.read_frames(footage, 30, 40))) == 10


@pytest.mark.parametrize(("degrees", "corner"), [(90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_rotation_is_applied(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    """A counter-clockwise turn takes the bright top left corner to bottom left, and so on."""
    clip = write_clip(tmp_path / "turned.mp4", steady(25, 0.4), rotation=degrees, bright_corner=True)
    footage = media.probe(clip)
    assert (footage.width, footage.height) == ((48, 64) if degrees % 180 else (64, 48))
    luma = media.planes(next(media.read_frames(footage)))[0]
    rows, columns = luma.shape
    y, x = corner[0] * (rows - 5), corner[1] * (columns - 5)
    assert luma[y : y + 5, x : x + 5].mean() > 200
    assert np.median(luma) < 80


def test_odd_sizes_lose_a_line_and_nothing_else(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "odd.mp4", steady(25, 0.4), width=65, height=49, pixel_format="yuv444p")
    footage = media.probe(clip)
    assert (footage.width, footage.height) == (64, 48)
    assert next(media.read_frames(footage)).shape == (72, 64)


def test_wide_pixels_are_stretched(tmp_path: Path) -> None:
    footage = media.probe(write_clip(tmp_path / "dv.mp4", steady(25, 0.4), aspect=Fraction(4, 3), width=72))
    assert (footage.width, footage.height) == (96, 48)
    assert next(media.read_frames(footage)).shape == (72, 96)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p", "yuvj420p", "yuv422p10le"])
def test_every_pixel_format_gives_the_same_grey(tmp_path: Path, pixel_format: str, grey_scale: np.ndarray) -> None:
    full = pixel_format == "yuvj420p"
    clip = write_clip(tmp_path / "grey.mp4", steady(25, 0.4), pixel_format=pixel_format, full_range=full)
    footage = media.probe(clip)
    frame = next(media.read_frames(footage))
    luma, u, v = media.planes(frame)
    assert float(luma.mean()) == pytest.approx(grey_scale[level_at(0)], abs=2)
    assert abs(float(u.mean()) - 128) < 2 and abs(float(v.mean()) - 128) < 2
    assert footage.color.range == 1


def test_seeking_gives_the_same_pictures_as_reading_on(tmp_path: Path) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(30, 4), width=128, height=96))
    whole = list(media.read_frames(footage))
    assert len(whole) == footage.frame_count
    for start in (1, 13, 50, 77, footage.frame_count - 1):
        part = list(media.read_frames(footage, start, start + 5))
        wanted = whole[start : start + 5]
        assert all(np.array_equal(a, b) for a, b in zip(part, wanted, strict=False)), start


def test_running_order_to_and_fro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(25, 3)))
    whole = list(media.read_frames(footage))
    monkeypatch.setattr("modules.media.decode.BUFFER_BYTES", 10 * whole[0].nbytes)
    order = [*range(75), *range(73, 0, -1), 0, 0, 1, 1, 2, 70, 69, 69, 68, 3]
    read = list(media.read_order(footage, order))
    assert len(read) == len(order)
    assert all(np.array_equal(frame, whole[index]) for frame, index in zip(read, order, strict=True))


def test_running_order_holds_a_bounded_number_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(25, 3)))
    frame_bytes = footage.width * footage.height * 3 // 2
    monkeypatch.setattr("modules.media.decode.BUFFER_BYTES", 10 * frame_bytes)
    asked: list[int] = []

    def counting(footage: media.Footage, start: int, stop: int) -> object:
        asked.append(stop - start)
        return media.read_frames(footage, start, stop)

    monkeypatch.setattr("modules.media.decode.read_frames", counting)
    assert len(list(media.read_order(footage, range(74, -1, -1)))) == 75
    assert max(asked) <= 10


def test_a_spool_decodes_each_picture_once_and_gives_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(25, 3)))
    whole = list(media.read_frames(footage))
    decoded: list[int] = []

    def counting(footage: media.Footage, start: int, stop: int) -> Iterator[media.I420]:
        decoded.extend(range(start, stop))
        return media.read_frames(footage, start, stop)

    monkeypatch.setattr("modules.media.spool.read_frames", counting)
    there_and_back = [*range(10, 70), *range(68, 9, -1)]
    orders = [there_and_back, 3 * there_and_back, there_and_back[90:] + there_and_back, [10, 69, 30, 30], [20, 21, 22]]
    for order in orders:
        decoded.clear()
        for index, frame in zip(order, media.read_spooled(footage, order, tmp_path / "loop", 4), strict=True):
            assert np.array_equal(frame, whole[index]), (order, index)
            used = sum(file.stat().st_size for file in (tmp_path / "loop").iterdir())
            assert used <= media.spool_bytes(footage, order)
            frame[:] = 0  # each is the caller's own
        assert not (tmp_path / "loop").exists()
        assert len(decoded) == len(set(decoded)) and set(decoded) >= set(order)


def test_a_spool_keeps_only_what_is_asked_for_again_and_leaves_nothing(tmp_path: Path) -> None:
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(25, 3)))
    once = media.read_spooled(footage, range(75), tmp_path / "loop", 2)
    for _ in range(75):
        next(once)
        assert not any(file.stat().st_size for file in (tmp_path / "loop").iterdir())
    again = media.read_spooled(footage, [*range(75), *range(73, -1, -1)], tmp_path / "other", 2)
    for _ in range(80):
        next(again)
    assert any(file.stat().st_size for file in (tmp_path / "other").iterdir())
    again.close()
    assert not (tmp_path / "other").exists()


def test_a_spool_that_fills_the_disk_says_so_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    """Somebody else took the space in between: the look before said that there was enough."""
    footage = media.probe(write_clip(tmp_path / "clip.mp4", steady(25, 1), width=640, height=480))
    for threads in (1, 4):
        order = [*range(25), *range(23, -1, -1)]
        with pytest.raises(StudioError, match="disk_full") as full:
            for _ in media.read_spooled(footage, order, small_disk / "loop", threads):
                pass
        assert full.value.retryable and not list(small_disk.iterdir())


def test_pictures_belong_to_the_caller(tmp_path: Path) -> None:
    footage = media.probe(write_clip(tmp_path / "slow.mp4", [0.0, 0.4, 0.8]))
    before = levels(footage)
    after = []
    for frame in media.read_frames(footage):
        after.append(float(media.planes(frame)[0].mean()))
        frame[:] = 0
    assert after == before


def test_a_cut_off_file_gives_what_is_there(tmp_path: Path) -> None:
    whole = faststart(write_clip(tmp_path / "a.mp4", steady(25, 4), width=320, height=240), tmp_path / "b.mp4")
    footage = media.probe(truncated(whole, tmp_path / "cut.mp4", 0.7))
    assert 10 < footage.frame_count < 100
    assert len(list(media.read_frames(footage))) == footage.frame_count


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.mp4", b"", "media_empty"),
        ("text.mp4", "这不是视频。Not a video.\n".encode() * 50, "media_unreadable"),
        ("playlist.mp4", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "media_unreadable"),
        ("list.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "media_unreadable"),
        ("page.mp4", b"<html><body>" + b"x" * 500, "media_unreadable"),
        ("phone.jpg", b"\x00\x00\x00\x18ftypheic" + b"\x00" * 300, "media_photo_format"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 300, "media_unreadable"),
    ],
)
def test_what_is_no_media_gets_one_clear_error(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudioError) as caught:
        media.probe(tmp_path / name)
    assert caught.value.code == code


def test_missing_header_missing_file_and_sound_only(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", steady(25, 2))
    media.write_wav(tmp_path / "sound.mp4", clicks(1), 48000)
    for path, code in [
        (truncated(clip, tmp_path / "cut.mp4", 0.5), "media_unreadable"),
        (tmp_path / "nowhere.mp4", "media_missing"),
        (tmp_path / "sound.mp4", "media_no_picture"),
    ]:
        with pytest.raises(StudioError) as caught:
            media.probe(path)
        assert caught.value.code == code


def test_a_playlist_cannot_reach_another_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.mp4", steady(25, 1))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(StudioError):
        media.probe(tmp_path / "list.mp4")


def test_limits(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", steady(25, 2), width=128)
    assert media.probe(clip, max_seconds=2.1, max_side=128).frame_count == 50
    for limits, code in [({"max_seconds": 1.0}, "media_too_long"), ({"max_side": 100}, "media_too_large")]:
        with pytest.raises(StudioError) as caught:
            media.probe(clip, **limits)
        assert caught.value.code == code


def test_names_of_every_kind_work(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "plain.mp4", steady(25, 0.4))
    for name in ("我的 视频 😀.mp4", "a%03d.mp4", "http:--x.mp4", "no extension", "-dash.mp4", "quote'\".mp4"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        assert media.probe(path).frame_count == 10


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photos_are_upright(tmp_path: Path, orientation: int) -> None:
    photo = write_photo(tmp_path / "photo.bin", (81, 60), orientation=orientation)
    footage = media.probe(photo)
    assert footage.kind == "photo" and footage.frame_count == 1 and not footage.has_sound
    assert (footage.width, footage.height) == ((60, 80) if orientation in (6, 8) else (80, 60))
    luma = media.planes(next(media.read_frames(footage)))[0]
    bright = {1: (0, 0), 3: (-1, -1), 6: (0, -1), 8: (-1, 0)}[orientation]
    assert luma[bright] > 200 and np.median(luma) < 60
    assert len(list(media.read_order(footage, [0, 0, 0]))) == 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_photo_formats_and_large_photos(tmp_path: Path, kind: str) -> None:
    footage = media.probe(write_photo(tmp_path / "large", (4000, 2000), kind=kind))
    assert (footage.width, footage.height) == (1920, 960)
    assert next(media.read_frames(footage)).shape == (1440, 1920)


def test_colour_conversion_is_its_own_inverse() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(40, 200, (6, 8, 3)).astype(np.uint8)
    bgr = np.kron(small, np.ones((8, 8, 1), np.uint8))
    again = media.to_bgr(media.to_i420(bgr))
    assert np.abs(again.astype(int) - bgr).max() <= 4


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_give_pictures_or_one_clear_error(tmp_path: Path, seed: int) -> None:
    """Bytes changed at random, most of them in the header: never another error, never a missing picture."""
    rng = random.Random(seed)
    sources = [
        faststart(write_clip(tmp_path / "a.mp4", steady(30, 1), sound=clicks(1)), tmp_path / "b.mp4"),
        write_clip(tmp_path / "c.webm", steady(30, 1), codec="libvpx", container="webm", sound=clicks(1)),
        write_clip(tmp_path / "d.ts", steady(25, 1), container="mpegts", sound=clicks(1), layout="stereo"),
        write_photo(tmp_path / "e.jpg", (80, 60), orientation=6),
        write_photo(tmp_path / "f.webp", (80, 60), kind="WEBP"),
    ]
    for number in range(60):
        data = bytearray(rng.choice(sources).read_bytes())
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(min(len(data), rng.choice([2000, 10**9])))] = rng.randrange(256)
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data[: rng.randrange(len(data))] if number % 5 == 0 else data)
        try:
            footage = media.probe(path, max_seconds=60, max_side=4096)
            assert sum(1 for _ in media.read_frames(footage)) == footage.frame_count
            media.read_sound(path, 16000)
        except StudioError as error:
            assert error.code.startswith("media_")


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize(("kind", "scale"), [("yuv444p10le", 4), ("yuv422p", 1), ("yuv420p10le", 4), ("yuvj422p", 1)])
def test_colours_keep_their_numbers(kind: str, scale: int, matrix: int) -> None:
    """Only depth, range and subsampling change: no matrix is applied, the tags go to the encoder as they are."""
    frame = av.VideoFrame(64, 48, kind)
    for plane, value in zip(frame.planes, (100, 175, 75), strict=True):
        np.frombuffer(plane, np.uint16 if scale > 1 else np.uint8)[:] = value * scale
    frame.colorspace = matrix
    wanted = (102, 170, 82) if kind.startswith("yuvj") else (100, 175, 75)
    got = media.planes(from_video_frame(frame, 64, 48))
    assert [int(np.median(plane)) for plane in got] == pytest.approx(wanted, abs=1)
