"""Which devices there are, what they can do, which engines are loaded, and who must leave when memory is short."""

from modules.devices.nvidia import Card
from modules.devices.planner import SPARE_BYTES, Keeper
from modules.devices.probe import Build, Device, choose, devices, dtype_for, torch_device

__all__ = [
    "SPARE_BYTES",
    "Build",
    "Card",
    "Device",
    "Keeper",
    "choose",
    "devices",
    "dtype_for",
    "torch_device",
]
