"""Downloads by the real huggingface_hub from a hub on loopback that misbehaves in every way that hubs do."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modules import translate, weights
from modules.errors import Cancelled, StudioError
from modules.progress import Progress
from modules.weights import meter, transfer, workplace
from tests.waiting import wait_for
from tests.weights.conftest import BIG, CONFIG, LOOSE
from tests.weights.server import Hub, HubServer


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses between tries."""
    monkeypatch.setattr(transfer, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("modules.weights.hub._ANSWER_SECONDS", 1.0)


def fetch(models: Path, *names: str) -> None:
    weights.ensure(models, names or ("lips",), Progress())


def refused(models: Path, code: str, *names: str) -> StudioError:
    """The error of a fetch; it must be of this code and read well in both languages."""
    with pytest.raises(StudioError) as caught:
        fetch(models, *names)
    assert caught.value.code == code
    for language in translate.LANGUAGES:
        assert "{" not in translate.error_text(caught.value, language)
    return caught.value


def parts(models: Path) -> list[Path]:
    return list((models / ".downloads").rglob("*.part"))


def test_an_entry_arrives_checked_and_leaves_nothing_else(hub: Hub, models: Path) -> None:
    shares: list[float] = []
    assert weights.state(models, "lips") == "missing"
    assert weights.download_bytes(models, ["lips"]) == len(BIG) + len(CONFIG)
    weights.ensure(models, ["lips"], Progress(lambda share, stage: shares.append(share)))
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert weights.folder(models, "lips") == models / "lips"
    assert weights.state(models, "lips") == "ready" and weights.download_bytes(models, ["lips"]) == 0
    assert sorted(path.name for path in models.rglob("*") if path.is_file() and path.stat().st_size) == [
        ".verified.json",
        "config.json",
        "lips.pth",
    ]
    assert shares == sorted(shares) and shares[-1] == 1.0
    asked = len(hub.asked)
    fetch(models)
    assert len(hub.asked) == asked  # what is here needs no network


def test_what_arrived_before_an_interruption_is_not_asked_for_again(hub: Hub, models: Path) -> None:
    hub.break_after = [1_000_000, 500_000]
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    sent = [one for one in hub.content_requests() if one.path.startswith("/elsewhere")]
    assert [one.start for one in sent] == [0, 1_000_000, 1_500_000]
    assert sum(one.sent for one in sent) == len(BIG)


def test_a_connection_that_brings_nothing_any_more_is_given_up_and_resumed_later(hub: Hub, models: Path) -> None:
    hub.break_after = [1_000_000, *[0] * 10]
    error = refused(models, "weights_interrupted")
    assert error.retryable and error.values["source"] == "127.0.0.1"
    assert weights.state(models, "lips") == "partial" and weights.arrived_bytes(models, "lips") == 1_000_000
    hub.break_after = []
    hub.asked.clear()
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert [one.start for one in hub.content_requests() if one.path.startswith("/elsewhere")] == [1_000_000]


def test_a_server_that_knows_no_ranges_starts_again(hub: Hub, models: Path) -> None:
    hub.break_after, hub.refuse_range = [1_000_000], True
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG


def _fetch_in_child(models: Path) -> None:
    weights.ensure(models, ["lips"], Progress())


def test_a_killed_download_goes_on_where_it_was(hub: Hub, models: Path) -> None:
    hub.slowness = 0.02
    child = multiprocessing.get_context("fork").Process(target=_fetch_in_child, args=(models,))
    child.start()
    wait_for(lambda: weights.arrived_bytes(models, "lips") > 300_000 if parts(models) else False, 30)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    hub.slowness = 0.0
    had = weights.arrived_bytes(models, "lips")
    assert 0 < had < len(BIG) and weights.state(models, "lips") == "partial"
    hub.asked.clear()
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert [one.start for one in hub.content_requests() if one.path.startswith("/elsewhere")] == [had]


def test_processes_that_want_the_same_wait_for_one_download(hub: Hub, models: Path) -> None:
    hub.slowness = 0.002
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_fetch_in_child, args=(models,)) for _ in range(3)]
    for child in children:
        child.start()
    wait_for(lambda: weights.state(models, "lips") == "downloading", 20)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert sum(one.sent for one in hub.content_requests()) == len(BIG) + len(CONFIG)
    assert weights.verify(models, "lips", Progress(), thorough=True) == []


