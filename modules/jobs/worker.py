"""The worker process of a lane: claims jobs one after another and runs them with the engines loaded in it.

It is a process of its own so that a computation never makes the page stutter,
a crash never takes the page along, and a kill gives all memory back.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
import traceback
from typing import Any

import psutil
from filelock import FileLock, Timeout

from modules.errors import Cancelled, StudioError
from modules.jobs.store import DOWNLOADS, LANES, Job, JobStore, Lane
from modules.progress import Progress
from modules.settings import Settings, with_hub

log = logging.getLogger("worker")
BEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
LOCKS: dict[Lane, str] = {"work": "worker.lock", "download": "downloads.lock"}
# Loaded engines are kept this long for the next job before the process ends and frees everything.
IDLE_SECONDS: dict[Lane, float] = {"work": 300.0, "download": 20.0}
REPORT_SECONDS = 0.2


def _report_to(store: JobStore, job: Job) -> Progress:
    """A Progress that writes to the store at most five times a second and asks it for a cancel as often."""
    began = time.time()
    last_written = 0.0
    last_stage = ""
    asked = False

    def report(fraction: float, stage: str) -> None:
        nonlocal last_written, last_stage
        now = time.monotonic()
        if stage == last_stage and now - last_written < REPORT_SECONDS:
            return
        last_written, last_stage = now, stage
        store.report(job.id, fraction, stage, time.time() - began)

    last_asked = 0.0

    def cancelled() -> bool:
        nonlocal asked, last_asked
        now = time.monotonic()
        if not asked and now - last_asked >= REPORT_SECONDS:
            last_asked = now
            asked = store.cancel_asked(job.id) is not None
        return asked

    return Progress(report, cancelled)


def run(settings: Settings, store: JobStore, job: Job) -> None:
    """Run one claimed job to its end, whatever that is."""
    log.info("job %s %s begins", job.id, job.kind)
    try:
        result = _result(settings, job, _report_to(store, job))
    except Cancelled:
        store.cancelled(job.id)
    except StudioError as error:
        log.warning("job %s failed: %s %s", job.id, error.code, error.values)
        store.fail(job.id, error)
    except MemoryError:
        store.fail(job.id, StudioError("out_of_memory", retryable=True))
    except Exception as error:  # the last net: the page must hear of any fault, and the worker must live on
        log.error("job %s broke:\n%s", job.id, traceback.format_exc())
        detail = f"{type(error).__name__}: {error}"[:300]
        store.fail(job.id, StudioError("unexpected", retryable=True, detail=detail))
    else:
        store.finish(job.id, result)
        shutil.rmtree(settings.data_dir / "jobs" / job.id / "work", ignore_errors=True)
    log.info("job %s ends", job.id)


def _result(settings: Settings, job: Job, progress: Progress) -> dict[str, Any]:
    from modules import weights

    # What the user chose on the page since this process began counts for every job that begins now.
    weights.choose(weights.Choice.of(with_hub(settings)))
    if job.kind in DOWNLOADS:
        from modules.jobs import downloads

        return downloads.run(settings, job.kind, job.params, progress)
    from modules.jobs import tasks

    return tasks.run(settings, job.id, job.kind, job.params, progress)


def tidy(settings: Settings, store: JobStore) -> None:
    """Remove what crashes left behind: folders of forgotten jobs, and work folders of finished ones."""
    finished = store.finished()
    for folder in (settings.data_dir / "jobs").glob("*"):
        if folder.name not in finished:
            shutil.rmtree(folder, ignore_errors=True)
        elif finished[folder.name]:
            shutil.rmtree(folder / "work", ignore_errors=True)


def _parent_lives(parent: psutil.Process | None) -> bool:
    return parent is not None and parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE


def main() -> None:
    """Take the lock of a lane's worker, put back what a dead worker left, and work until idle."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = Settings.model_validate_json(sys.argv[1])
    lane = next(lane for lane in LANES if lane == sys.argv[2])
    store = JobStore(settings.data_dir)
    try:
        lock = FileLock(settings.data_dir / LOCKS[lane]).acquire(timeout=0)
    except Timeout:
        return  # another worker serves this lane of this data folder
    me = psutil.Process()
    parent = me.parent()
    ended = threading.Event()

    def beat() -> None:
        while not ended.is_set():
            store.beat(os.getpid(), me.create_time(), lane)
            ended.wait(BEAT_SECONDS)

    store.beat(os.getpid(), me.create_time(), lane)
    store.recover(lane)
    if lane == "work":
        tidy(settings, store)
    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    idle_since = time.monotonic()
    try:
        while (_parent_lives(parent) and time.monotonic() - idle_since < IDLE_SECONDS[lane]) or store.waiting(lane):
            job = store.claim(lane)
            if job is None:
                time.sleep(POLL_SECONDS)
                continue
            run(settings, store, job)
            idle_since = time.monotonic()
    finally:
        ended.set()
        lock.lock.release()


if __name__ == "__main__":
    main()
