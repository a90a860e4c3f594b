"""How fast each lip-sync engine was on this machine when it last rendered: data_dir/speeds.json."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

from modules.devices import files

FILE = "speeds.json"
# Fewer frames say more about starting than about speed.
ENOUGH_FRAMES = 50


@dataclass(frozen=True)
class Speed:
    """frames_per_second: of finished video, encoding included. width, height: of its frames, in pixels."""

    frames_per_second: float
    width: int
    height: int


def note(data_dir: Path, engine: str, frames: int, seconds: float, width: int, height: int) -> Speed | None:
    """Remember that ``engine`` made so many frames in so many seconds; None for too few to tell."""
    if frames < ENOUGH_FRAMES or seconds <= 0:
        return None
    speed = Speed(round(frames / seconds, 1), width, height)
    # It is of use only; a render that has succeeded must not fail over it.
    with contextlib.suppress(OSError):
        files.write(data_dir / FILE, {**files.read(data_dir / FILE), engine: asdict(speed)})
    return speed


def known(data_dir: Path) -> dict[str, Speed]:
    """What is remembered, by engine id."""
    found = {}
    for engine, row in files.read(data_dir / FILE).items():
        with contextlib.suppress(TypeError, KeyError, ValueError):
            found[engine] = Speed(float(row["frames_per_second"]), int(row["width"]), int(row["height"]))
    return found