@pytest.mark.parametrize("stall", [False, True])
def test_pause_keeps_what_came_and_waits_for_nothing_more(hub: Hub, models: Path, stall: bool) -> None:
    hub.slowness = 20.0 if stall else 0.02
    asked_at: list[float] = []

    def cancelled() -> bool:
        if (parts(models) and weights.arrived_bytes(models, "lips") > 0) or len(asked_at) > 20:
            asked_at.append(time.monotonic())
        return bool(asked_at)

    if stall:
        began = time.monotonic()

        def cancelled() -> bool:
            if time.monotonic() - began > 1.0:
                asked_at.append(time.monotonic())
            return bool(asked_at)

    with pytest.raises(Cancelled):
        weights.ensure(models, ["lips"], Progress(cancelled=cancelled))
    assert time.monotonic() - asked_at[0] < 5  # the next block of a stalled server takes 20
    had = weights.arrived_bytes(models, "lips")
    assert 0 < had < len(BIG) and weights.state(models, "lips") == "partial"
    hub.slowness = 0.0
    hub.asked.clear()
    fetch(models)
    assert next(one.start for one in hub.content_requests() if one.path.startswith("/elsewhere")) == had
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG


def test_other_content_of_the_right_length_is_never_put_in_place(hub: Hub, models: Path) -> None:
    hub.altered = BIG[::-1]
    error = refused(models, "weights_download_broken")
    assert error.values["file"] == "lips.pth"
    assert weights.state(models, "lips") == "missing" and not parts(models)


def test_what_the_hub_itself_calls_otherwise_is_not_even_loaded(hub: Hub, models: Path) -> None:
    hub.files["owner/lips/sub/lips.pth"] = BIG[::-1]
    refused(models, "weights_download_broken")
    assert not hub.content_requests()


