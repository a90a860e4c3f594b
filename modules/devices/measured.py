"""What each engine took at work when it was last used, kept from start to start in data_dir/memory.json."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modules.devices import files

FILE = "memory.json"
# A use that took less than is remembered pulls that down by this share of the difference.
FORGETTING = 0.1


class Described(Protocol):
    """An engine's info, as far as its memory goes."""

    @property
    def memory_mb(self) -> int: ...

    @property
    def gpu_memory_mb(self) -> int: ...


@dataclass(frozen=True)
class Need:
    """What an engine takes at work, in MB (10^6 bytes) of main and of GPU memory."""

    main_mb: int
    gpu_mb: int = 0

    @classmethod
    def of(cls, info: Described) -> Need:
        """What an engine's info says."""
        return cls(info.memory_mb, info.gpu_memory_mb)


class Measured:
    """Remembered needs by name, in ``file``, or in memory alone where that is None."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Need] = {}
        for name, need in (files.read(file) if file is not None else {}).items():
            if isinstance(need, list) and len(need) == 2 and all(isinstance(number, int) for number in need):
                self._known[name] = Need(*need)

    def get(self, name: str) -> Need | None:
        """What ``name`` took, or None if that is not known yet."""
        return self._known.get(name)

    def note(self, name: str, taken: Need, whole: bool) -> None:
        """Remember that ``name`` took ``taken``: the running maximum, which is forgotten slowly.

        whole: the work came to its end; one that broke off took at least this, so it only raises what is known.
        """
        known = self._known.get(name)
        if known is None:
            if not whole:
                return
            known = taken
        self._known[name] = Need(
            _running(known.main_mb, taken.main_mb, whole), _running(known.gpu_mb, taken.gpu_mb, whole)
        )
        if self._file is not None:
            # It is of use only; work that has succeeded must not fail over it.
            with contextlib.suppress(OSError):
                rows = {name: [need.main_mb, need.gpu_mb] for name, need in sorted(self._known.items())}
                files.write(self._file, rows)


def _running(known: int, taken: int, whole: bool) -> int:
    if taken >= known or not whole:
        return max(taken, known)
    return round(known + FORGETTING * (taken - known))
