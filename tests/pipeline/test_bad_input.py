"""What users bring that cannot work: each gets one clear sentence in both languages, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modules import settings, translate
from modules.errors import StudioError
from modules.jobs import tasks
from modules.jobs.studio import Studio
from modules.progress import Progress
from tests import odd_clips


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """A studio without a worker: the tests run its tasks themselves."""
    return Studio(settings.load(data_dir=tmp_path / "data"))


def run(studio: Studio, kind: str, **params: Any) -> dict[str, Any]:
    job_id = studio.submit(kind, **params)
    return tasks.run(studio.settings, job_id, kind, studio.job(job_id).params, Progress())


def refused(act: Callable[[], object]) -> str:
    """The code of the error, after checking that it reads well in both languages."""
    with pytest.raises(StudioError) as caught:
        act()
    for language in translate.LANGUAGES:
        sentence = translate.error_text(caught.value, language)
        assert 10 < len(sentence) < 240 and "{" not in sentence
    return caught.value.code


def prepare(studio: Studio, video: Path, **more: Any) -> dict[str, Any]:
    upload = studio.accept(video)
    consent = studio.consent("face", upload, "en")
    return run(studio, "prepare_avatar", upload=upload, name="x", consent=consent, **more)


def test_a_text_file_named_mp4(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    file.write_text("这不是视频" * 1000, encoding="utf-8")
    upload = studio.accept(file)
    assert refused(lambda: run(studio, "check_footage", upload=upload)) == "media_unreadable"
    assert refused(lambda: run(studio, "extract_voice", upload=upload)) in ("media_unreadable", "no_sound")


def test_a_truncated_video(studio: Studio, tmp_path: Path) -> None:
    whole = odd_clips.write_clip(tmp_path / "whole.mp4", odd_clips.steady(25, 4))
    cut = odd_clips.truncated(whole, tmp_path / "cut.mp4", 0.5)
    assert refused(lambda: run(studio, "check_footage", upload=studio.accept(cut))) == "media_unreadable"


def test_no_face(studio: Studio, tmp_path: Path) -> None:
    clip = odd_clips.write_clip(tmp_path / "我的 🎬 video.mp4", odd_clips.steady(25, 8), width=320, height=240)
    report = run(studio, "check_footage", upload=studio.accept(clip))["report"]
    assert set(report["seconds"]) == {"no_face"}
    assert any(finding["level"] == "error" for finding in report["findings"])
    assert refused(lambda: prepare(studio, clip)) == "no_face"
    assert studio.avatars.list() == []


def test_no_sound(studio: Studio, tmp_path: Path) -> None:
    clip = odd_clips.write_clip(tmp_path / "silent.mp4", odd_clips.steady(25, 4))
    assert refused(lambda: run(studio, "extract_voice", upload=studio.accept(clip))) == "no_sound"


def test_no_speech(studio: Studio, tmp_path: Path) -> None:
    hum = 0.001 * np.random.default_rng(0).standard_normal(5 * odd_clips.SOUND_RATE).astype(np.float32)
    clip = odd_clips.write_clip(tmp_path / "hum.mp4", odd_clips.steady(25, 5), sound=hum)
    assert refused(lambda: run(studio, "extract_voice", upload=studio.accept(clip))) == "no_speech"


def test_too_long_and_too_large_footage(tmp_path: Path) -> None:
    strict = Studio(settings.load(data_dir=tmp_path / "data", max_footage_seconds=2.0, max_side=128))
    long = odd_clips.write_clip(tmp_path / "long.mp4", odd_clips.steady(25, 4))
    large = odd_clips.write_clip(tmp_path / "large.mp4", odd_clips.steady(25, 1), width=320, height=240)
    assert refused(lambda: run(strict, "check_footage", upload=strict.accept(long))) == "media_too_long"
    assert refused(lambda: run(strict, "check_footage", upload=strict.accept(large))) == "media_too_large"


def test_without_consent(studio: Studio, tmp_path: Path) -> None:
    clip = odd_clips.write_clip(tmp_path / "clip.mp4", odd_clips.steady(25, 2))
    upload, other = studio.accept(clip), studio.accept(odd_clips.write_photo(tmp_path / "other.jpg", (64, 64)))
    foreign = studio.consent("face", other, "en")
    for consent in ("", "0" * 32, foreign):
        assert (
            refused(lambda c=consent: run(studio, "prepare_avatar", upload=upload, name="x", consent=c))
            == "consent_missing"
        )


@pytest.mark.slow
def test_three_seconds_are_too_short(studio: Studio, talking_clip: Path, tmp_path: Path) -> None:
    short = odd_clips.shortened(talking_clip, tmp_path / "short.mp4", 3.0)
    report = run(studio, "check_footage", upload=studio.accept(short))["report"]
    assert any(finding["level"] == "error" for finding in report["findings"])
    assert refused(lambda: prepare(studio, short)) == "footage_too_short"


@pytest.mark.slow
def test_a_talking_face_without_sound_still_becomes_an_avatar(
    studio: Studio, talking_clip: Path, tmp_path: Path
) -> None:
    """Its lips follow a general way of speaking, and the check says so; a voice must come from elsewhere."""
    mute = odd_clips.muted(talking_clip, tmp_path / "mute.mp4")
    upload = studio.accept(mute)
    report = run(studio, "check_footage", upload=upload)["report"]
    assert any(finding["key"] == "check.no_sound" for finding in report["findings"])
    avatar = prepare(studio, mute)["avatar"]
    assert [entry.id for entry in studio.avatars.list()] == [avatar]
    assert refused(lambda: run(studio, "extract_voice", avatar=avatar)) == "no_sound"


@pytest.mark.slow
def test_two_people_and_the_one_who_is_chosen(studio: Studio, talking_clip: Path, tmp_path: Path) -> None:
    pair = odd_clips.side_by_side(talking_clip, tmp_path / "pair.mp4")
    upload = studio.accept(pair)
    result = run(studio, "check_footage", upload=upload)
    assert len(result["people"]) == result["report"]["people"] == 2
    assert any(finding["key"] == "check.several_people" for finding in result["report"]["findings"])
    assert refused(lambda: prepare(studio, pair, person=7)) == "person_unknown"
    boxes = np.load(studio.settings.data_dir / "uploads" / upload / "people.npz")["boxes"]
    consent = studio.consent("face", upload, "en")
    for person in (0, 1):
        made = run(studio, "prepare_avatar", upload=upload, name="x", person=person, consent=consent)
        track = studio.avatars.get(made["avatar"]).track()
        left, _, right, _ = boxes[person]
        nose = track.landmarks[track.usable][:, 1, 0]
        assert ((nose > left) & (nose < right)).mean() > 0.95
