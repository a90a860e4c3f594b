"""Writing several videos that follow each other at the same time: each in a thread, with pictures waiting for it.

One H.264 encoder cannot use many cores: its look ahead is one thread. So where there are many, the next videos begin
while the last ones are still being written.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from modules.media.encode import VideoWriter
from modules.media.frames import I420

MOST_AT_ONCE, THREADS_EACH = 2, 4
# Pictures that may wait for an encoder. Where there are several, one must wait until the next ones have work, too.
AHEAD_ALONE, AHEAD = 4, 30
WAIT_SECONDS = 0.1


class Abandoned(Exception):
    """The videos are not wanted any more; makes a writer leave nothing behind."""


class Writers:
    """Videos one after another: ``begin`` one, ``write`` its pictures, and so on; whole when the block ends cleanly."""

    def __init__(self, threads: int) -> None:
        """threads: of all encoders together."""
        self._at_once = min(MOST_AT_ONCE, max(1, threads // THREADS_EACH))
        self.threads_each = max(1, threads // self._at_once)
        self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="encode")
        self._gone = threading.Event()
        self._writing: list[Future[None]] = []
        self._pictures: queue.Queue[I420 | None] | None = None

    def begin(self, opened: Callable[[], VideoWriter]) -> None:
        """The next pictures belong to another video, for which ``opened`` makes the writer."""
        self._end()
        while len(self._writing) >= self._at_once:
            self._writing.pop(0).result()
        self._pictures = queue.Queue(AHEAD if self._at_once > 1 else AHEAD_ALONE)
        self._writing.append(self._pool.submit(self._work, opened, self._pictures))

    def write(self, picture: I420 | None) -> None:
        """Append a picture to the video begun last; errors of any video come out here."""
        assert self._pictures is not None
        while True:
            for future in self._writing:
                if future.done():
                    future.result()
            try:
                self._pictures.put(picture, timeout=WAIT_SECONDS)
                return
            except queue.Full:
                continue

    def _end(self) -> None:
        if self._pictures is not None:
            self.write(None)
            self._pictures = None

    def _work(self, opened: Callable[[], VideoWriter], pictures: queue.Queue[I420 | None]) -> None:
        with opened() as writer:
            while True:
                try:
                    picture = pictures.get(timeout=WAIT_SECONDS)
                except queue.Empty:
                    if self._gone.is_set():
                        raise Abandoned from None
                    continue
                if self._gone.is_set():
                    raise Abandoned
                if picture is None:
                    return
                writer.write(picture)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._end()
                for future in self._writing:
                    future.result()
        finally:
            self._gone.set()
            self._pool.shutdown()
