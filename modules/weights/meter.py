"""How a download goes on: told to its progress, and kept on disk so that any process can say it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from modules.progress import Progress

_FILE = "transfer.json"
_WRITE_SECONDS = 0.5
_WINDOW_SECONDS = 5.0  # over which the speed is measured
_STALE_SECONDS = 5.0  # after which nobody is downloading any more


@dataclass(frozen=True)
class Transfer:
    """done, total: bytes. speed: bytes a second."""

    done: int
    total: int
    speed: float

    @property
    def remaining(self) -> float | None:
        """Seconds left at this speed, or None while there is none."""
        return max(self.total - self.done, 0) / self.speed if self.speed > 0 else None


def transfer(folder: Path) -> Transfer | None:
    """The download that works in ``folder`` now, or None."""
    try:
        noted = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if time.time() - noted.pop("at") > _STALE_SECONDS:
        return None
    return Transfer(**noted)


class Meter:
    """Counts the bytes of one entry as they come. ``total`` in bytes."""

    def __init__(self, progress: Progress, total: int, folder: Path) -> None:
        self._progress = progress
        self._total = max(total, 1)
        self._folder = folder
        self._done = 0
        self._came: deque[tuple[float, int]] = deque()
        self._written = 0.0

    def at(self, done: int) -> None:
        """``done`` bytes of the whole are here; raises Cancelled when that was asked for."""
        self._done = done
        now = time.monotonic()
        self._came.append((now, done))
        while now - self._came[0][0] > _WINDOW_SECONDS:
            self._came.popleft()
        if now - self._written > _WRITE_SECONDS:
            self._written = now
            self._write(now)
        self._progress.at(done / self._total)

    def still(self) -> None:
        """Nothing new has come; a cancel is noticed all the same."""
        self.at(self._done)

    def restart(self, done: int) -> None:
        """Go on counting from ``done``, which did not come just now and is no speed."""
        self._came.clear()
        self.at(done)

    def _write(self, now: float) -> None:
        began, had = self._came[0]
        speed = max(self._done - had, 0) / (now - began) if now > began else 0.0
        noted = {**asdict(Transfer(self._done, self._total, speed)), "at": time.time()}
        fresh = self._folder / f"{_FILE}.part"
        # A full disk must not hide what was being done on it.
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(noted), encoding="utf-8")
            os.replace(fresh, self._folder / _FILE)
