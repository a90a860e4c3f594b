"""Running one network on one device: bytes in, bytes out, in batches of few fixed sizes.

On CUDA a batch size is recorded once as a CUDA graph and replayed: the host then hands over one thing a batch instead
of hundreds of kernels; while nothing may be recorded, it runs as it is. Pictures cross the bus as bytes from pinned
memory, on streams of their own, so that copies of one batch go on while the next is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from modules.avatar.neural.compiled import Recipe, Upgrade
from modules.avatar.neural.recording import ALONE, record
from modules.devices import Device, torch_device

if TYPE_CHECKING:
    from modules.avatar.neural.exported import Exported

# A batch can be filled while one is computed and one is fetched.
SLOTS = 3
# Runs before a graph is recorded: cuDNN tries its algorithms in the first.
WARM_UPS = 2


class Ticket:
    """A batch under way; ``result`` waits for it. Fetch tickets in order, at most SLOTS - 1 behind."""

    def __init__(self, output: torch.Tensor, count: int, done: torch.cuda.Event | None) -> None:
        self._output, self._count, self._done = output, count, done

    def result(self) -> np.ndarray:
        """(count, ...) what the module gave, as an array of the caller's own."""
        if self._done is not None:
            self._done.synchronize()
        return np.array(self._output[: self._count].numpy())


@dataclass
class _Slot:
    """Pinned host buffers and device buffers of one batch under way."""

    host: list[torch.Tensor]
    device: list[torch.Tensor]
    result: torch.Tensor
    fetched: torch.Tensor
    computed: torch.cuda.Event
    done: torch.cuda.Event


class Runner:
    """Runs ``module`` in batches of the given ``sizes`` (rising); smaller batches are filled up.

    module: takes and gives tensors whose first side is the batch; what it computes per entry does not depend on the
    others. Its parameters are brought to ``dtype``; it converts its inputs itself.
    recipe: how to make it anew for compiling; without one it runs as it is.
    exports: whether it can be handed to ONNX Runtime, on a processor that computes it in single precision.
    """

    def __init__(
        self,
        module: nn.Module,
        device: Device,
        dtype: torch.dtype,
        sizes: Sequence[int],
        recipe: Recipe | None = None,
        exports: bool = False,
    ) -> None:
        self._device = torch_device(device)
        self._exports = exports and self._device.type == "cpu" and dtype == torch.float32
        self._exported: Exported | None = None
        self._module = module.eval().requires_grad_(False).to(self._device, dtype)
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self._sizes = tuple(sizes)
        self._recipe = recipe
        self._sized: dict[int, _Sized] = {}
        self._upgrades: dict[int, Upgrade] = {}
        self._used = time.monotonic()
        if self._device.type == "cuda":
            self._up, self._down = torch.cuda.Stream(self._device), torch.cuda.Stream(self._device)

    def submit(self, *inputs: np.ndarray, room: int = 1) -> Ticket:
        """Begin a batch: each input (n, ...) with n at most the largest size; all of one call share n.

        room: the size that batches usually have, so that a last and smaller one needs no graph of its own.
        """
        count = len(inputs[0])
        if self._device.type != "cuda":
            return Ticket(self._computed(inputs), count, None)
        self._used = time.monotonic()
        size = next(size for size in self._sizes if size >= max(count, room))
        if size not in self._sized:
            self._sized[size] = _Sized(self._module, self._device, size, inputs)
        elif size in self._upgrades and (compiled := self._upgrades[size].ready()) is not None:
            # The buffers of what is replaced go with it: nothing on the card may still use them.
            self._sized[size].wait()
            self._sized[size] = _Sized(compiled, self._device, size, inputs)
        ticket = self._sized[size].submit(inputs, self._up, self._down)
        # Again: the seconds of recording are no pause.
        self._used = time.monotonic()
        if self._recipe is not None and size not in self._upgrades:
            self._upgrades[size] = Upgrade(self._recipe, self._module, self._device, inputs, size, self._idle)
        return ticket

    def _computed(self, inputs: Sequence[np.ndarray]) -> torch.Tensor:
        """The whole batch, without a card."""
        if self._exports:
            if self._exported is None:
                # Takes memory that a process with a card has no use for.
                from modules.avatar.neural.exported import Exported

                self._exported = Exported(self._module, inputs, torch.get_num_threads())
            return torch.from_numpy(self._exported(inputs))
        with torch.inference_mode():
            given = [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in inputs]
            computed: torch.Tensor = self._module(*given).cpu()
            return computed

    def _idle(self) -> float:
        return time.monotonic() - self._used

    def close(self) -> None:
        """Stop what is still compiled for it."""
        for upgrade in self._upgrades.values():
            upgrade.stop()