@pytest.mark.parametrize("size", [1_000_000, 5_000])
def test_without_a_published_hash_that_of_the_hub_counts(
    hub: Hub, models: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sha256 of a large file, git's sha1 of a small one."""
    entry = weights.entries()["loose"]
    smaller = replace(entry, files=(replace(entry.files[0], size=size),))
    monkeypatch.setitem(weights.entries(), "loose", smaller)
    content = LOOSE[:size]
    hub.files["owner/loose/loose.pth"] = content
    hub.altered = content[::-1]
    refused(models, "weights_download_broken", "loose")
    hub.altered = None
    fetch(models, "loose")
    assert weights.file(models, "loose", "loose.pth").read_bytes() == content


def test_a_file_that_is_not_there(hub: Hub, models: Path) -> None:
    del hub.files["owner/lips/sub/lips.pth"]
    error = refused(models, "weights_not_found")
    assert error.values["file"] == "lips.pth"


def test_a_gated_repository_needs_the_token(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("owner/lips")
    error = refused(models, "weights_gated")
    assert error.values["page"] == "https://huggingface.co/owner/lips"
    weights.choose(weights.Choice("huggingface", token=hub.token[::-1]))
    refused(models, "weights_gated")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    weights.choose(weights.Choice("huggingface"))
    fetch(models, "lips")
    weights.delete(models, "lips")
    monkeypatch.delenv("HF_TOKEN")
    weights.choose(weights.Choice("huggingface", token=hub.token))
    fetch(models)
    assert weights.state(models, "lips") == "ready"


def test_the_token_goes_to_the_hub_alone(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to where the hub sends on for the content, and not to a mirror."""
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fetch(models)
    assert {one.token for one in hub.asked if not one.path.startswith("/elsewhere")} == {hub.token}
    assert {one.token for one in hub.asked if one.path.startswith("/elsewhere")} == {""}
    weights.delete(models, "lips")
    hub.asked.clear()
    weights.choose(weights.Choice("mirror", mirror=hub.url, token=hub.token))
    fetch(models)
    assert {one.token for one in hub.asked} == {""}


@pytest.mark.parametrize("status", [500, 429])
def test_a_hub_that_is_out_of_order(hub: Hub, models: Path, status: int) -> None:
    hub.status = status
    error = refused(models, "weights_source_failed")
    assert error.values["status"] == status and error.retryable


def test_a_mirror_that_does_not_answer(hub: Hub, models: Path) -> None:
    weights.choose(weights.Choice("mirror", mirror="http://127.0.0.1:9"))
    assert refused(models, "weights_source_silent").values["source"] == "127.0.0.1"
    hub.deaf = True
    weights.choose(weights.Choice("mirror", mirror=hub.url))
    began = time.monotonic()
    refused(models, "weights_source_silent")
    assert time.monotonic() - began < 10


def test_offline(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9"
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    monkeypatch.setenv("MODELSCOPE_DOMAIN", nowhere)
    weights.choose(weights.Choice("auto", mirror=nowhere))
    refused(models, "weights_offline")


def test_a_mirror_stands_in_for_the_hub(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    weights.choose(weights.Choice("mirror", mirror=hub.url))
    fetch(models)
    assert weights.state(models, "lips") == "ready"


def test_modelscope(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    weights.choose(weights.Choice("modelscope"))
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert all("/models/" in one.path or one.path.startswith("/elsewhere") for one in hub.asked)
    assert refused(models, "weights_not_offered", "loose").values["source"] == "modelscope"
    del hub.files["owner/lips/config.json"]
    weights.delete(models, "lips")
    refused(models, "weights_not_found")


@pytest.fixture
def second() -> Iterator[Hub]:
    with HubServer(Hub({"owner/lips/sub/lips.pth": BIG, "owner/lips/config.json": CONFIG})) as running:
        yield running


def test_auto_takes_the_first_that_answers_and_asks_the_silent_one_once(hub: Hub, second: Hub, models: Path) -> None:
    hub.deaf = True
    weights.choose(weights.Choice("auto", mirror=second.url))
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert len(hub.asked) == 1 and len(second.content_requests()) >= 2


def test_auto_goes_on_at_another_hub_where_the_first_broke_off(hub: Hub, second: Hub, models: Path) -> None:
    hub.break_after = [1_000_000, *[0] * 10]
    weights.choose(weights.Choice("auto", mirror=second.url))
    fetch(models)
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    sent = [one for one in second.content_requests() if one.path.startswith("/elsewhere")]
    assert [one.start for one in sent] == [1_000_000]


def test_too_small_a_disk_is_told_before_anything_is_loaded(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 101_000_000

    monkeypatch.setattr(workplace.shutil, "disk_usage", lambda path: Usage)
    error = refused(models, "weights_no_space")
    assert error.values == {"name": "Lips", "needed": 103, "free": 101}
    assert not hub.asked


def test_a_disk_that_fills_up_on_the_way(
    hub: Hub, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else took the space in between: the look before said that there was enough."""
    monkeypatch.setattr(workplace, "check_disk", lambda *given: None)
    error = refused(small_disk, "weights_no_space")
    assert error.retryable
    kept = weights.arrived_bytes(small_disk, "lips")
    assert kept > 1_500_000
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    hub.asked.clear()
    fetch(small_disk)
    assert weights.file(small_disk, "lips", "lips.pth").read_bytes() == BIG
    assert [one.start for one in hub.content_requests() if one.path.startswith("/elsewhere")] == [kept]


def test_speed_and_time_left_can_be_read_by_others(hub: Hub, models: Path) -> None:
    hub.slowness = 0.01  # 1.6 MB a second
    worker = threading.Thread(target=fetch, args=(models,))
    worker.start()
    try:
        wait_for(lambda: (now := weights.going_on(models, "lips")) is not None and now.speed > 0, 20)
        now = weights.going_on(models, "lips")
        assert now is not None and 0 < now.done < now.total == len(BIG) + len(CONFIG)
        assert 2e5 < now.speed < 5e6 and now.remaining is not None and now.remaining < 20
        assert weights.state(models, "lips") == "downloading"
    finally:
        worker.join()
    assert weights.going_on(models, "lips") is None


def test_a_download_that_died_is_not_said_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "transfer.json").write_text(json.dumps({"done": 1, "total": 2, "speed": 1.0, "at": time.time() - 60}))
    assert meter.transfer(tmp_path) is None


def test_what_lies_on_a_drive_is_only_imported(hub: Hub, models: Path) -> None:
    assert weights.state(models, "drive") == "import_only"
    error = refused(models, "weights_import_only", "drive")
    assert error.values == {"name": "Drive", "files": "drive.pt", "page": "https://example.org/drive"}
    refused(models, "weights_unknown", "nothing")
