"""What this machine can compute on, for processes that must not import torch: kept in data_dir/machine.json.

A child process asks torch: a broken build can crash, and asking a card takes memory on it until the process ends.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from modules.devices import files, nvidia, probe
from modules.devices.probe import Build, Device
from modules.errors import StudioError
from modules.settings import ROOT

FILE = "machine.json"
PROBE_SECONDS = 120.0

_asking = threading.Lock()


@dataclass(frozen=True)
class Machine:
    """The installed torch, all devices that it knows, and what keeps cards from being used.

    ``probe.choose(choice, machine.devices, machine.build)`` says what a choice means here.
    """

    build: Build
    devices: tuple[Device, ...]
    problems: tuple[StudioError, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "build": asdict(self.build),
            "devices": [asdict(device) for device in self.devices],
            "problems": [problem.to_dict() for problem in self.problems],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Machine:
        """What ``to_dict`` wrote. KeyError or TypeError for anything else."""
        build = data["build"]
        return cls(
            Build(**{**build, "architectures": tuple(build["architectures"])}),
            tuple(Device(**{**device, "capability": tuple(device["capability"])}) for device in data["devices"]),
            tuple(StudioError.from_dict(problem) for problem in data["problems"]),
        )


def probe_here() -> Machine:
    """Ask torch in this process, and let every usable card add something up."""
    found, build = probe.devices(), probe.installed_build()
    problems = probe.problems(found, build, nvidia.cards())
    usable = [device for device in found if device.kind == "cuda" and probe.refusal(device, build) is None]
    broken = tuple(problem for problem in map(_try, usable) if problem is not None)
    return Machine(build, found, problems + broken)


def _try(device: Device) -> StudioError | None:
    import torch

    try:
        torch.ones(8, device=probe.torch_device(device)).sum().item()
    except RuntimeError as error:
        return StudioError("gpu_broken", name=device.name, reason=str(error).partition("\n")[0])
    return None


def ask_child() -> Machine:
    """What ``probe_here`` says in a process of its own; with the problem 'torch_broken' if it says nothing."""
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "modules.devices"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_SECONDS,
        )
        return Machine.from_dict(json.loads(asked.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return Machine(Build(installed_torch()), (), (StudioError("torch_broken"),))


def write_machine(data_dir: Path, ask: Callable[[], Machine] = ask_child) -> Machine:
    """Ask anew, which takes seconds, and keep the answer for ``machine_facts``."""
    machine = ask()
    # A folder that cannot be written to is found and told elsewhere.
    with contextlib.suppress(OSError):
        files.write(data_dir / FILE, {"installed": installed_torch(), **machine.to_dict()})
    return machine


def machine_facts(data_dir: Path, ask: Callable[[], Machine] = ask_child) -> Machine | None:
    """What is known of this machine, at once; None while it is not known yet.

    Then it is being asked in the background, so that a later call knows. That is so at first, after torch was
    installed anew, and after the machine was started anew, since then it may have another card or driver.
    """
    known = _read(data_dir / FILE)
    if known is None and _asking.acquire(blocking=False):

        def refresh() -> None:
            try:
                write_machine(data_dir, ask)
            finally:
                _asking.release()

        threading.Thread(target=refresh, name="machine facts", daemon=True).start()
    return known


def installed_torch() -> str:
    """The version of the installed package torch, asked without importing it; '' if there is none."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read(file: Path) -> Machine | None:
    content = files.read(file)
    try:
        if content["installed"] != installed_torch() or file.stat().st_mtime < psutil.boot_time():
            return None
        return Machine.from_dict(content)
    except (OSError, KeyError, TypeError):
        return None
