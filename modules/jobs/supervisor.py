"""Keeps a worker process a lane alive while there is work, and makes a cancel take effect within a second."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time

import psutil

from modules.devices import nvidia
from modules.jobs.store import LANES, JobStore, Lane
from modules.settings import ROOT, Settings

MAPPED = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "64000000"}
LOOK_SECONDS = 0.2
# The worker notices a cancel itself at its next progress report; after this long it is inside
# one long native call, and killing the process is the only way to stop that.
GRACE_SECONDS = 0.5
# A training ends its step (seconds without a card) and writes down what it has reached.
LONGER_GRACE = {"train_avatar": 15.0}
KILL_SECONDS = 5.0
# Loading torch or an engine may hold Python's lock for a while; a dead process is seen by its pid.
SILENT_SECONDS = 120.0


def worker_environment(with_card: bool) -> dict[str, str]:
    """What a worker's environment has beside ours; with_card: whether there is an NVIDIA card.

    Threads that wait must sleep: spinning costs half as much again where the cores are shared. Many threads take and
    give back pictures, and glibc keeps what each has freed: few arenas keep less. On a card many more pictures are
    under way, so everything as large as one is mapped by itself; on the processor, where networks would take a third
    longer for it, it is not.
    """
    usual = {"OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "2"}
    return usual | MAPPED if with_card else usual


def kill_tree(process: psutil.Process) -> None:
    """Kill a process and everything that it started, and wait until they are gone."""
    family = [*process.children(recursive=True), process]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + KILL_SECONDS
    while time.monotonic() < deadline and not all(map(_gone, family)):
        time.sleep(0.01)
    psutil.wait_procs(family, timeout=0)  # of those that we started ourselves, nothing stays at all


def _gone(process: psutil.Process) -> bool:
    """Whether a process holds nothing any more: in a container without an init, orphans stay zombies for ever."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # Windows shows nobody a process that is just ending
        return False


class Supervisor:
    """A thread of the page or of the command line; several may watch the same data folder."""

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self._settings = settings
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._children: dict[Lane, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. A worker with work goes on and ends by itself when there is none left."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for lane in LANES:
                self._look_after(lane)

    def _look_after(self, lane: Lane) -> None:
        if lane in self._children:
            self._children[lane].poll()  # so that a worker that ended is no zombie
        if not self._store.waiting(lane):
            return
        worker = self._living_worker(lane)
        if worker is None:
            self._spawn(lane)
        else:
            self._enforce_cancel(lane, worker)

    def _living_worker(self, lane: Lane) -> psutil.Process | None:
        sign = self._store.worker(lane)
        if sign is None:
            return None
        try:
            process = psutil.Process(sign.pid)
            # A pid can be given out again: the birth time tells whether it is still ours.
            if abs(process.create_time() - sign.born) > 1.0 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        if time.time() - sign.beat > SILENT_SECONDS:
            kill_tree(process)
            return None
        return process

    def _enforce_cancel(self, lane: Lane, worker: psutil.Process) -> None:
        for job_id, kind, asked in self._store.running(lane):
            if asked is not None and time.time() - asked > LONGER_GRACE.get(kind, GRACE_SECONDS):
                kill_tree(worker)
                self._store.cancelled(job_id)

    def _spawn(self, lane: Lane) -> None:
        # One that was started a moment ago may not have given its first sign yet.
        if lane in self._children and self._children[lane].poll() is None:
            return
        # Everybody on this machine can read command lines: the worker finds secrets by itself.
        given = self._settings.model_dump_json(exclude={"auth", "hub_token"})
        logs = self._settings.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with open(logs / "worker.log", "ab") as log:
            self._children[lane] = subprocess.Popen(
                [sys.executable, "-m", "modules.jobs.worker", given, lane],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **worker_environment(shutil.which(nvidia.TOOL) is not None)},
                start_new_session=True,
            )
