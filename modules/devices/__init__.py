"""Which devices there are, what they can do, which engines are loaded, and who must leave when memory is short."""

from modules.devices import measured
from modules.devices.machine import Machine, machine_facts, write_machine
from modules.devices.measured import Need
from modules.devices.planner import Keeper, retrying
from modules.devices.probe import Build, Device, choose, devices, dtype_for, torch_device

MEMORY_FILE = measured.FILE

__all__ = [
    "MEMORY_FILE",
    "Build",
    "Device",
    "Keeper",
    "Machine",
    "Need",
    "choose",
    "devices",
    "dtype_for",
    "machine_facts",
    "retrying",
    "torch_device",
    "write_machine",
]
