"""The worker process and its supervisor, as they run in the product: real processes, real kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from modules import media, settings
from modules.errors import StudioError
from modules.jobs.store import JobStore
from modules.jobs.studio import Studio
from modules.jobs.supervisor import Supervisor
from tests.waiting import wait_for


def worker_pid(studio: Studio) -> int:
    """The process that gave the last sign of life."""
    sign = studio.store.worker()
    assert sign is not None
    return sign.pid


@pytest.fixture(scope="module")
def faceless_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of grey picture: long enough to be stopped in the middle of being checked."""
    path = tmp_path_factory.mktemp("clip") / "我的 视频 😀.mp4"
    grey = np.full((480 * 3 // 2, 640), 128, np.uint8)
    with media.VideoWriter(path, 640, 480, media.ColorTags(), preset="ultrafast") as writer:
        for _ in range(1500):
            writer.write(grey)
    return path


@pytest.mark.slow
def test_a_job_runs_in_another_process_and_reports(studio: Studio, faceless_clip: Path) -> None:
    job_id = studio.submit("check_footage", upload=studio.accept(faceless_clip))
    wait_for(lambda: studio.job(job_id).state == "running")
    assert worker_pid(studio) != os.getpid()
    wait_for(lambda: studio.job(job_id).state not in ("queued", "running"))
    job = studio.job(job_id)
    assert job.state == "done" and job.result is not None
    assert job.result["people"] == []


@pytest.mark.slow
def test_a_running_job_is_cancelled(studio: Studio, faceless_clip: Path) -> None:
    job_id = studio.submit("check_footage", upload=studio.accept(faceless_clip))
    wait_for(lambda: studio.job(job_id).progress > 0)
    studio.cancel(job_id)
    wait_for(lambda: studio.job(job_id).state == "cancelled", 10)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_job_goes_on(studio: Studio, faceless_clip: Path) -> None:
    job_id = studio.submit("check_footage", upload=studio.accept(faceless_clip))
    victims: list[int] = []
    for _ in range(2):
        wait_for(lambda: studio.job(job_id).state == "running" and worker_pid(studio) not in victims)
        victims.append(worker_pid(studio))
        psutil.Process(victims[-1]).kill()
    wait_for(lambda: studio.job(job_id).state == "done")


@pytest.mark.slow
def test_a_deleted_job_leaves_nothing(studio: Studio, faceless_clip: Path) -> None:
    job_id = studio.submit("check_footage", upload=studio.accept(faceless_clip))
    wait_for(lambda: studio.job(job_id).progress > 0)
    studio.delete(job_id)
    assert not (studio.settings.data_dir / "jobs" / job_id).exists()
    with pytest.raises(StudioError, match="job_unknown"):
        studio.job(job_id)


def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """A stand-in process holds a running job and never looks at the cancel, as inside one long native call."""
    store = JobStore(tmp_path)
    job_id = store.add("render", "", {})
    deaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        store.claim()
        store.beat(deaf.pid, psutil.Process(deaf.pid).create_time())
        supervisor = Supervisor(settings.load(data_dir=tmp_path), store)
        supervisor.start()
        store.ask_cancel(job_id)
        wait_for(lambda: store.get(job_id).state == "cancelled", 10)
        wait_for(lambda: not psutil.pid_exists(deaf.pid), 10)
        supervisor.stop()
    finally:
        deaf.kill()


@pytest.mark.parametrize("given", ["../../etc/passwd", "0" * 31, "G" * 32, "", "0" * 32])
def test_ids_never_become_paths(tmp_path: Path, given: str) -> None:
    studio = Studio(settings.load(data_dir=tmp_path))
    for act in (
        lambda: studio.file(given, "video.mp4"),
        lambda: studio.submit("check_footage", upload=given),
        lambda: studio.avatars.get(given),
        lambda: studio.voices.delete(given),
        lambda: studio.delete(given),
        lambda: studio.submit("extract_voice", avatar=given),
    ):
        with pytest.raises(StudioError):
            act()


def test_file_names_from_outside_are_refused(tmp_path: Path) -> None:
    studio = Studio(settings.load(data_dir=tmp_path))
    job_id = studio.store.add("render", "", {})
    output = studio.folder(job_id) / "output"
    output.mkdir(parents=True)
    (output / "video.mp4").write_bytes(b"film")
    assert studio.file(job_id, "video.mp4").read_bytes() == b"film"
    for name in ("../output/video.mp4", "/etc/passwd", "..", "", "missing.mp4"):
        with pytest.raises(StudioError, match="file_unknown"):
            studio.file(job_id, name)


def test_uploads_are_limited_and_keep_nothing_of_their_name(tmp_path: Path) -> None:
    studio = Studio(settings.load(data_dir=tmp_path / "data", max_upload_mb=1))
    named, big, empty = tmp_path / "我 🎬 ..;rm -rf.mp4", tmp_path / "big.mp4", tmp_path / "empty.mp4"
    named.write_bytes(b"x" * 10)
    big.write_bytes(b"x" * 1_000_001)
    empty.write_bytes(b"")
    upload = studio.accept(named)
    assert [p.name for p in (tmp_path / "data" / "uploads" / upload).iterdir()] == ["source"]
    for file, code in ((big, "upload_too_large"), (empty, "upload_empty"), (tmp_path / "gone", "upload_unreadable")):
        with pytest.raises(StudioError, match=code):
            studio.accept(file)
    assert len(list((tmp_path / "data" / "uploads").iterdir())) == 1


@pytest.mark.parametrize(
    ("script", "code"), [("", "script_empty"), ("……", "script_empty"), ("字" * 100_000, "script_too_long")]
)
def test_a_bad_script_is_refused_before_it_is_queued(tmp_path: Path, script: str, code: str) -> None:
    studio = Studio(settings.load(data_dir=tmp_path))
    with pytest.raises(StudioError, match=code):
        studio.submit("render", avatar="0" * 32, voice="0" * 32, script=script)
    assert studio.jobs() == []
