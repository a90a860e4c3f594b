"""Networks compiled while they already serve, and kept on disk for the next start.

Compiling takes up to a minute or two and holds Python's lock: done in this process it would make sound jitter. So when
nobody uses the network a child process compiles first, with weights that mean nothing, and fills torch's cache on disk;
only then, and again while nobody uses the network, a thread here compiles the same one, which takes what it finds
there, and the engine changes over.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modules.avatar.neural.recording import ALONE
from modules.settings import ROOT

log = logging.getLogger("compiled")
# Free memory of the card that compiling needs, so many times the network's own and so much beside it.
ROOM_TIMES, ROOM_BYTES = 2, 2_000_000_000
LOOK_SECONDS = 0.5
# Even from the cache it holds the lock for 8 to 14 s: a first frame took 0.8 to 1.3 s beside it instead of 0.15.
PAUSE_SECONDS = 3.0
STOPPED_SECONDS = 5.0
# Several sizes, each with a child of its own, would take a machine's memory and all of its cores.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """How another process makes the same network: ``maker`` is 'module:function', called with ``arguments``.

    The function gives the network in float32 with any weights. cache: folder of what is compiled.
    """

    maker: str
    arguments: tuple[Any, ...]
    cache: Path


def can_compile() -> bool:
    """Whether this machine has what compiling takes: a C compiler and Triton."""
    found = importlib.util.find_spec("triton") is not None
    return found and any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))


def paused(idle: Callable[[], float], stopped: threading.Event) -> bool:
    """Wait until ``idle`` tells of PAUSE_SECONDS without use; False if it is ``stopped`` before."""
    while (left := PAUSE_SECONDS - idle()) > 0:
        if stopped.wait(left):
            return False
    return not stopped.is_set()


class Upgrade:
    """A compiled form of ``network`` for batches of ``size``, in the making; ``ready`` gives it once it is there.

    idle: tells for how many seconds nobody has used the network.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        device: torch.device,
        inputs: Sequence[np.ndarray],
        size: int,
        idle: Callable[[], float],
    ) -> None:
        self._recipe, self._network, self._device, self._idle = recipe, network, device, idle
        self._dtype = next(network.parameters()).dtype
        self._shapes = [((size, *array.shape[1:]), str(array.dtype)) for array in inputs]
        self._made: Callable[..., torch.Tensor] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="compile", daemon=True)
        if can_compile() and self._has_room():
            self._thread.start()

    def ready(self) -> Callable[..., torch.Tensor] | None:
        """The compiled network, once; None before that and afterwards."""
        made, self._made = self._made, None
        return made

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped.set()

    def _quiet(self) -> bool:
        return paused(self._idle, self._stopped)

    def _has_room(self) -> bool:
        own = sum(weight.numel() * weight.element_size() for weight in self._network.parameters())
        return torch.cuda.mem_get_info(self._device)[0] > ROOM_TIMES * own + ROOM_BYTES

    def _make(self) -> None:
        try:
            stamp = self._stamp()
            with _ONE_AT_A_TIME:
                # The child takes several cores for a minute or two: whoever uses the network now needs them more.
                if not self._quiet() or not (stamp.exists() or (self._child(stamp) and self._quiet())):
                    return
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._recipe.cache)
                network = torch.compile(self._network, dynamic=False)
                stream = torch.cuda.Stream(self._device)
                with ALONE, torch.inference_mode(), torch.cuda.stream(stream):
                    network(*_made_up(self._shapes, self._device))
                stream.synchronize()
                self._made = network
        except Exception:  # the network serves on as it is; the log says why
            log.exception("compiling failed")

    def _stamp(self) -> Path:
        """The file that says that the cache holds this network, on this card, with this torch and this code."""
        place, _ = self._recipe.maker.split(":")
        source = Path(inspect.getfile(importlib.import_module(place))).parent
        code = [path.read_text(encoding="utf-8") for path in sorted(source.glob("*.py"))]
        card = torch.cuda.get_device_name(self._device), torch.cuda.get_device_capability(self._device)
        told = [
            self._recipe.maker,
            self._recipe.arguments,
            code,
            self._shapes,
            str(self._dtype),
            torch.__version__,
            card,
        ]
        digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:20]
        return self._recipe.cache / f"{place.split('.')[-2]}-{digest}.compiled"

    def _child(self, stamp: Path) -> bool:
        """Fill the cache in a process of its own; True when that went well."""
        stamp.parent.mkdir(parents=True, exist_ok=True)
        order = {
            "maker": self._recipe.maker,
            "arguments": self._recipe.arguments,
            "shapes": self._shapes,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": str(self._device),
        }
        with open(stamp.with_suffix(".log"), "wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "modules.avatar.neural.compiled", json.dumps(order)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(self._recipe.cache)},
            )
        while child.poll() is None:
            if self._stopped.wait(LOOK_SECONDS):
                child.terminate()
                child.wait(STOPPED_SECONDS)
                return False
        if child.returncode == 0:
            stamp.touch()
        return child.returncode == 0


def _made_up(shapes: Sequence[tuple[Sequence[int], str]], device: torch.device) -> list[torch.Tensor]:
    random = np.random.default_rng(0)
    return [torch.from_numpy((random.random(shape) * 2).astype(kind)).to(device) for shape, kind in shapes]


def _compile(order: dict[str, Any]) -> None:
    """In the child: make the network as the engine has it, and run it compiled; behind all that people wait for."""
    if hasattr(os, "nice"):
        os.nice(10)
    place, function = order["maker"].split(":")
    network = getattr(importlib.import_module(place), function)(*order["arguments"])
    device = torch.device(order["device"])
    network = network.eval().requires_grad_(False).to(device, getattr(torch, order["dtype"]))
    network = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.compile(network, dynamic=False)(*_made_up(order["shapes"], device))
    torch.cuda.synchronize(device)


if __name__ == "__main__":
    _compile(json.loads(sys.argv[1]))
