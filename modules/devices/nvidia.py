"""What NVIDIA's own tool says of the cards of this machine: it also answers where torch cannot use them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PureWindowsPath

TOOL = "nvidia-smi"
TOOL_SECONDS = 20


@dataclass(frozen=True)
class Card:
    """One card: its name, compute capability, e.g. (8, 6), and driver, e.g. '580.65.06'."""

    name: str
    capability: tuple[int, int]
    driver: str


def cards() -> tuple[Card, ...]:
    """The NVIDIA cards of this machine, asked without torch; none where the tool is missing or fails."""
    return read_cards(_ask("--query-gpu=name,compute_cap,driver_version"))


def read_cards(answer: str) -> tuple[Card, ...]:
    """Read lines like ``NVIDIA GeForce RTX 3060, 8.6, 580.65.06``; lines that say anything else do not count."""
    found = []
    for line in answer.splitlines():
        name, capability, driver = ([part.strip() for part in line.rsplit(",", 2)] + ["", ""])[:3]
        major, _, minor = capability.partition(".")
        if name and major.isdigit() and minor.isdigit() and driver[:1].isdigit():
            found.append(Card(name, (int(major), int(minor)), driver))
    return tuple(found)


def programs(ours: Collection[int]) -> tuple[str, ...]:
    """Names of the programs that use a card now, but for the processes ``ours``."""
    return read_programs(_ask("--query-compute-apps=pid,process_name"), ours)


def read_programs(answer: str, ours: Collection[int]) -> tuple[str, ...]:
    """Read lines like ``1234, C:\\Games\\game.exe``; each name once, in order."""
    names = []
    for line in answer.splitlines():
        pid, _, path = (part.strip() for part in line.partition(","))
        # Programs of other users are given as [Insufficient Permissions] or [Not Found].
        if pid.isdigit() and int(pid) not in ours and path and not path.startswith("["):
            # Splits at both kinds of slashes.
            names.append(PureWindowsPath(path).name)
    return tuple(dict.fromkeys(names))


def _ask(query: str) -> str:
    tool = shutil.which(TOOL)
    if tool is None:
        return ""
    try:
        answer = subprocess.run(
            [tool, query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TOOL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
