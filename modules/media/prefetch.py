"""Run ahead in threads, so that decoding, computing and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
# More than so many hinder each other on Python's lock.
MOST_THREADS = 4
_WAIT = 0.1  # seconds between looks at whether the reader has gone


class _End:
    """Last thing in the queue: the source is done, or failed with ``error``."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(iterator: Iterator[Item], size: int) -> Generator[Item, None, None]:
    """The items of ``iterator``, computed up to ``size`` ahead in a thread.

    Errors come out where they belong in the order. When the reader stops early the thread ends
    and the source generator is closed in the thread that ran it.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=max(1, size))
    gone = threading.Event()

    def put(item: Item | _End) -> bool:
        while not gone.is_set():
            try:
                waiting.put(item, timeout=_WAIT)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in iterator:
                if not put(item):
                    break
        except BaseException as caught:  # handed to the reader, nothing is lost
            error = caught
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
            put(_End(error))

    worker = threading.Thread(target=work, name="prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        gone.set()
        worker.join()


def mapped(make: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Generator[Made, None, None]:
    """``make`` of each item, in order, computed in several threads and only a little ahead."""
    early: deque[Future[Made]] = deque()
    threads = min(threads, MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                early.append(pool.submit(make, item))
                if len(early) > threads + 1:
                    yield early.popleft().result()
            while early:
                yield early.popleft().result()
        finally:
            for future in early:
                future.cancel()
