"""Pictures that are needed again and again, forwards and backwards, decoded once and kept on disk as they are.

Going backwards through a film means decoding from the last whole picture on, again and again: up to ten seconds of
them for one step. A loop that is passed more than once is therefore written down while it is first decoded; the
system's own cache keeps of it what fits in memory that nobody else needs.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from modules.media.decode import read_frames
from modules.media.encode import disk_errors
from modules.media.footage import Footage
from modules.media.frames import I420
from modules.media.prefetch import mapped

# Writing a picture takes as long as decoding it, and a system writes to one file one at a time.
STRIPES = 4


def spool_bytes(footage: Footage, indices: Sequence[int]) -> int:
    """Disk space that ``read_spooled`` takes at most."""
    return footage.width * footage.height * 3 // 2 * len(set(indices))


def read_spooled(footage: Footage, indices: Sequence[int], folder: Path, threads: int) -> Iterator[I420]:
    """The pictures of ``indices`` (25 a second) in their order, each decoded once; each array is the caller's own.

    Of what is decoded, what ``indices`` ask for again is kept in ``folder``, which is gone at the end.
    """
    with _Spool(footage, sorted(set(indices)), folder, threads) as spool:
        yield from spool.read(indices)


class _Spool:
    """Those of the pictures ``wanted`` of a footage that were decoded and written down; for one reader at a time."""

    def __init__(self, footage: Footage, wanted: Sequence[int], folder: Path, threads: int) -> None:
        self._footage, self._folder, self._threads = footage, folder, threads
        self._places = {index: place for place, index in enumerate(wanted)}
        self._there: set[int] = set()
        self._stripes: list[_Stripe] = []

    def read(self, indices: Sequence[int]) -> Iterator[I420]:
        kept = next((place for place, index in enumerate(indices) if index not in self._there), len(indices))
        yield from mapped(self._kept, indices[:kept], self._threads)
        if kept < len(indices):
            yield from self._decoded(indices[kept:])

    def _decoded(self, indices: Sequence[int]) -> Iterator[I420]:
        """The pictures of ``indices``, of which the first is missing: forwards they are given out while decoded."""
        first, rising = indices[0], 1
        while rising < len(indices) and indices[rising] == first + rising:
            rising += 1
        if rising > 1 or len(indices) == 1:
            yield from self._keep(first, first + rising, indices[rising:])
            yield from self.read(indices[rising:])
            return
        low = min(set(indices) - self._there)
        for _ in self._keep(low, first + 1, indices):
            pass
        yield from self.read(indices)

    def _keep(self, start: int, stop: int, again: Sequence[int]) -> Iterator[I420]:
        """The pictures ``start`` to ``stop``, decoded; those in ``again`` are written down."""
        kept = set(again)

        def keep(numbered: tuple[int, I420]) -> I420:
            index, picture = numbered
            if index in kept:
                stripe, place = self._where(index)
                with disk_errors(self._folder):
                    stripe.write(place, picture)
                self._there.add(index)
            return picture

        yield from mapped(keep, enumerate(read_frames(self._footage, start, stop), start), self._threads)

    def _kept(self, index: int) -> I420:
        stripe, place = self._where(index)
        picture = np.empty((self._footage.height * 3 // 2, self._footage.width), np.uint8)
        stripe.read(place, picture)
        return picture

    def _where(self, index: int) -> tuple[_Stripe, int]:
        place, stripe = divmod(self._places[index], STRIPES)
        return self._stripes[stripe], place

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        self._stripes = [_Stripe(open(self._folder / str(number), "w+b")) for number in range(STRIPES)]  # noqa: SIM115
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stripe in self._stripes:
            stripe.file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Stripe:
    """A file of pictures of one size, numbered by their place in it; for several threads."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._alone = threading.Lock()

    def write(self, place: int, picture: I420) -> None:
        with self._alone:
            self.file.seek(place * picture.nbytes)
            self.file.write(picture.data)

    def read(self, place: int, picture: I420) -> None:
        """Fill ``picture``."""
        with self._alone:
            self.file.seek(place * picture.nbytes)
            self.file.readinto(picture.data)  # type: ignore[attr-defined]  # a plain file has it
