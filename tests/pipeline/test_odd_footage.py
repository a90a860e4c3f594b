"""A GPU engine over footage as people have it: the face leaves, two people, other frame rates, turned, silent, long.

The networks are narrow and their weights made up; all else is the real way, from the file to the finished video.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modules import devices, media, pipeline
from modules.avatar import registry
from modules.avatar.base import LipSyncEngine
from modules.avatar.neural.runner import Runner
from modules.face.track import Track, track_footage
from modules.progress import Progress
from tests import made_weights, odd_clips

pytestmark = pytest.mark.slow
RATE = 24000
GONE = (2.0, 4.0)
# Of a grey level, mean over the picture: so much may encoding once more change.
ENCODED = 3.0

CLIPS: dict[str, Callable[[Path, Path], Path]] = {
    "deserted": lambda source, target: odd_clips.deserted(source, target, *GONE),
    "two people": odd_clips.side_by_side,
    "60 a second": lambda source, target: odd_clips.timed(source, target, Fraction(60)),
    "29.97 a second": lambda source, target: odd_clips.timed(source, target, Fraction(30000, 1001)),
    "turned": odd_clips.turned,
    "silent": odd_clips.muted,
}


@pytest.fixture(scope="module")
def source(shared_media: Path | None, talking_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shared_media is None:
        return talking_clip
    # Half its sides: these tests are about times and places, and all their pictures are looked at.
    return odd_clips.small(shared_media / "talk_man_20s.mp4", tmp_path_factory.mktemp("source") / "short.mp4", 6.5, 2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LipSyncEngine]:
    models = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        made_weights.trust(patch.setattr)
        made_weights.shrink(patch.setattr)
        made_weights.write(models, "wav2lip-96")
        engine = registry.create("wav2lip96", models, 2)
        yield engine
        engine.unload()


def timeline(seconds: float, work: Path) -> pipeline.Timeline:
    """A tone that swells and fades, spoken in pieces of five seconds."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = (0.2 * np.sin(2 * np.pi * 180 * times) * np.sin(np.pi * times) ** 2).astype(np.float32)
    work.mkdir(parents=True, exist_ok=True)
    media.write_wav(work / "sound.wav", sound, RATE)
    starts = range(0, len(sound), 5 * RATE)
    pieces = tuple(pipeline.Spoken("…", start, min(start + 5 * RATE, len(sound))) for start in starts)
    return pipeline.Timeline(work / "sound.wav", RATE, len(sound) * media.FRAME_RATE // RATE, pieces)


def rendered(engine: LipSyncEngine, clip: Path, seconds: float, folder: Path) -> tuple[pipeline.RenderResult, Track]:
    footage = media.probe(clip)
    track = track_footage(footage, None, Progress())
    avatar = engine.prepare(footage, track, folder / "prepared", {}, Progress())
    spoken = timeline(seconds, folder / "work")
    result = pipeline.render(
        spoken, engine, avatar, {}, None, "odd", folder / "work", folder / "out", Progress(), threads=2
    )
    bases = [avatar.loop.frame(number) for number in range(result.frames)]
    video = media.probe(result.video)
    assert video.frame_count == result.frames == spoken.frames
    assert len(media.read_sound(result.video, RATE)) / RATE == pytest.approx(result.seconds, abs=1 / media.FRAME_RATE)
    originals = list(media.read_frames(footage))
    for number, picture in enumerate(media.read_frames(video)):
        # What lies above the face shows which frame of the footage this is.
        top = max(2, int(track.landmarks[track.usable][:, :, 1].min()) // 2 * 2)
        own = np.abs(picture[:top].astype(int) - originals[bases[number]][:top]).mean()
        assert own < ENCODED, f"frame {number} is not frame {bases[number]} of the footage"
    return result, track


@pytest.mark.parametrize("kind", CLIPS)
def test_every_footage_gives_a_right_video(kind: str, engine: LipSyncEngine, source: Path, tmp_path: Path) -> None:
    clip = CLIPS[kind](source, tmp_path / "clip.mp4")
    footage, plain = media.probe(clip), media.probe(source)
    assert footage.duration == pytest.approx(plain.duration, abs=0.05)
    if kind == "turned":
        assert (footage.width, footage.height) == (plain.width, plain.height)
    _, track = rendered(engine, clip, 7.0, tmp_path)
    if kind == "deserted":
        away = slice(round(GONE[0] * media.FRAME_RATE) + 1, round(GONE[1] * media.FRAME_RATE) - 1)
        assert not track.usable[away].any()
    if kind == "two people":
        # One of the two is followed all the time.
        middles = track.landmarks[track.usable][:, :, 0].mean(1)
        assert np.ptp(middles) < footage.width / 4


def test_frames_without_a_face_pass_untouched(engine: LipSyncEngine, source: Path, tmp_path: Path) -> None:
    """Where the loop has to run over them: a third of a second is bridged."""
    clip = odd_clips.deserted(source, tmp_path / "clip.mp4", 3.0, 3.3)
    footage = media.probe(clip)
    track = track_footage(footage, None, Progress())
    avatar = engine.prepare(footage, track, tmp_path / "prepared", {}, Progress())
    loop = [avatar.loop.frame(number) for number in range(150)]
    assert set(range(76, 82)) <= set(loop)
    sound = media.read_sound(source, 16000)
    faces = list(engine.animate(avatar, iter([media.AudioChunk(sound[: 16000 * 6], 16000)]), {}))
    drawn = {face.base for face in faces if face.patch is not None}
    assert drawn
    assert not drawn & set(range(76, 82))


class Negative(nn.Module):
    """Gives back what it sees, its colours turned round."""

    def forward(self, crops: Tensor, heard: Tensor) -> Tensor:
        """(B, S, S, 3) uint8, (B, ...) -> (B, S, S, 3) uint8."""
        return 255 - crops


def test_half_an_hour_ends_with_picture_and_sound_together(
    engine: LipSyncEngine, talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pictures and next to no network: what is looked at is their number and their order."""
    monkeypatch.setattr(engine, "_runner", Runner(Negative(), devices.choose("cpu"), torch.float32, (16,)))
    track = track_footage(media.probe(talking_clip), None, Progress()).part(0, 100)
    footage = media.probe(odd_clips.small(talking_clip, tmp_path / "clip.mp4", 4.0, 4))
    track = dataclasses.replace(track, landmarks=track.landmarks / 4)
    avatar = engine.prepare(footage, track, tmp_path / "prepared", {}, Progress())
    spoken = timeline(1800.0, tmp_path / "work")
    result = pipeline.render(
        spoken, engine, avatar, {}, None, "long", tmp_path / "work", tmp_path / "out", Progress(), threads=2
    )
    assert result.frames == 45000
    video = media.probe(result.video)
    assert video.frame_count == 45000
    assert video.duration == pytest.approx(1800.0, abs=1 / media.FRAME_RATE)
    originals = list(media.read_frames(footage))
    last = list(media.read_frames(video, 44950))
    for number, picture in enumerate(last, start=44950):
        own = originals[avatar.loop.frame(number)]
        assert np.abs(picture[:16].astype(int) - own[:16]).mean() < ENCODED
