"""Is everything here that the studio needs? Each finding says what is so and what to do about it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from packaging.markers import Marker
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from modules import devices, media, translate, weights
from modules.progress import Progress
from modules.settings import ROOT, Settings

Level = Literal["good", "warning", "error"]

GIGABYTE = 10**9
MEMORY_WANTED, MEMORY_NEEDED = 7.5 * GIGABYTE, 4 * GIGABYTE
DISK_WANTED, DISK_NEEDED = 5 * GIGABYTE, 1 * GIGABYTE
PYTHONS = ((3, 11), (3, 12))

_MARKS = {"good": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}


@dataclass(frozen=True)
class Finding:
    """``key`` is its i18n key; unless it is good, ``key + '.hint'`` says what to do."""

    level: Level
    key: str
    values: dict[str, str | int | float] = field(default_factory=dict)

    def text(self, language: str) -> str:
        """What was found."""
        return translate.text(self.key, language, **self.values)

    def hint(self, language: str) -> str:
        """What to do; empty when there is nothing to do."""
        return "" if self.level == "good" else translate.text(f"{self.key}.hint", language, **self.values)


def run(settings: Settings, language: str, as_json: bool) -> int:
    """Print all findings; the exit status is 1 if any is an error."""
    findings = list(check(settings))
    if as_json:
        rows = [{**asdict(f), "text": f.text(language), "hint": f.hint(language)} for f in findings]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        table = Table("", translate.text("doctor.found", language), translate.text("doctor.do", language))
        for finding in findings:
            table.add_row(_MARKS[finding.level], finding.text(language), finding.hint(language))
        Console().print(table)
    return int(any(finding.level == "error" for finding in findings))


def check(settings: Settings) -> Iterator[Finding]:
    """All findings, the cheap ones first."""
    yield python()
    yield packages(*(ROOT / name for name in ("requirements.txt", "requirements-nodeps.txt")))
    yield memory(psutil.virtual_memory().total)
    yield data_folder(settings.data_dir)
    yield disk(settings.data_dir)
    yield video()
    yield from torch(devices.write_machine(settings.data_dir))
    for name, entry in weights.entries().items():
        # What belongs to engines for graphics cards is fetched when it is wanted.
        if entry.built_in or weights.state(settings.models_dir, name) in ("ready", "broken"):
            yield model(settings.models_dir, name)


def python() -> Finding:
    """Whether this Python is one that all packages work on."""
    good = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[-1]
    return Finding("good" if good else "error", "doctor.python", {"version": platform.python_version()})


def packages(*files: Path) -> Finding:
    """Whether the packages pinned in ``files`` are installed in the pinned versions."""
    wrong = []
    for line in "\n".join(file.read_text(encoding="utf-8") for file in files).splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        if isinstance(wanted.marker, Marker) and not wanted.marker.evaluate():
            continue
        try:
            fits = wanted.specifier.contains(importlib.metadata.version(wanted.name))
        except importlib.metadata.PackageNotFoundError:
            fits = False
        if not fits:
            wrong.append(str(wanted))
    if wrong:
        return Finding("error", "doctor.packages_wrong", {"names": ", ".join(wrong)})
    return Finding("good", "doctor.packages")


def memory(total: int) -> Finding:
    """Whether ``total`` bytes of memory are enough."""
    level: Level = "good" if total >= MEMORY_WANTED else "warning" if total >= MEMORY_NEEDED else "error"
    return Finding(level, "doctor.memory", {"size": round(total / GIGABYTE, 1)})


def data_folder(folder: Path) -> Finding:
    """Whether the data folder can be written to."""
    values: dict[str, str | int | float] = {"folder": str(folder)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding("good", "doctor.data", values)
    except OSError:
        return Finding("error", "doctor.data_locked", values)


def disk(folder: Path) -> Finding:
    """Whether there is room for videos beside the data folder."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    level: Level = "good" if free >= DISK_WANTED else "warning" if free >= DISK_NEEDED else "error"
    return Finding(level, "doctor.disk", {"free": round(free / GIGABYTE, 1), "folder": str(folder)})


def video() -> Finding:
    """Whether a small video can really be written and read back."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "check.mp4"
            with media.VideoWriter(path, 64, 64, media.ColorTags()) as writer:
                writer.write(np.full((96, 64), 128, np.uint8))
            frames = list(media.read_frames(media.probe(path)))
    except Exception as error:  # whatever is wrong here is the finding
        return Finding("error", "doctor.video_broken", {"reason": str(error) or type(error).__name__})
    return Finding("good" if len(frames) == 1 else "error", "doctor.video")


def torch(machine: devices.Machine) -> Iterator[Finding]:
    """Which devices torch computes on, and what keeps cards from being used."""
    hindered = {problem.values.get("name") for problem in machine.problems}
    cards = [device for device in machine.devices if device.kind == "cuda" and device.name not in hindered]
    for card in cards:
        size = round(card.memory_bytes / GIGABYTE, 1)
        yield Finding("good", "doctor.torch_card", {"version": machine.build.version, "name": card.name, "size": size})
    if machine.devices and not cards:
        yield Finding("good", "doctor.torch", {"version": machine.build.version})
    for problem in machine.problems:
        # Without a card the studio goes on; without torch it does not.
        yield Finding("warning" if machine.devices else "error", problem.key, problem.values)


def model(models_dir: Path, name: str) -> Finding:
    """Whether an entry of the weights is here and, read through, whole."""
    entry = weights.entries()[name]
    state = weights.state(models_dir, name)
    values: dict[str, str | int | float] = {"name": entry.title, "size": round(entry.download_bytes / 10**6)}
    if state not in ("ready", "broken"):
        return Finding("warning", "doctor.model_missing", values)
    if state == "broken" or weights.verify(models_dir, name, Progress()):
        return Finding("error", "doctor.model_broken", {**values, "folder": str(models_dir / name)})
    return Finding("good", "doctor.model", values)
