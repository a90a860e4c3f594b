"""Runs enrolment in a process of its own, so that its memory comes back and a cancel stops it at once."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from modules.errors import StudioError
from modules.progress import Progress

ROOT = Path(__file__).resolve().parents[3]
POLL_SECONDS = 0.3


def enrol_in_child(
    timbre: Path, models_dir: Path, folder: Path, threads: int, progress: Progress, seed: int = 0
) -> None:
    """Learn the voice in ``timbre`` (WAV) into ``folder``; raises what the child reports, or Cancelled.

    seed: of the random crops; the benchmark varies it to see how much they matter.
    A child that dies without a word raises StudioError('enrolment_failed').
    """
    words = [sys.executable, "-m", "modules.voice_clone.builtin.enrolment"]
    words += ["--timbre", str(timbre.resolve()), "--models-dir", str(models_dir.resolve())]
    words += ["--folder", str(folder.resolve()), "--threads", str(threads), "--seed", str(seed)]
    # Threads that wait must sleep: where other work shares the cores, spinning doubles the time.
    # Tensors that are mapped each by itself, as a worker with a card has it, would take a third longer.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = {**ours, "PYTHONUTF8": "1", "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        child = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints,
            encoding="utf-8",
        )  # fmt: skip
        try:
            _follow(child, progress)
            if child.wait() != 0:
                raise StudioError("enrolment_failed", retryable=True, detail=_last_line(complaints))
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _follow(child: subprocess.Popen[str], progress: Progress) -> None:
    """Pass the child's progress on until it closes its output; ask for a cancel several times a second."""
    assert child.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(child.stdout, lines), daemon=True).start()
    done = 0.0
    while True:
        progress.at(done)
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise StudioError.from_dict(said["error"])
        done = said["progress"]


def _read_lines(source: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in source:
        lines.put(line)
    lines.put(None)


def _last_line(complaints: IO[str]) -> str:
    complaints.seek(0)
    return (complaints.read().strip().splitlines() or ["-"])[-1][:300]
