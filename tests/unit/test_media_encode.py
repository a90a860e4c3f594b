"""Written video is exactly what was given: every picture, at its time, with its sound."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from modules import media
from modules.errors import Cancelled, StudioError
from modules.progress import Progress
from tests.odd_clips import SOUND_RATE, clicks, level_at, onsets

WIDTH, HEIGHT = 96, 64
COLOR = media.ColorTags(primaries=1, transfer=1, matrix=1)


def picture(index: int) -> media.I420:
    """A picture whose grey level and moving bar depend on its number."""
    frame = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    luma = media.planes(frame)[0]
    luma[:] = level_at(index / 25)
    luma[:, index * 3 % WIDTH :][:, :6] = 235
    return frame


def write_segment(path: Path, first: int, last: int, **settings: int | str) -> Path:
    with media.VideoWriter(path, WIDTH, HEIGHT, COLOR, **settings) as writer:
        for index in range(first, last):
            writer.write(picture(index))
    return path


def test_every_picture_comes_back_with_its_colour_tags(tmp_path: Path) -> None:
    footage = media.probe(write_segment(tmp_path / "a.mp4", 0, 40, crf=4))
    frames = list(media.read_frames(footage))
    assert len(frames) == footage.frame_count == 40
    assert footage.color == COLOR
    for index, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - picture(index)).mean() < 1.5


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Cancelled), media.VideoWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, COLOR) as writer:
        writer.write(picture(0))
        raise Cancelled
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("preset", ["superfast", "medium", "ultrafast"])
def test_joined_segments_are_one_film(tmp_path: Path, preset: str) -> None:
    """Segments with B-frames, some of them shorter than the encoder's delay, and sound of another rate."""
    cuts = [0, 30, 31, 33, 36, 60, 61, 90, 131]
    segments = [
        write_segment(tmp_path / f"{number}.mp4", first, last, preset=preset, crf=10)
        for number, (first, last) in enumerate(itertools.pairwise(cuts))
    ]
    total = cuts[-1]
    media.write_wav(tmp_path / "sound.wav", media.resample(clicks(total / 25), SOUND_RATE, 24000), 24000)
    output = tmp_path / "成片 out.mp4"
    label = {"AIGC": '{"Label": "1", "作者": "分身"}', "title": "a"}
    shares: list[float] = []
    media.join(segments, tmp_path / "sound.wav", output, label, Progress(lambda share, stage: shares.append(share)))

    with av.open(str(output)) as container:
        assert container.metadata["AIGC"] == label["AIGC"]
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == total
        assert audio.rate == SOUND_RATE
        assert float(audio.duration * audio.time_base) == pytest.approx(total / 25, abs=1 / SOUND_RATE)
        packets = [(packet.dts, packet.pts) for packet in container.demux(video) if packet.pts is not None]
        ticks = [round(pts * video.time_base * 25, 6) for _, pts in packets]
        assert sorted(ticks) == list(range(total))
        decode_times = [dts for dts, _ in packets]
        assert all(later > earlier for earlier, later in itertools.pairwise(decode_times))
        assert all(dts <= pts for dts, pts in packets)
    footage = media.probe(output)
    assert footage.frame_count == total
    for index, frame in enumerate(media.read_frames(footage)):
        assert np.abs(frame.astype(int) - picture(index)).mean() < 3, index
    heard = media.read_sound(output, 48000)
    assert onsets(heard, 48000) == pytest.approx(np.arange(0.1, total / 25 - 0.05, 0.5), abs=0.003)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert output.with_name(output.name + ".part").exists() is False


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0])
def test_sound_is_cut_or_filled_to_the_pictures(tmp_path: Path, seconds: float) -> None:
    segment = write_segment(tmp_path / "a.mp4", 0, 50)
    media.write_wav(tmp_path / "s.wav", np.zeros(round(seconds * 16000), np.float32), 16000)
    media.join([segment], tmp_path / "s.wav", tmp_path / "out.mp4", {}, Progress())
    with av.open(str(tmp_path / "out.mp4")) as container:
        audio = container.streams.audio[0]
        assert float(audio.duration * audio.time_base) == pytest.approx(2.0, abs=1e-4)


def test_the_header_lies_in_front(tmp_path: Path) -> None:
    """A browser can play the film before all of it has arrived."""
    segment = write_segment(tmp_path / "a.mp4", 0, 25)
    media.write_wav(tmp_path / "s.wav", clicks(1), SOUND_RATE)
    media.join([segment], tmp_path / "s.wav", tmp_path / "out.mp4", {}, Progress())
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_other_settings_a_cancel_and_a_broken_segment_leave_no_film(tmp_path: Path) -> None:
    first = write_segment(tmp_path / "a.mp4", 0, 30)
    with media.VideoWriter(tmp_path / "b.mp4", WIDTH * 2, HEIGHT, COLOR) as writer:
        writer.write(np.zeros((HEIGHT * 3 // 2, WIDTH * 2), np.uint8))
    media.write_wav(tmp_path / "s.wav", clicks(1), SOUND_RATE)
    output = tmp_path / "out.mp4"
    with pytest.raises(ValueError, match="other settings"):
        media.join([first, tmp_path / "b.mp4"], tmp_path / "s.wav", output, {}, Progress())
    with pytest.raises(Cancelled):
        media.join([first], tmp_path / "s.wav", output, {}, Progress(cancelled=lambda: True))
    (tmp_path / "c.mp4").write_bytes(first.read_bytes()[:100])
    for segments in (["a.mp4", "c.mp4"], ["c.mp4"]):
        with pytest.raises(StudioError) as caught:
            media.join([tmp_path / name for name in segments], tmp_path / "s.wav", output, {}, Progress())
        assert (caught.value.code, caught.value.values["name"]) == ("media_unreadable", "c.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4", "c.mp4", "s.wav"}


def test_prefetch_keeps_order_and_passes_errors() -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        for item in media.prefetch(source(), 2):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]


def test_prefetch_is_bounded_and_closes_its_source() -> None:
    made: list[int] = []
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            for index in range(1000):
                made.append(index)
                yield index
        finally:
            closed.set()

    reader = media.prefetch(source(), 3)
    for taken in range(500):
        assert next(reader) == taken
        # Those taken, those that wait, and one in hand.
        assert len(made) <= taken + 1 + 3 + 1
    before = threading.active_count()
    reader.close()
    assert closed.is_set()
    assert threading.active_count() < before


@pytest.mark.slow
def test_ten_minutes_end_in_step(tmp_path: Path) -> None:
    """The last click of 10 min of joined film lies within one picture of where it was put."""
    seconds, part = 600, 20
    segments = [
        write_segment(tmp_path / f"{first}.mp4", first * 25, (first + part) * 25, preset="ultrafast")
        for first in range(0, seconds, part)
    ]
    media.write_wav(tmp_path / "s.wav", media.resample(clicks(seconds, every=10), SOUND_RATE, 24000), 24000)
    output = tmp_path / "out.mp4"
    media.join(segments, tmp_path / "s.wav", output, {}, Progress())
    footage = media.probe(output)
    assert footage.frame_count == seconds * 25
    last = next(media.read_frames(footage, footage.frame_count - 1))
    assert np.abs(last.astype(int) - picture(footage.frame_count - 1)).mean() < 4
    heard = onsets(media.read_sound(output, 16000, seconds - 20.0), 16000)
    assert heard == pytest.approx([0.1, 10.1], abs=0.005)
