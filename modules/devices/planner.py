"""Which engines are loaded, and who must leave when memory is short. This build computes on the CPU."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeVar

import psutil

from modules.errors import StudioError

log = logging.getLogger("devices")
# What the system and the other programs of the user must keep.
SPARE_BYTES = 500_000_000


class Unloadable(Protocol):
    """An engine, as far as its memory goes."""

    def unload(self) -> None: ...


Engine = TypeVar("Engine", bound=Unloadable)


def free_memory() -> int:
    """Bytes of main memory that can be used without swapping."""
    return int(psutil.virtual_memory().available)


class Keeper:
    """Keeps engines loaded from job to job; the least recently used one leaves when memory is short."""

    def __init__(self, free: Callable[[], int] = free_memory) -> None:
        self._free = free
        self._kept: OrderedDict[str, Unloadable] = OrderedDict()

    def get(self, name: str, memory_mb: int, make: Callable[[], Engine]) -> Engine:
        """The engine called ``name``, made if it is new, with room for the ``memory_mb`` that it needs at work.

        Raises StudioError('memory_short') when there is no room even without all others.
        """
        engine = self._kept.pop(name, None)
        needed = memory_mb * 1_000_000 + SPARE_BYTES
        # One that is here already holds most of what it needs.
        while engine is None and self._free() < needed and self._kept:
            other, leaving = self._kept.popitem(last=False)
            log.info("unloading %s to make room for %s", other, name)
            leaving.unload()
        if engine is None:
            if self._free() < needed:
                raise StudioError("memory_short", retryable=True, needed=memory_mb, free=self._free() // 1_000_000)
            engine = make()
        self._kept[name] = engine
        return engine  # type: ignore[return-value]  # a name always stands for the same kind of engine
