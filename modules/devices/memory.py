"""How much memory is free, how much of it this process takes, and whether an error means that there was too little.

Nothing here imports torch unless a card is asked about: what torch has not been loaded for cannot lie on a card.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from dataclasses import dataclass
from types import ModuleType, TracebackType

import psutil

from modules.devices import nvidia
from modules.devices.probe import choose

MEGABYTE = 1_000_000
# A reading of this process and its children takes some milliseconds.
READ_SECONDS = 1.0


def free_memory() -> int:
    """Bytes of main memory that can be used without swapping."""
    return int(psutil.virtual_memory().available)


def free_gpu_memory(choice: str = "auto") -> int | None:
    """Bytes that are free on the card that a ``choice`` of the settings means; None when that is no NVIDIA card.

    None as well where torch is missing. Raises what ``choose`` raises when torch cannot use the card that there is.
    """
    try:
        import torch
    except ImportError:
        return None
    device = choose(choice)
    if device.kind != "cuda":
        return None
    empty_gpu_cache()
    return int(torch.cuda.mem_get_info(device.index)[0])


def empty_gpu_cache() -> None:
    """Let go of what torch keeps of the cards for later."""
    gc.collect()
    for cuda, _ in _cards_in_use()[:1]:
        cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that a card has too little memory; its libraries say so in words of their own."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in said or "_ALLOC_FAILED" in said


def other_programs() -> tuple[str, ...]:
    """Names of other programs that use the cards now, as far as their driver tells."""
    me = psutil.Process()
    return nvidia.programs({os.getpid(), *(child.pid for child in me.children(recursive=True))})


def _cards_in_use() -> list[tuple[ModuleType, int]]:
    """torch.cuda with the number of each card, once a card has been used; asking sooner would take memory on one."""
    cuda = sys.modules.get("torch.cuda")
    if cuda is None or not cuda.is_initialized():
        return []
    return [(cuda, card) for card in range(cuda.device_count())]


@dataclass(frozen=True)
class Amount:
    """Bytes of main memory and of GPU memory."""

    main: int = 0
    gpu: int = 0


class Gauge:
    """What this process and its children take now, and took at most of the cards."""

    def main(self) -> int:
        """Bytes of resident main memory."""
        total = 0
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue  # it has just ended
        return total

    def gpu(self) -> int:
        """Bytes that tensors take on all cards."""
        return sum(cuda.memory_allocated(card) for cuda, card in _cards_in_use())

    def forget_gpu_peak(self) -> None:
        """Let ``gpu_peak`` begin anew."""
        for cuda, card in _cards_in_use():
            cuda.reset_peak_memory_stats(card)

    def gpu_peak(self) -> int:
        """The most bytes that tensors took on all cards since then."""
        return sum(cuda.max_memory_allocated(card) for cuda, card in _cards_in_use())


class Watch:
    """Watches a gauge while it is entered: ``start``, ``peak`` and ``end`` are what was taken."""

    def __init__(self, gauge: Gauge, seconds: float = READ_SECONDS) -> None:
        self._gauge, self._seconds = gauge, seconds
        self._stop = threading.Event()
        self._most = 0
        self.start = self.peak = self.end = Amount()

    def __enter__(self) -> Watch:
        self._gauge.forget_gpu_peak()
        self.start = Amount(self._gauge.main(), self._gauge.gpu())
        self._thread = threading.Thread(target=self._look, name="memory gauge", daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(self._seconds):
            self._most = max(self._most, self._gauge.main())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.end = Amount(self._gauge.main(), self._gauge.gpu())
        main = max(self._most, self.start.main, self.end.main)
        self.peak = Amount(main, max(self._gauge.gpu_peak(), self.start.gpu, self.end.gpu))
