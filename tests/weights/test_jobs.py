"""Downloads as jobs: real worker processes, in a lane beside that of the renders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modules import settings, weights
from modules.errors import StudioError
from modules.jobs import downloads
from modules.jobs.cards import WeightsCard
from modules.jobs.store import LANES
from modules.jobs.studio import Studio
from modules.progress import Progress
from modules.weights import choice, search
from tests.waiting import wait_for
from tests.weights.conftest import BIG, CONFIG, LOOSE
from tests.weights.server import Hub, HubServer

REAL = "syncnet"  # the smallest of the real entries that come from a hub


@pytest.fixture
def studio(listed: None, models: Path, tmp_path: Path) -> Studio:
    """A studio whose jobs nobody runs."""
    return Studio(settings.load(data_dir=tmp_path / "data", models_dir=models))


def card(studio: Studio, entry: str) -> WeightsCard:
    return next(one for one in studio.weights() if one.entry == entry)


def run(studio: Studio, job_id: str) -> dict[str, object]:
    job = studio.job(job_id)
    return downloads.run(studio.settings, job.kind, job.params, Progress())


def test_cards_say_all_that_a_page_shows(studio: Studio, models: Path) -> None:
    one = card(studio, "lips")
    assert (one.state, one.bytes, one.size) == ("missing", 0, len(BIG) + len(CONFIG))
    assert (one.title, one.licence, one.commercial, one.needed_by) == ("Lips", "MIT", "yes", ("lips1", "lips2"))
    assert one.can_fetch and not one.deletable and one.job is None and one.page == "https://example.org/lips"
    assert "lips_gan.pth" in one.files
    drive = card(studio, "drive")
    assert drive.state == "import_only" and not drive.can_fetch
    job = studio.fetch_weights("lips")
    assert studio.fetch_weights("lips") == job  # twice is one download
    queued = card(studio, "lips")
    assert queued.state == "queued" and queued.job is not None and queued.job.id == job
    studio.cancel(job)
    assert card(studio, "lips").state == "missing"
    (models / "lips").mkdir(parents=True)
    (models / "lips" / "config.json").write_bytes(CONFIG)
    half = card(studio, "lips")
    assert (half.state, half.bytes, half.deletable, half.shared) == ("partial", len(CONFIG), True, False)
    studio.delete_weights("lips")
    assert card(studio, "lips").state == "missing"


def test_shared_files_are_shown_as_such(studio: Studio, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "lips.pth").write_bytes(BIG)
    (theirs / "config.json").write_bytes(CONFIG)
    studio.save_hub(extra_models_dirs=[theirs])
    one = card(studio, "lips")
    assert (one.state, one.shared, one.deletable, one.places) == ("ready", True, False, (theirs,))


def test_what_cannot_be_is_refused_before_it_is_queued(studio: Studio, tmp_path: Path) -> None:
    for kind, params, code in (
        ("fetch_weights", {"entry": "nonsense"}, "weights_unknown"),
        ("fetch_weights", {"entry": "../../etc"}, "weights_unknown"),
        ("verify_weights", {"entry": "nonsense"}, "weights_unknown"),
        ("fetch_weights", {"entry": "drive"}, "weights_import_only"),
        ("import_weights", {"folder": str(tmp_path / "nowhere")}, "weights_import_empty"),
        ("import_weights", {"upload": "0" * 32}, "upload_unknown"),
    ):
        with pytest.raises(StudioError, match=code):
            studio.submit(kind, **params)
    for params in ({}, {"folder": str(tmp_path), "upload": "0" * 32}):
        with pytest.raises((TypeError, StudioError)):
            studio.submit("import_weights", **params)
    assert studio.jobs() == []


def test_import_of_an_upload_and_of_a_folder(studio: Studio, tmp_path: Path) -> None:
    drive = tmp_path / "drive.pt"
    drive.write_bytes(LOOSE)
    upload = studio.accept(drive)
    assert run(studio, studio.submit("import_weights", upload=upload, name="drive.pt")) == {"entries": ["drive"]}
    assert not (studio.settings.data_dir / "uploads" / upload).exists()
    lips = tmp_path / "usb"
    lips.mkdir()
    (lips / "lips.pth").write_bytes(BIG)
    (lips / "config.json").write_bytes(CONFIG)
    job = studio.submit("import_weights", folder=str(lips))
    assert studio.job(job).title == "usb" and run(studio, job) == {"entries": ["lips"]}
    verify = studio.submit("verify_weights", entry="lips")
    assert run(studio, verify) == {"entry": "lips", "wrong": []}
    file = studio.settings.models_dir / "lips" / "lips.pth"
    file.write_bytes(BIG[::-1])
    assert run(studio, verify) == {"entry": "lips", "wrong": ["lips.pth"]}
    assert card(studio, "lips").state == "broken"


# --- with real worker processes, which know the real catalogue only ---------------------------------


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Studio, Hub]]:
    """A studio with workers, and a slow hub that has a file of the size of the smallest real entry."""
    size = weights.entries()[REAL].files[0].size
    content = bytes(size)
    hub = Hub({"ByteDance/LatentSync-1.6/auxiliary/syncnet_v2.model": content}, slowness=0.01)
    monkeypatch.setattr(choice, "_made", None)
    monkeypatch.setattr(search, "_FRESH_SECONDS", 0.0)
    # With the hash that its zeros have, the hub would be refused at once.
    monkeypatch.setattr("tests.weights.server.sha256", lambda content: weights.entries()[REAL].files[0].sha256)
    with HubServer(hub):
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("FENSHEN_HUB_TOKEN", hub.token)
        studio = Studio(settings.load(data_dir=tmp_path / "data", models_dir=tmp_path / "models"))
        studio.save_hub(hub_source="huggingface")
        studio.start()
        yield studio, hub
        studio.stop()
        for lane in LANES:
            sign = studio.store.worker(lane)
            if sign is not None and psutil.pid_exists(sign.pid):
                psutil.Process(sign.pid).kill()


def arriving(studio: Studio, job: str) -> bool:
    return studio.job(job).progress > 0.002


@pytest.mark.slow
def test_a_download_holds_up_no_other_work(working: tuple[Studio, Hub], tmp_path: Path) -> None:
    studio, _ = working
    fetch = studio.fetch_weights(REAL)
    wait_for(lambda: arriving(studio, fetch), 30)
    empty = tmp_path / "no video"
    empty.write_bytes(b"no video")
    other = studio.submit("check_footage", upload=studio.accept(empty))
    wait_for(lambda: studio.job(other).state == "failed", 60)
    now = card(studio, REAL)
    assert studio.job(fetch).state == "running" and now.state == "downloading"
    assert now.speed > 1e5 and now.remaining is not None and 0 < now.bytes < now.size


@pytest.mark.slow
def test_pause_and_resume(working: tuple[Studio, Hub]) -> None:
    studio, hub = working
    fetch = studio.fetch_weights(REAL)
    wait_for(lambda: arriving(studio, fetch), 30)
    studio.cancel(fetch)
    wait_for(lambda: studio.job(fetch).state == "cancelled", 10)
    wait_for(lambda: card(studio, REAL).state == "partial", 5)
    had = card(studio, REAL).bytes
    assert had > 0
    hub.asked.clear()
    studio.resume(fetch)
    wait_for(lambda: bool(hub.content_requests()), 30)
    wait_for(lambda: any(one.start for one in hub.content_requests()), 30)
    assert max(one.start for one in hub.content_requests()) == had
    hub.slowness = 0.0
    wait_for(lambda: studio.job(fetch).state == "failed", 60)  # zeros are no published network
    error = studio.job(fetch).error
    assert error is not None and error.code == "weights_download_broken"


@pytest.mark.slow
def test_a_killed_download_worker_is_replaced_and_goes_on(working: tuple[Studio, Hub]) -> None:
    studio, hub = working
    fetch = studio.fetch_weights(REAL)
    wait_for(lambda: arriving(studio, fetch), 30)
    sign = studio.store.worker("download")
    assert sign is not None
    assert studio.settings.hub_token == hub.token and any(one.token == hub.token for one in hub.asked)
    assert hub.token not in " ".join(psutil.Process(sign.pid).cmdline())
    psutil.Process(sign.pid).kill()
    had = card(studio, REAL).bytes
    wait_for(lambda: any(one.start for one in hub.content_requests()), 60)
    assert max(one.start for one in hub.content_requests()) >= had > 0
    assert studio.store.worker("work") is None  # nothing was to be rendered
