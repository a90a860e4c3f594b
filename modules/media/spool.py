"""Pictures that are needed again and again, forwards and backwards, decoded once and kept on disk as they are.

Going backwards through a film means decoding from the last whole picture on, again and again: up to ten seconds of
them for one step. A loop that is passed more than once is therefore written down while it is first decoded; the
system's own cache keeps of it what fits in memory that nobody else needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from modules.media.decode import read_frames
from modules.media.encode import disk_errors
from modules.media.footage import Footage
from modules.media.frames import I420


class FrameSpool:
    """The pictures ``start`` to ``stop`` (25 a second) of a footage, in any order; used by one thread at a time.

    The file ``path`` grows to ``bytes_needed`` and is gone when the ``with`` block ends.
    """

    def __init__(self, path: Path, footage: Footage, start: int, stop: int) -> None:
        self._path, self._footage, self._start, self._stop = path, footage, start, stop
        self._there = np.zeros(stop - start, bool)
        self._file: BinaryIO | None = None

    @staticmethod
    def bytes_needed(width: int, height: int, count: int) -> int:
        """Disk space of ``count`` pictures."""
        return width * height * 3 // 2 * count

    def read(self, indices: Sequence[int]) -> Iterator[I420]:
        """The pictures of ``indices`` in their order; each array is the caller's own."""
        for place, index in enumerate(indices):
            if not self._there[index - self._start]:
                yield from self._decoded(indices, place)
                return
            yield self._kept(index)

    def _decoded(self, indices: Sequence[int], place: int) -> Iterator[I420]:
        """The rest of ``indices``, of which the first is missing: forwards it is given out while it is decoded."""
        rising = place
        while rising + 1 < len(indices) and indices[rising + 1] == indices[rising] + 1:
            rising += 1
        if rising > place or rising + 1 == len(indices):
            for index, picture in enumerate(
                read_frames(self._footage, indices[place], indices[rising] + 1), start=indices[place]
            ):
                self._keep(index, picture)
                yield picture
            yield from self.read(indices[rising + 1 :])
            return
        low = min(indices[place:])
        while self._there[low - self._start]:
            low += 1
        for index, picture in enumerate(read_frames(self._footage, low, indices[place] + 1), start=low):
            self._keep(index, picture)
        yield from self.read(indices[place:])

    def _size(self) -> int:
        return self.bytes_needed(self._footage.width, self._footage.height, 1)

    def _keep(self, index: int, picture: I420) -> None:
        assert self._file is not None
        with disk_errors(self._path):
            self._file.seek((index - self._start) * self._size())
            self._file.write(picture.data)
        self._there[index - self._start] = True

    def _kept(self, index: int) -> I420:
        assert self._file is not None
        picture = np.empty((self._footage.height * 3 // 2, self._footage.width), np.uint8)
        self._file.seek((index - self._start) * self._size())
        self._file.readinto(picture.data)  # type: ignore[attr-defined]  # a plain file has it
        return picture

    def __enter__(self) -> Self:
        self._file = open(self._path, "w+b", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
        self._path.unlink(missing_ok=True)
