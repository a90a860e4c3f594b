"""The render way around the engines: exact lengths, sync, resume, labels and limits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from modules import media, pipeline, script
from modules.avatar.base import PreparedAvatar
from modules.media import FRAME_RATE, PAUSE, AudioChunk, Phone
from modules.progress import Progress
from modules.voice_clone.base import EnrolledVoice
from tests.fakes import MARK, RATE, FakeLips, FakeVoice, brightness

WIDTH, HEIGHT = 96, 128
FOOTAGE_FRAMES = 40
SCRIPT = "一二三四五六七八九十，一二三四五六七八九十，一二三四五六七八九十。[0.5s]" * 7
VOICE = EnrolledVoice("fake", Path("unused"))


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> PreparedAvatar:
    folder = tmp_path_factory.mktemp("footage")
    path = folder / "footage.mp4"
    with media.VideoWriter(path, WIDTH, HEIGHT, media.ColorTags()) as writer:
        for _ in range(FOOTAGE_FRAMES):
            writer.write(np.full((HEIGHT * 3 // 2, WIDTH), 60, np.uint8))
    return FakeLips().prepare(media.probe(path), None, folder, {}, Progress())


def spoken(work: Path, voice: FakeVoice, text: str = SCRIPT, limit: float | None = None) -> pipeline.Timeline:
    work.mkdir(exist_ok=True)
    return pipeline.speak(script.parse(text, 20000), voice, VOICE, {}, work, Progress(), limit)


def rendered(
    work: Path,
    output: Path,
    avatar: PreparedAvatar,
    timeline: pipeline.Timeline,
    lips: FakeLips,
    label: str | None = None,
) -> pipeline.RenderResult:
    return pipeline.render(timeline, lips, avatar, {}, label, "f" * 32, work, output, Progress(), 2)


def levels(video: Path) -> list[float]:
    """Mean luma of the square in each frame."""
    with av.open(str(video)) as container:
        return [
            float(f.to_ndarray(format="gray")[4 : MARK - 4, 4 : MARK - 4].mean()) for f in container.decode(video=0)
        ]


def test_picture_and_sound_are_exact_to_the_last_frame(tmp_path: Path, avatar: PreparedAvatar) -> None:
    timeline = spoken(tmp_path / "work", FakeVoice())
    assert sum(len(pipeline.segments(take)) for take in pipeline.takes(timeline)) >= 3
    result = rendered(tmp_path / "work", tmp_path / "out", avatar, timeline, FakeLips())
    found = levels(result.video)
    sound = media.read_sound(result.video, RATE)
    assert len(found) == result.frames == timeline.frames
    assert abs(len(sound) / RATE - result.seconds) <= 1 / FRAME_RATE
    # Frame by frame: the square is there exactly when the decoded sound of that frame is, with its own number.
    step = RATE // FRAME_RATE
    loud = [bool(np.abs(sound[n * step : (n + 1) * step]).max(initial=0) > 0.1) for n in range(result.frames)]
    shown = [level > 100 for level in found]
    edges = {n for n in range(1, len(loud)) if loud[n] != loud[n - 1]}
    assert [n for n in range(len(loud)) if loud[n] != shown[n] and not {n, n + 1} & edges] == []
    wrong = [n for n in range(len(loud)) if shown[n] and abs(found[n] - brightness(n)) > 6]
    assert wrong == []


def test_takes_are_cut_in_silence_and_segments_cover_them(tmp_path: Path) -> None:
    timeline = spoken(tmp_path / "work", FakeVoice())
    takes = pipeline.takes(timeline)
    assert len(takes) > 1
    assert [number for take in takes for number in take] == list(range(timeline.frames))
    assert all(len(take) <= pipeline.TAKE_FRAMES for take in takes)
    sound = media.read_wav(timeline.sound).samples
    for take in takes[:-1]:
        end = take.stop * RATE // FRAME_RATE
        assert np.abs(sound[end - 480 : end + 480]).max() == 0
    for take in takes:
        cut = pipeline.segments(take)
        assert [number for segment in cut for number in segment] == list(take)
        assert max(map(len, cut)) <= pipeline.SEGMENT_FRAMES and max(map(len, cut)) - min(map(len, cut)) <= 1


def test_what_dies_away_is_part_of_the_pause_that_was_written(tmp_path: Path) -> None:
    class Echoing(FakeVoice):
        """Each sentence dies away for 0.4 s."""

        def speak(self, *asked: Any) -> Iterator[AudioChunk]:
            for chunk in super().speak(*asked):
                seconds = len(chunk.samples) / RATE
                phones = (*(chunk.phones or ()), Phone(PAUSE, seconds, seconds + 0.4))
                yield AudioChunk(np.concatenate([chunk.samples, np.zeros(round(0.4 * RATE), np.float32)]), RATE, phones)

    text = "今天天气不错。[1.5s]我们走。明天见。"
    dry, echoing = spoken(tmp_path / "dry", FakeVoice(), text), spoken(tmp_path / "echoing", Echoing(), text)
    # The pause after the second sentence is shorter than its echo.
    longer = round((0.4 - script.SENTENCE_PAUSE) * RATE)
    expected = [(one.start + moved, one.stop + moved) for one, moved in zip(dry.spoken, (0, 0, longer), strict=True)]
    assert [(one.start, one.stop) for one in echoing.spoken] == expected
    assert echoing.phones is not None
    assert all(phone.stop > phone.start for phone in echoing.phones)
    assert echoing.phones[-1].stop == pytest.approx(echoing.seconds, abs=1e-3)


def test_one_long_utterance_is_one_take(tmp_path: Path) -> None:
    pieces = (pipeline.Spoken("a", 0, 30 * RATE), pipeline.Spoken("b", 31 * RATE, 32 * RATE))
    timeline = pipeline.Timeline(tmp_path / "none.wav", RATE, 800, pieces)
    assert pipeline.takes(timeline) == [range(762), range(762, 800)]


@pytest.mark.parametrize("take", [0, 1])
def test_a_stopped_render_goes_on_and_ends_as_one_that_never_stopped(
    tmp_path: Path, avatar: PreparedAvatar, take: int
) -> None:
    whole = rendered(tmp_path / "a", tmp_path / "out_a", avatar, spoken(tmp_path / "a", FakeVoice()), FakeLips())
    timeline = spoken(tmp_path / "b", FakeVoice())
    second_segment = pipeline.segments(pipeline.takes(timeline)[take])[1]
    with pytest.raises(RuntimeError, match="power") as failed:
        rendered(tmp_path / "b", tmp_path / "out_b", avatar, timeline, FakeLips(fail_at=second_segment.start + 5))
    # Whoever still holds the error holds no thread with it.
    assert failed.value.__traceback__ and "prefetch" not in [thread.name for thread in threading.enumerate()]
    assert not (tmp_path / "out_b" / "video.mp4").exists()
    voice, lips = FakeVoice(), FakeLips()
    resumed = rendered(tmp_path / "b", tmp_path / "out_b", avatar, spoken(tmp_path / "b", voice), lips)
    assert voice.spoken == []  # nothing is spoken twice
    assert min(lips.animated) == second_segment.start  # nor rendered twice
    # What lies before is told again, so that the mouth goes on where it was.
    assert lips.phones[0].start < second_segment.start / FRAME_RATE - 1
    assert resumed.frames == whole.frames
    assert levels(resumed.video) == levels(whole.video)
    assert [p for p in (tmp_path / "b").rglob("*") if p.suffix == ".part"] == []


def test_the_lips_are_told_what_is_said_when(tmp_path: Path, avatar: PreparedAvatar) -> None:
    timeline = spoken(tmp_path / "a", FakeVoice())
    assert timeline.phones is not None
    assert timeline.phones[0].symbol == timeline.phones[-1].symbol == media.PAUSE
    assert [a.stop for a in timeline.phones[:-1]] == pytest.approx([b.start for b in timeline.phones[1:]], abs=1e-3)
    assert timeline.phones[-1].stop == pytest.approx(timeline.seconds)
    heard = [phone for phone in timeline.phones if phone.symbol != media.PAUSE]
    assert "".join(phone.symbol for phone in heard) == "".join(utterance.text for utterance in timeline.spoken)
    for utterance, phone in zip(timeline.spoken, heard[:: len(timeline.spoken[0].text)], strict=True):
        assert phone.start == pytest.approx(utterance.start / RATE, abs=1e-3)
    # Asked again, nothing is spoken and the files tell the same.
    assert spoken(tmp_path / "a", FakeVoice()) == timeline
    lips = FakeLips()
    rendered(tmp_path / "a", tmp_path / "out", avatar, timeline, lips)
    told = [phone for phone in lips.phones if phone.symbol != media.PAUSE]
    # Some are told twice: what was spoken before goes before each take.
    once = list(dict.fromkeys((p.symbol, round(p.start, 3)) for p in told))
    assert once == [(p.symbol, round(p.start, 3)) for p in heard]


def test_a_preview_tells_phones_up_to_its_end(tmp_path: Path) -> None:
    timeline = spoken(tmp_path / "work", FakeVoice(), limit=pipeline.PREVIEW_SECONDS)
    assert timeline.phones is not None
    assert timeline.phones[-1].stop == pytest.approx(pipeline.PREVIEW_SECONDS)


def test_preview_is_three_seconds(tmp_path: Path, avatar: PreparedAvatar) -> None:
    voice = FakeVoice()
    timeline = spoken(tmp_path / "work", voice, limit=pipeline.PREVIEW_SECONDS)
    result = rendered(tmp_path / "work", tmp_path / "out", avatar, timeline, FakeLips())
    assert result.frames == 3 * FRAME_RATE == len(levels(result.video))
    assert len(voice.spoken) == 1


def test_labels(tmp_path: Path, avatar: PreparedAvatar) -> None:
    timeline = spoken(tmp_path / "a", FakeVoice(), "一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十。")
    labelled = rendered(tmp_path / "a", tmp_path / "out_a", avatar, timeline, FakeLips(), label="zh-CN")
    plain_line = spoken(tmp_path / "b", FakeVoice(), "一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十。")
    plain = rendered(tmp_path / "b", tmp_path / "out_b", avatar, plain_line, FakeLips())
    assert _labelled(labelled.video) == [n < 50 for n in range(labelled.frames)]
    assert not any(_labelled(plain.video))
    for result in (labelled, plain):
        with av.open(str(result.video)) as container:
            assert json.loads(container.metadata["AIGC"])["ProduceID"] == "f" * 32


def _labelled(video: Path) -> list[bool]:
    """Whether the upper left corner, evenly grey otherwise, has writing on it."""
    with av.open(str(video)) as container:
        return [bool(f.to_ndarray(format="gray")[:16, :40].std() > 15) for f in container.decode(video=0)]


def test_disk_space_stays_below_what_was_stated(tmp_path: Path) -> None:
    """Noise is the worst picture to compress: even that keeps to the bound."""
    noise = np.random.default_rng(0)
    path = tmp_path / "noise.mp4"
    width, height = 320, 240
    with media.VideoWriter(path, width, height, media.ColorTags(), crf=1) as writer:
        for _ in range(50):
            writer.write(noise.integers(16, 235, (height * 3 // 2, width), dtype=np.uint8))
    footage = media.probe(path)
    lips = FakeLips()
    noisy = lips.prepare(footage, None, tmp_path, {}, Progress())
    timeline = spoken(tmp_path / "work", FakeVoice(), SCRIPT[:60])
    result = rendered(tmp_path / "work", tmp_path / "out", noisy, timeline, lips)
    used = sum(file.stat().st_size for folder in ("work", "out") for file in (tmp_path / folder).rglob("*.*"))
    assert used <= pipeline.disk_needed(width, height, result.seconds)


def test_subtitles_say_each_sentence_when_it_is_spoken(tmp_path: Path, avatar: PreparedAvatar) -> None:
    timeline = spoken(tmp_path / "work", FakeVoice(), "第一句话。第二句话。")
    result = rendered(tmp_path / "work", tmp_path / "out", avatar, timeline, FakeLips())
    lines = result.subtitles.read_text(encoding="utf-8")
    assert "第一句话。" in lines and "第二句话。" in lines
    assert "00:00:00,240 --> 00:00:00,740" in lines
