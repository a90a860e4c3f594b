"""One file over HTTP: written as it comes, taken up where it broke off, checked when it is whole."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from modules.errors import StudioError
from modules.weights import workplace
from modules.weights.catalogue import WeightFile
from modules.weights.meter import Meter
from modules.weights.records import BLOCK

_LOOK_SECONDS = 0.2
_SILENT_SECONDS = 20.0  # after which a connection that brings nothing is made anew
_TRIES = 5  # without a single new byte
_LONGEST_PAUSE = 8.0
_AHEAD = 32  # blocks that may wait to be written
T = TypeVar("T")


@dataclass(frozen=True)
class Offer:
    """A file as a hub offers it: ``size`` in bytes, and its sha256 or git's sha1 where it tells one."""

    url: str
    headers: Mapping[str, str]
    size: int
    sha256: str
    git_sha1: str
    source: str

    @property
    def mark(self) -> str:
        """Tells versions of a file apart, so that halves of two are never joined."""
        return (self.sha256 or self.git_sha1 or str(self.size))[:16]


class _Partial:
    """The file that grows. Its hashes grow with it."""

    def __init__(self, path: Path, offer: Offer) -> None:
        self._file = path.open("ab+")
        self._offer = offer
        self._forget()

    def _forget(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        # git's name of a file, no protection against anybody
        self._sha1 = hashlib.sha1(b"blob %d\0" % self._offer.size, usedforsecurity=False)

    def take_up(self, tick: Callable[[], None]) -> None:
        """Hash what is there already."""
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            self._count(block)
            tick()
        if self.size > self._offer.size:
            self.restart()

    def restart(self) -> None:
        self._file.truncate(0)
        self._forget()

    def write(self, block: bytes) -> None:
        self._file.write(block)
        self._count(block)

    def _count(self, block: bytes) -> None:
        self._sha256.update(block)
        self._sha1.update(block)
        self.size += len(block)

    def close(self) -> None:
        # What cannot be written any more on a full disk is fetched again.
        with suppress(OSError):
            self._file.flush()
            os.fsync(self._file.fileno())
        with suppress(OSError):
            self._file.close()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def good(self) -> bool:
        if self._offer.git_sha1 and self._sha1.hexdigest() != self._offer.git_sha1:
            return False
        return self.size == self._offer.size and self._offer.sha256 in ("", self.sha256)


def receive(offer: Offer, file: WeightFile, folder: Path, meter: Meter, done: int, title: str) -> tuple[Path, str]:
    """Load a file into ``folder`` (made if it is not there): its path, a .part, and its sha256.

    ``done`` bytes of the meter's whole came before this file. StudioError weights_interrupted,
    weights_download_broken or weights_no_space; but for the second, what has arrived stays for the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file.name}.{file.sha256[:16] or offer.mark}.part"
    for other in folder.glob(f"{file.name}.*.part"):
        if other != path:
            other.unlink()
    partial = _Partial(path, offer)
    try:
        partial.take_up(meter.still)
        meter.restart(done + partial.size)
        _fill(partial, offer, lambda: meter.at(done + partial.size), title, file.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise workplace.no_space(folder, title, offer.size - partial.size) from error
    finally:
        partial.close()
    if not partial.good or file.sha256 not in ("", partial.sha256):
        path.unlink()
        raise StudioError("weights_download_broken", retryable=True, name=title, file=file.name)
    return path, partial.sha256


def _fill(partial: _Partial, offer: Offer, tick: Callable[[], None], title: str, name: str) -> None:
    """Load until the file is whole; a connection that breaks is made anew while that brings anything."""
    failures = 0
    while partial.size < offer.size:
        had = partial.size
        try:
            with closing(_arriving(offer, had)) as arriving:
                for block in arriving:
                    if block is _FROM_THE_START:
                        partial.restart()
                        had = 0
                    elif isinstance(block, bytes):
                        partial.write(block[: offer.size - partial.size])
                    tick()
        except _BrokenOff:
            pass
        except _Refused as refused:
            raise StudioError(
                "weights_source_failed",
                retryable=True,
                name=title,
                file=name,
                source=offer.source,
                status=refused.status,
            ) from None
        failures = 0 if partial.size > had else failures + 1
        if failures > _TRIES:
            raise StudioError("weights_interrupted", retryable=True, name=title, file=name, source=offer.source)
        until = time.monotonic() + (min(2.0 ** (failures - 1), _LONGEST_PAUSE) if failures else 0.0)
        while partial.size < offer.size and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            tick()


class _BrokenOff(Exception):
    """The connection ended before the file did."""


class _Refused(Exception):
    """The hub does not give what it offered."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_FROM_THE_START = object()  # the server sends all again, although it was asked for the rest


def _arriving(offer: Offer, start: int) -> Generator[object, None, None]:
    """Blocks from byte ``start`` on; None every fifth of a second in which nothing came.

    A thread of its own waits for the network, so that whoever counts the blocks can stop at any time.
    """
    arrived: queue.Queue[object] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def hand_over(item: object) -> bool:
        while not stopped.is_set():
            with suppress(queue.Full):
                arrived.put(item, timeout=_LOOK_SECONDS)
                return True
        return False

    def read() -> None:
        try:
            for block in _request(offer, start):
                if not hand_over(block):
                    return
            hand_over(_BrokenOff())  # the end; whether it is the right one, the size tells
        except Exception as error:  # carried to whoever waits, who knows what to do about it
            hand_over(error)

    threading.Thread(target=read, name="download", daemon=True).start()
    try:
        while True:
            try:
                item = arrived.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()


def _request(offer: Offer, start: int) -> Iterator[object]:
    import httpx2
    from huggingface_hub import get_session

    headers = {**offer.headers, "accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    try:
        with get_session().stream(
            "GET", offer.url, headers=headers, timeout=_SILENT_SECONDS, follow_redirects=True
        ) as answer:
            if answer.status_code in (408, 416, 429) or answer.status_code >= 500:
                raise _BrokenOff  # busy, or no longer the file that was offered: asked again, a few times
            if answer.status_code not in (200, 206):
                raise _Refused(answer.status_code)
            if start and answer.status_code == 200:
                yield _FROM_THE_START
            yield from answer.iter_bytes()
    except httpx2.HTTPError as error:
        raise _BrokenOff from error


def waited(work: Callable[[], T], tick: Callable[[], None]) -> T:
    """The result of ``work``, done in a thread of its own; ``tick`` is called meanwhile and may stop the waiting."""
    ended: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue(1)

    def run() -> None:
        try:
            ended.put((work(), None))
        except Exception as error:  # carried to whoever waits
            ended.put((None, error))

    threading.Thread(target=run, name="question", daemon=True).start()
    while True:
        try:
            result, error = ended.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            tick()
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
