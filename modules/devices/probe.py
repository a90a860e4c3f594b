"""Which devices torch can compute on here, whether the installed build fits them, and with which numbers.

torch is imported inside: the page and the launcher may import this room.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psutil

from modules.devices.nvidia import Card
from modules.errors import StudioError

if TYPE_CHECKING:
    import torch

Kind = Literal["cuda", "cpu", "mps"]
# From this capability on (Volta) half precision is as fast as single or faster; on Pascal it is up to 64 times slower.
HALF_FROM = (7, 0)
BFLOAT16_FROM = (8, 0)
# The GTX 16 series claims capability 7.5, but its half-precision convolutions are known to give NaN.
HALF_BROKEN = "GTX 16"
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


@dataclass(frozen=True)
class Device:
    """Something to compute on.

    index: the number that torch gives it among its kind.
    memory_bytes: of the card, or of the machine.
    capability: CUDA compute capability, e.g. (9, 0); (0, 0) on others.
    bfloat16: computed as such: elsewhere torch takes it too, but is many times slower than in single precision.
    """

    kind: Kind
    index: int
    name: str
    memory_bytes: int
    capability: tuple[int, int] = (0, 0)
    bfloat16: bool = False

    @property
    def id(self) -> str:
        """What settings call it: 'cuda:0', 'cpu' or 'mps'."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


@dataclass(frozen=True)
class Build:
    """The installed torch.

    version: e.g. '2.13.0+cu130'; cuda: e.g. '13.0', or '' of a build for processors (or for AMD cards).
    architectures: what its CUDA kernels were compiled for, e.g. 'sm_90' (machine code) or 'compute_90' (PTX).
    """

    version: str
    cuda: str = ""
    architectures: tuple[str, ...] = ()


def devices() -> tuple[Device, ...]:
    """All devices that torch knows here, cards first, those too that its build cannot compute on."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        card = torch.cuda.get_device_properties(index)
        capability = (card.major, card.minor)
        found.append(Device("cuda", index, card.name, card.total_memory, capability, capability >= BFLOAT16_FROM))
    memory = psutil.virtual_memory().total
    if torch.backends.mps.is_available():
        found.append(Device("mps", 0, "Apple GPU", memory))
    processor = torch.cpu.get_capabilities()
    name = str(processor.get("cpu_name") or processor.get("architecture") or "CPU")
    found.append(Device("cpu", 0, name, memory, bfloat16=torch.cpu._is_avx512_bf16_supported()))
    return tuple(found)


def installed_build() -> Build:
    """The torch that is installed here."""
    import torch

    return Build(torch.__version__, torch.version.cuda or "", tuple(torch.cuda.get_arch_list()))


def choose(choice: str = "auto", found: Sequence[Device] | None = None, build: Build | None = None) -> Device:
    """The device for a ``choice`` of the settings: 'auto', 'cpu', 'mps', 'cuda' or, of several cards, 'cuda:1'.

    'auto' is the usable card with the most memory, or else the processor; 'cuda' is the same without the processor.
    Raises the error of ``refusal`` when only cards are there that the build cannot compute on, so that nobody
    waits hours for a processor without knowing why; StudioError('device_unknown') when there is no such device.
    found, build: what there is, if not what this machine has.
    """
    found = devices() if found is None else found
    build = installed_build() if build is None else build
    if choice in ("auto", "cuda"):
        wanted = [device for device in found if device.kind == "cuda"]
        if not wanted and choice == "auto":
            # Never 'mps': nobody has shown yet that every engine is right there, so it must be asked for.
            wanted = [device for device in found if device.kind == "cpu"]
    else:
        wanted = [device for device in found if device.id == choice]
    if not wanted:
        raise StudioError("device_unknown", device=choice, known=", ".join(device.id for device in found))
    refused = [refusal(device, build) for device in wanted]
    usable = [device for device, reason in zip(wanted, refused, strict=True) if reason is None]
    if not usable:
        raise next(reason for reason in refused if reason is not None)
    return max(usable, key=lambda device: (device.memory_bytes, -device.index))


def refusal(device: Device, build: Build) -> StudioError | None:
    """Why ``build`` cannot compute on ``device``: 'gpu_build_old' or 'gpu_build_new'; None if it can."""
    # A build for AMD's cards calls them cuda too, but its architectures have names of their own.
    if device.kind != "cuda" or not build.cuda or _covers(build.architectures, device.capability):
        return None
    parts = [match.groups() for match in map(ARCHITECTURE.fullmatch, build.architectures) if match]
    newest = max(((int(major), int(minor)) for _, major, minor, _ in parts), default=(0, 0))
    if device.capability > newest:
        return StudioError("gpu_build_old", name=device.name, build=build.version)
    return StudioError("gpu_build_new", name=device.name, build=build.version)


def _covers(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether kernels compiled so run on a card: machine code within its major number, PTX on all later ones.

    An 'a' binds either to exactly one capability (CUDA C++ Programming Guide, compute capabilities).
    """
    for match in map(ARCHITECTURE.fullmatch, architectures):
        if match is None:
            continue
        kind, made_for, only = match[1], (int(match[2]), int(match[3])), match[4]
        same_major = made_for[0] == capability[0]
        if made_for == capability or (
            made_for < capability and only != "a" and (same_major or (kind == "compute" and not only))
        ):
            return True
    return False


def problems(found: Sequence[Device], build: Build, cards: Sequence[Card]) -> tuple[StudioError, ...]:
    """What keeps the machine's NVIDIA ``cards``, as its own tool names them, from being used."""
    seen = [device for device in found if device.kind == "cuda"]
    if cards and not seen:
        card = cards[0]
        if not build.cuda:
            return (StudioError("gpu_build_cpu", name=card.name, build=build.version),)
        return (StudioError("gpu_unreachable", name=card.name, build=build.version, driver=card.driver),)
    refused = (refusal(device, build) for device in seen)
    return tuple(reason for reason in refused if reason is not None)


def torch_device(device: Device) -> torch.device:
    """What torch calls it."""
    import torch

    return torch.device(device.id)


def dtype_for(device: Device, coarse: bool = False) -> torch.dtype:
    """The precision that networks are run with: half on cards that are good at it, else single.

    Half, not bfloat16: that one keeps 8 bits of each number, which is too few for pixels of 256 levels.
    coarse: they are enough all the same, where a processor computes them in half the time of single precision.
    """
    import torch

    if coarse and device.kind == "cpu" and device.bfloat16:
        return torch.bfloat16
    good = device.kind == "cuda" and device.capability >= HALF_FROM and HALF_BROKEN not in device.name
    return torch.float16 if good else torch.float32
