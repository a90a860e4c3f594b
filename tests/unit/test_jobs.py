"""The job store: what survives, who may claim, what a cancel and a crash leave behind."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from modules.errors import StudioError
from modules.jobs.store import LATER_COLUMNS, MAX_FRUITLESS_ATTEMPTS, JobStore


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def test_a_job_survives_the_process_that_queued_it(tmp_path: Path) -> None:
    job_id = JobStore(tmp_path).add("speak", "你好", {"text": "你好 😀"})
    job = JobStore(tmp_path).get(job_id)
    assert (job.state, job.title, job.params) == ("queued", "你好", {"text": "你好 😀"})


def test_short_jobs_go_before_renders_and_equals_in_order(store: JobStore) -> None:
    render = store.add("render", "", {})
    first, second = store.add("speak", "", {}), store.add("speak", "", {})
    claimed = [store.claim() for _ in range(3)]
    assert [job.id for job in claimed if job] == [first, second, render]
    assert store.claim() is None


def test_many_claimants_never_get_the_same_job(store: JobStore) -> None:
    ids = {store.add("speak", "", {}) for _ in range(40)}
    claimed: list[str] = []

    def take() -> None:
        while (job := store.claim()) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_a_queued_job_is_cancelled_at_once(store: JobStore) -> None:
    job_id = store.add("speak", "", {})
    store.ask_cancel(job_id)
    assert store.get(job_id).state == "cancelled"
    assert store.claim() is None


def test_a_running_job_is_asked_to_cancel(store: JobStore) -> None:
    job_id = store.add("speak", "", {})
    store.claim()
    store.ask_cancel(job_id)
    assert store.get(job_id).cancelling
    assert store.cancel_asked(job_id) is not None
    store.cancelled(job_id)
    assert store.get(job_id).state == "cancelled"


def test_resume_keeps_progress_and_forgets_the_error(store: JobStore) -> None:
    job_id = store.add("render", "", {})
    store.claim()
    store.report(job_id, 0.4, "stage.render", 10.0)
    store.fail(job_id, StudioError("disk_space_short", needed=5))
    failed = store.get(job_id)
    assert failed.error is not None
    assert (failed.error.code, failed.error.values) == ("disk_space_short", {"needed": 5})
    store.resume(job_id)
    again = store.get(job_id)
    assert (again.state, again.progress, again.error) == ("queued", 0.4, None)


def test_a_crash_puts_the_job_back_unless_its_cancel_was_asked(store: JobStore) -> None:
    kept, dropped = store.add("render", "", {}), store.add("render", "", {})
    store.claim()
    store.claim()
    store.ask_cancel(dropped)
    store.recover()
    assert store.get(kept).state == "queued"
    assert store.get(dropped).state == "cancelled"


def test_a_job_that_always_kills_its_worker_is_given_up(store: JobStore) -> None:
    job_id = store.add("render", "", {})
    for _ in range(MAX_FRUITLESS_ATTEMPTS):
        assert store.get(job_id).state == "queued"
        store.claim()
        store.recover()
    job = store.get(job_id)
    assert job.state == "failed"
    assert job.error is not None and job.error.code == "worker_crashed"


def test_a_job_that_gets_further_each_time_is_never_given_up(store: JobStore) -> None:
    job_id = store.add("render", "", {})
    for attempt in range(3 * MAX_FRUITLESS_ATTEMPTS):
        store.claim()
        store.report(job_id, (attempt + 1) / 100, "stage.render", 1.0)
        store.recover()
    assert store.get(job_id).state == "queued"


def test_progress_never_goes_back_and_remaining_time_counts_this_attempt_only(store: JobStore) -> None:
    job_id = store.add("render", "", {})
    store.claim()
    store.report(job_id, 0.0, "stage.render", 0.0)
    store.report(job_id, 0.5, "stage.render", 10.0)
    assert store.get(job_id).remaining == pytest.approx(10.0)
    store.report(job_id, 0.3, "stage.render", 11.0)
    assert store.get(job_id).progress == 0.5
    store.recover()
    store.claim()
    store.report(job_id, 0.3, "stage.render", 0.5)
    assert store.get(job_id).remaining is None
    store.report(job_id, 0.75, "stage.render", 5.5)
    assert store.get(job_id).remaining == pytest.approx(5.0)


def test_remaining_time_goes_by_the_stage_under_way(store: JobStore) -> None:
    job_id = store.add("train_avatar", "", {})
    store.claim()
    store.report(job_id, 0.3, "stage.prepare", 1.0)  # most of it was there
    store.report(job_id, 0.3, "stage.train", 1.0)
    assert store.get(job_id).remaining is None
    store.report(job_id, 0.301, "stage.train", 6.0)
    assert store.get(job_id).remaining is None
    store.report(job_id, 0.302, "stage.train", 11.0)
    assert store.get(job_id).remaining == pytest.approx(10.0 * 0.698 / 0.002)


def test_a_table_made_before_stages_counted_is_brought_up_to_date(tmp_path: Path) -> None:
    JobStore(tmp_path)
    with closing(sqlite3.connect(tmp_path / "studio.sqlite3")) as database:
        for column in LATER_COLUMNS:
            database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    store = JobStore(tmp_path)
    job_id = store.add("render", "", {})
    store.claim()
    store.report(job_id, 0.0, "stage.render", 0.0)
    store.report(job_id, 0.5, "stage.render", 10.0)
    assert store.get(job_id).remaining == pytest.approx(10.0)


def test_unknown_job(store: JobStore) -> None:
    with pytest.raises(StudioError, match="job_unknown"):
        store.get("0" * 32)


def test_downloads_have_a_lane_of_their_own(store: JobStore) -> None:
    render, fetch = store.add("render", "", {}), store.add("fetch_weights", "", {"entry": "x"})
    verify = store.add("verify_weights", "", {"entry": "x"})
    assert store.waiting("work") and store.waiting("download")
    claimed = [store.claim("download") for _ in range(3)]
    assert [job.id if job else None for job in claimed] == [fetch, verify, None]
    assert [name for name, _, _ in store.running("download")] == [fetch, verify] and store.running("work") == []
    work = store.claim("work")
    assert work is not None and work.id == render
    store.recover("download")  # a dead download worker takes nothing of the other lane along
    assert [store.get(job).state for job in (render, fetch, verify)] == ["running", "queued", "queued"]
    store.beat(1, 2.0, "download")
    assert store.worker("work") is None and store.worker("download") is not None


def test_the_list_of_an_older_studio_is_taken_over(tmp_path: Path) -> None:
    job_id = JobStore(tmp_path).add("render", "", {})
    database = sqlite3.connect(tmp_path / "studio.sqlite3")
    database.execute("CREATE TABLE worker (only INTEGER PRIMARY KEY, pid INTEGER, born REAL, beat REAL)")
    database.commit()
    database.close()
    store = JobStore(tmp_path)
    assert store.get(job_id).state == "queued" and store.worker() is None
