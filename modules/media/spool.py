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


class FrameSpool:
    """The pictures ``start`` to ``stop`` (25 a second) of a footage, in any order; one reader at a time.

    The files in ``folder`` grow to ``bytes_needed`` at most and are gone when the ``with`` block ends.
    """

    def __init__(self, folder: Path, footage: Footage, start: int, stop: int, threads: int) -> None:
        self._folder, self._footage, self._start, self._threads = folder, footage, start, threads
        self._there = np.zeros(stop - start, bool)
        self._stripes: list[_Stripe] = []

    @staticmethod
    def bytes_needed(width: int, height: int, count: int) -> int:
        """Disk space of ``count`` pictures."""
        return width * height * 3 // 2 * count

    def read(self, indices: Sequence[int]) -> Iterator[I420]:
        """The pictures of ``indices`` in their order; each array is the caller's own.

        Of what is decoded, what ``indices`` ask for again is kept.
        """
        there = self._there[np.asarray(indices, int) - self._start]
        kept = len(there) if there.all() else int(there.argmin())
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
        low = min(indices)
        while self._there[low - self._start]:
            low += 1
        for _ in self._keep(low, first + 1, indices):
            pass
        yield from self.read(indices)

    def _keep(self, start: int, stop: int, again: Sequence[int]) -> Iterator[I420]:
        """The pictures ``start`` to ``stop``, decoded; those in ``again`` are written down."""
        wanted = set(again)

        def keep(numbered: tuple[int, I420]) -> I420:
            index, picture = numbered
            if index in wanted:
                place, stripe = divmod(index - self._start, STRIPES)
                with disk_errors(self._folder):
                    self._stripes[stripe].write(place, picture)
                self._there[index - self._start] = True
            return picture

        yield from mapped(keep, enumerate(read_frames(self._footage, start, stop), start), self._threads)

    def _kept(self, index: int) -> I420:
        picture = np.empty((self._footage.height * 3 // 2, self._footage.width), np.uint8)
        place, stripe = divmod(index - self._start, STRIPES)
        self._stripes[stripe].read(place, picture)
        return picture

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
    """A file of pictures of one size, for several threads."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._alone = threading.Lock()

    def write(self, place: int, picture: I420) -> None:
        with self._alone:
            self.file.seek(place * picture.nbytes)
            self.file.write(picture.data)

    def read(self, place: int, picture: I420) -> None:
        with self._alone:
            self.file.seek(place * picture.nbytes)
            self.file.readinto(picture.data)  # type: ignore[attr-defined]  # a plain file has it
