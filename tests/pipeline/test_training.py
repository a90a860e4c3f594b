"""Training an avatar's own model as it runs in the product, and the engine that draws with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from modules import media, settings
from modules.avatar import library as avatars
from modules.avatar.library import Avatar
from modules.errors import StudioError
from modules.face.track import track_footage
from modules.jobs import engines, lessons
from modules.jobs.studio import Studio
from modules.progress import Progress
from tests import clips
from tests.waiting import wait_for

PATIENCE = 240.0
# A step takes seconds on two cores.
MINUTES = 0.15


def shelved(studio: Studio, clip: Path, kind: str = "video") -> Avatar:
    """An avatar of ``clip`` that no engine has been prepared for."""
    made = studio.settings.data_dir / "made"
    made.mkdir()
    shutil.copyfile(clip, made / avatars.FOOTAGE)
    footage = media.probe(made / avatars.FOOTAGE)
    assert footage.kind == kind
    track_footage(footage, None, Progress()).save(made / avatars.TRACK)
    return studio.avatars.add(made, "小美", footage, "0" * 64, None, "")


@pytest.mark.slow
def test_a_training_is_stopped_resumed_lengthened_and_used(studio: Studio, talking_clip: Path) -> None:
    avatar = shelved(studio, talking_clip)
    with pytest.raises(StudioError, match="engine_not_trained"):
        studio.submit("preview_frame", avatar=avatar.id, engine="ultralight")
    with pytest.raises(StudioError, match="option_out_of_range"):
        studio.train(avatar.id, 0.0)

    job = studio.train(avatar.id, 10.0)
    assert studio.train(avatar.id, 10.0) == job
    wait_for(lambda: studio.lesson(job) is not None, PATIENCE)
    studio.cancel(job)
    wait_for(lambda: studio.job(job).state == "cancelled", 20)
    assert engines.trained(avatar, "ultralight")
    stopped = lessons.trained_seconds(avatar) or 0.0
    assert stopped > 0
    shown = studio.lesson(job)
    assert shown is not None and shown.curve[0][0] == 1
    assert studio.file(job, shown.sample).stat().st_size > 1000

    # Its engine can be used at once.
    frame = studio.submit("preview_frame", avatar=avatar.id, engine="ultralight")
    wait_for(lambda: studio.job(frame).state not in ("queued", "running"), PATIENCE)
    assert studio.job(frame).state == "done", studio.job(frame).error
    assert engines.prepared_with(avatar, "ultralight") is None  # in the job's folder, not in the avatar's

    # It goes on where it was, and its faces are not cut again.
    faces = studio.folder(job) / "work" / "faces.npy"
    cut = faces.stat().st_mtime_ns
    studio.resume(job)
    wait_for(lambda: (lessons.trained_seconds(avatar) or 0.0) > stopped or studio.job(job).state == "running", PATIENCE)
    wait_for(lambda: studio.job(job).stage == "stage.train", PATIENCE)
    studio.cancel(job)
    wait_for(lambda: studio.job(job).state == "cancelled", 20)
    assert faces.stat().st_mtime_ns == cut
    further = lessons.trained_seconds(avatar) or 0.0
    assert further >= stopped

    # A short one more, to its end.
    job = studio.train(avatar.id, MINUTES)
    wait_for(lambda: studio.job(job).state not in ("queued", "running"), PATIENCE)
    assert studio.job(job).state == "done", studio.job(job).error
    result = studio.job(job).result or {}
    assert result["seconds"] >= max(further, 60 * MINUTES) and result["steps"] >= 2
    wait_for(lambda: not (studio.folder(job) / "work").exists(), PATIENCE)

    studio.forget_training(avatar.id)
    assert lessons.trained_seconds(avatar) is None and not engines.trained(avatar, "ultralight")


@pytest.mark.slow
def test_an_avatar_deleted_while_it_is_trained_leaves_nothing(studio: Studio, talking_clip: Path) -> None:
    avatar = shelved(studio, talking_clip)
    job = studio.train(avatar.id, 10.0)
    wait_for(lambda: studio.job(job).stage == "stage.train", PATIENCE)
    studio.avatars.delete(avatar.id)
    wait_for(lambda: studio.job(job).state == "failed", PATIENCE)
    assert not avatar.folder.exists()


def test_a_photo_is_refused(tmp_path: Path) -> None:
    studio = Studio(settings.load(data_dir=tmp_path / "data"))
    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), clips.draw_face(clips.Pose()))
    avatar = shelved(studio, photo, "photo")
    with pytest.raises(StudioError, match="training_photo"):
        studio.train(avatar.id, 10.0)
