"""Which engines are loaded, who must leave when memory is short, and what to do when it runs out all the same."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from modules.devices.measured import Measured, Need
from modules.devices.memory import (
    MEGABYTE,
    Gauge,
    Watch,
    empty_gpu_cache,
    free_gpu_memory,
    free_memory,
    is_out_of_memory,
    other_programs,
)
from modules.errors import StudioError

log = logging.getLogger("devices")
# What the system and the other programs of the user must keep of main memory and of a card's.
SPARE_BYTES, SPARE_GPU_BYTES = 500_000_000, 200_000_000
# Stands where there is nothing to name.
NONE = "—"


class Unloadable(Protocol):
    """An engine, as far as its memory goes."""

    def unload(self) -> None: ...


Engine = TypeVar("Engine", bound=Unloadable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Advice:
    """What a user can do about a full card: names of programs to close, and of engines that would fit."""

    programs: str
    engines: str


@dataclass(frozen=True)
class _Asked:
    """How an engine was asked for: to work on a card or not, and what could be used instead."""

    on_card: bool
    alternatives: Mapping[str, int]


class Keeper:
    """Keeps engines loaded from job to job; the least recently used one leaves when memory is short.

    file: where measured needs are kept (see measured.FILE).
    free: bytes of free main memory. free_gpu: of the card, None when none is computed on.
    programs: names of other programs on the card.
    """

    def __init__(
        self,
        file: Path | None = None,
        free: Callable[[], int] = free_memory,
        free_gpu: Callable[[], int | None] = free_gpu_memory,
        gauge: Gauge | None = None,
        programs: Callable[[], Iterable[str]] = other_programs,
    ) -> None:
        self._free, self._free_gpu, self._programs = free, free_gpu, programs
        self._gauge = gauge or Gauge()
        self._measured = Measured(file)
        self._kept: OrderedDict[str, Unloadable] = OrderedDict()
        self._asked: dict[str, _Asked] = {}
        # What an engine still holds after it was used; what it takes is more than one use's growth by this.
        self._held: dict[str, Need] = {}

    def get(
        self, name: str, need: Need, make: Callable[[], Engine], alternatives: Mapping[str, int] | None = None
    ) -> Engine:
        """The engine called ``name``, made if it is new, with room for what it needs at work.

        That is what it was measured to take, or else ``need``. alternatives: titles of engines that do the same work,
        with the MB of GPU memory that they need, to name those that would fit.
        Raises StudioError('memory_short') or ('gpu_memory_short') when there is no room even without all others.
        """
        engine = self._kept.pop(name, None)
        if engine is None:
            on_card = need.gpu_mb > 0 and self._free_gpu() is not None
            self._asked[name] = _Asked(on_card, alternatives or {})
            # Without a card all of it lies in main memory.
            self._make_room(name, need if on_card else Need(need.main_mb + need.gpu_mb))
            engine = make()
        self._kept[name] = engine
        return engine  # type: ignore[return-value]  # a name always stands for the same kind of engine

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        """Around work of the kept engine ``name``: what it takes is remembered for the next time."""
        held = self._held.get(name, Need(0))
        whole = False
        watch = Watch(self._gauge)
        try:
            with watch:
                yield
                whole = True
        finally:
            start, peak, end = watch.start, watch.peak, watch.end
            self._held[name] = Need(
                max(0, held.main_mb + (end.main - start.main) // MEGABYTE),
                max(0, held.gpu_mb + (end.gpu - start.gpu) // MEGABYTE),
            )
            taken = Need(
                held.main_mb + (peak.main - start.main) // MEGABYTE, held.gpu_mb + (peak.gpu - start.gpu) // MEGABYTE
            )
            self._measured.note(self._key(name), taken, whole)

    def retrying(
        self, name: str, run: Callable[[int], Result], batch: int, smaller: Callable[[int], int] | None = None
    ) -> Result:
        """``run(batch)`` of the kept engine ``name``, once more with a smaller batch when the card's memory runs out.

        See the function of this name. Before the second try all other engines leave, and this one starts afresh,
        so that what its first try has left on the card is in nobody's way.
        """

        def make_room() -> None:
            for other in [other for other in self._kept if other != name]:
                self._unload(other)
            if name in self._kept:
                self._kept[name].unload()
                self._held.pop(name, None)

        return retrying(run, batch, smaller or halved, make_room, lambda: self._advice(name))

    def _key(self, name: str) -> str:
        """What is measured by: an engine takes other amounts with a card than without."""
        return f"{name} on card" if self._asked[name].on_card else name

    def _make_room(self, name: str, need: Need) -> None:
        measured = self._measured.get(self._key(name)) or need
        self._let_go("main", measured)
        self._let_go("gpu", measured)
        # Refused only when even the smaller of the two is too much: a measured one may be that of larger footage.
        main_mb, gpu_mb = min(need.main_mb, measured.main_mb), min(need.gpu_mb, measured.gpu_mb)
        if self._short("main", Need(main_mb)):
            raise StudioError("memory_short", retryable=True, needed=main_mb, free=self._free() // MEGABYTE)
        if self._short("gpu", Need(0, gpu_mb)):
            advice = self._advice(name)
            raise StudioError(
                "gpu_memory_short",
                retryable=True,
                needed=gpu_mb,
                free=(self._free_gpu() or 0) // MEGABYTE,
                programs=advice.programs,
                engines=advice.engines,
            )

    def _let_go(self, kind: Literal["main", "gpu"], need: Need) -> None:
        """Unload engines that hold memory of this ``kind``, the longest unused first, until there is enough."""
        while self._short(kind, need):
            holding = (name for name in self._kept if kind == "main" or self._asked[name].on_card)
            oldest = next(holding, None)
            if oldest is None:
                return
            self._unload(oldest)

    def _short(self, kind: Literal["main", "gpu"], need: Need) -> bool:
        if kind == "main":
            return self._free() < need.main_mb * MEGABYTE + SPARE_BYTES
        free = self._free_gpu() if need.gpu_mb else None
        return free is not None and free < need.gpu_mb * MEGABYTE + SPARE_GPU_BYTES

    def _unload(self, name: str) -> None:
        log.info("unloading %s to make room", name)
        self._kept.pop(name).unload()
        self._held.pop(name, None)

    def _advice(self, name: str) -> Advice:
        free = self._free_gpu() or 0
        fitting = [
            title
            for title, needed in self._asked[name].alternatives.items()
            if not needed or needed * MEGABYTE + SPARE_GPU_BYTES <= free
        ]
        return Advice(", ".join(self._programs()) or NONE, ", ".join(fitting) or NONE)


def halved(batch: int) -> int:
    """Half of a batch, and at least one."""
    return max(1, batch // 2)


def no_more_room() -> None:
    """Nothing can leave."""


def plain_advice() -> Advice:
    """What can be said without knowing the engine."""
    return Advice(", ".join(other_programs()) or NONE, NONE)


def retrying(
    run: Callable[[int], Result],
    batch: int,
    smaller: Callable[[int], int] = halved,
    make_room: Callable[[], None] = no_more_room,
    advice: Callable[[], Advice] = plain_advice,
) -> Result:
    """``run(batch)``; when a card's memory runs out, ``make_room()`` and once more ``run(smaller(batch))``.

    Raises StudioError('gpu_out_of_memory') when that is too much as well; other errors pass.
    """
    try:
        return run(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("out of memory with batch %d: %s", batch, str(error))
    # Outside of the handler: inside it, the error still holds all that the failed run had on the card.
    make_room()
    empty_gpu_cache()
    try:
        return run(smaller(batch))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("out of memory with batch %d as well: %s", smaller(batch), str(error))
    make_room()
    empty_gpu_cache()
    given = advice()
    raise StudioError("gpu_out_of_memory", retryable=True, programs=given.programs, engines=given.engines)