class _Sized:
    """The module for one batch size with its buffers, on CUDA; a graph as soon as one can be recorded."""

    def __init__(
        self, module: Callable[..., torch.Tensor], device: torch.device, size: int, like: Sequence[np.ndarray]
    ) -> None:
        self._module = module
        self._turn = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        shapes = [(size, *array.shape[1:]) for array in like]
        kinds = [torch.from_numpy(array[:0]).dtype for array in like]
        self._inputs = [
            torch.zeros(shape, dtype=kind, device=device) for shape, kind in zip(shapes, kinds, strict=True)
        ]
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.inference_mode(), torch.cuda.stream(self._stream), _tuned():
            for _ in range(WARM_UPS):
                self._output = module(*self._inputs)
        self._slots = [self._slot(device) for _ in range(SLOTS)]
        # The streams that copy do not know of what fills the buffers first.
        torch.cuda.current_stream(device).synchronize()

    def wait(self) -> None:
        """Until nothing is under way."""
        for slot in self._slots:
            slot.done.synchronize()

    def _compute(self) -> torch.Tensor:
        """What the module gives for ``_inputs``, on ``_stream``."""
        if self._graph is None and ALONE.acquire(blocking=False):
            try:
                with _tuned():
                    self._graph, self._output = record(lambda: self._module(*self._inputs), self._stream)
            finally:
                ALONE.release()
        if self._graph is None:
            return self._module(*self._inputs)
        self._graph.replay()
        return self._output

    def _slot(self, device: torch.device) -> _Slot:
        return _Slot(
            [torch.zeros(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in self._inputs],
            [torch.zeros_like(tensor) for tensor in self._inputs],
            torch.zeros_like(self._output),
            torch.zeros(self._output.shape, dtype=self._output.dtype, pin_memory=True),
            torch.cuda.Event(),
            # Who waits for a result sleeps: turning in circles would take a core from the encoders.
            torch.cuda.Event(blocking=True),
        )

    def submit(self, inputs: Sequence[np.ndarray], up: torch.cuda.Stream, down: torch.cuda.Stream) -> Ticket:
        """Begin a batch; ``up`` and ``down`` carry the copies to and from the device."""
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % SLOTS
        slot.done.synchronize()
        count = len(inputs[0])
        for buffer, array in zip(slot.host, inputs, strict=True):
            buffer[:count].numpy()[:] = array
        with torch.cuda.stream(up):
            for target, source in zip(slot.device, slot.host, strict=True):
                target.copy_(source, non_blocking=True)
        self._stream.wait_stream(up)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for target, source in zip(self._inputs, slot.device, strict=True):
                target.copy_(source)
            slot.result.copy_(self._compute())
            slot.computed.record(self._stream)
        down.wait_event(slot.computed)
        with torch.cuda.stream(down):
            slot.fetched.copy_(slot.result, non_blocking=True)
            slot.done.record(down)
        return Ticket(slot.fetched, count, slot.done)


@contextmanager
def _tuned() -> Iterator[None]:
    """cuDNN tries its algorithms on shapes that it has not seen."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
