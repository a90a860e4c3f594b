"""Bringing weights from elsewhere: a folder, a ZIP file or a single file that somebody carried here.

Files are known by content where the publisher tells their sha256, else by name and size. Names inside a
ZIP decide nothing but that: what is written is called as the catalogue calls it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from modules.errors import StudioError
from modules.progress import Progress
from modules.weights import records, store, wheels, workplace
from modules.weights.catalogue import Entry, WeightFile

_MOST_MEMBERS = 100_000


@dataclass(frozen=True)
class _Found:
    """A file that may be wanted: on disk or inside a ZIP. ``size`` in bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def import_folder(models_dir: Path, source: Path, progress: Progress) -> list[str]:
    """``import_from`` for a folder; anything else is StudioError weights_import_empty."""
    if not source.is_dir():
        raise StudioError("weights_import_empty", name=source.name)
    return import_from(models_dir, source, progress)


def import_from(models_dir: Path, source: Path, progress: Progress, name: str = "") -> list[str]:
    """Take entries from a folder (finished files or wheels), a ZIP file of such, or one file.

    name: what a single file was called, where its path does not tell. Gives the names of the entries that got
    something; StudioError weights_import_empty if none did, weights_import_broken for a ZIP that cannot be read.
    """
    with ExitStack() as opened:
        on_disk, found = _look(source, name, opened)
        taken = []
        for place, entry in enumerate(store.entries().values()):
            share = progress.part(place / len(store.entries()), (place + 1) / len(store.entries()), "stage.import")
            share.at(0.0)
            if store.state(models_dir, entry.name) == "ready":
                continue
            with workplace.alone(models_dir, entry.name, share):
                if _take(models_dir, entry, found, share) or (
                    entry.built_in and wheels.take(models_dir, entry, on_disk, share)
                ):
                    taken.append(entry.name)
    if not taken:
        raise StudioError("weights_import_empty", name=name or source.name)
    return taken


def _look(source: Path, name: str, opened: ExitStack) -> tuple[list[Path], list[_Found]]:
    """Files on disk, and all that may be taken: those, and the members of a ZIP."""
    if source.is_dir():
        paths = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
        return paths, [_Found(path.name, path.stat().st_size, _opener(path)) for path in paths]
    if not source.is_file():
        raise StudioError("weights_import_empty", name=name or source.name)
    found = [_Found(name or source.name, source.stat().st_size, _opener(source))]
    if zipfile.is_zipfile(source):
        try:
            archive = opened.enter_context(zipfile.ZipFile(source))
        except (zipfile.BadZipFile, OSError):
            raise StudioError("weights_import_broken", name=name or source.name) from None
        found += _members(archive)
    return [source], found


def _members(archive: zipfile.ZipFile) -> Iterator[_Found]:
    for member in archive.infolist()[:_MOST_MEMBERS]:
        encrypted = member.flag_bits & 1
        if not member.is_dir() and not encrypted:
            plain = PurePosixPath(member.filename.replace("\\", "/")).name
            yield _Found(plain, member.file_size, lambda member=member: archive.open(member))  # type: ignore[misc]


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _take(models_dir: Path, entry: Entry, found: Sequence[_Found], progress: Progress) -> bool:
    """Copy what is there of an entry's files into their place; True if that was anything."""
    if entry.built_in:
        return _take_whole(models_dir, entry, found, progress)
    home, coming = models_dir / entry.name, workplace.of(models_dir, entry.name)
    anything = False
    for wanted in entry.files:
        if store.has(models_dir, entry, wanted):
            continue
        for choice, one in _matches(wanted, found):
            workplace.check_disk(models_dir, entry.title, one.size)
            part = coming / f"{choice.name}.brought"
            sha256 = _copy(one, part, progress)
            if sha256 is None or choice.sha256 not in ("", sha256) or not records.complete(part):
                part.unlink(missing_ok=True)
                continue
            home.mkdir(parents=True, exist_ok=True)
            os.replace(part, home / choice.name)
            records.keep(home, home / choice.name, sha256, sha256)
            anything = True
            break
    if anything and all(store.has(models_dir, entry, wanted) for wanted in entry.files):
        shutil.rmtree(coming, ignore_errors=True)
    return anything


def _matches(wanted: WeightFile, found: Sequence[_Found]) -> Iterator[tuple[WeightFile, _Found]]:
    """What may be a file, the likeliest first: by name and size, then, where a hash will tell, by size alone."""
    for choice in wanted.choices:
        named = [one for one in found if one.name.casefold() == choice.name.casefold() and choice.fits(one.size)]
        yield from ((choice, one) for one in named)
        if choice.sha256:
            same_size = (one for one in found if choice.fits(one.size) and one not in named)
            yield from ((choice, one) for one in same_size)


def _copy(one: _Found, target: Path, progress: Progress) -> str | None:
    """Copy and hash; None if the source is damaged or not as long as it says.

    A ZIP's member never gives more than it says, whatever is packed in it.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with closing(one.open()) as source, target.open("wb") as file:
            while block := source.read(records.BLOCK):
                done += len(block)
                digest.update(block)
                file.write(block)
                progress.at(done / one.size)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        return None
    return digest.hexdigest() if done == one.size else None


def _take_whole(models_dir: Path, entry: Entry, found: Sequence[_Found], progress: Progress) -> bool:
    """An entry of wheels comes with all its finished files or not at all."""
    matching: dict[str, _Found] = {}
    for file in entry.files:
        same_size = (one for one in found if one.size == file.size)
        match = next((one for one in same_size if _hash(one) == file.sha256), None)
        if match is None:
            return False
        matching[file.name] = match

    def blocks(file: WeightFile) -> Iterator[bytes]:
        with closing(matching[file.name].open()) as source:
            while block := source.read(records.BLOCK):
                yield block

    workplace.check_disk(models_dir, entry.title, entry.file_bytes)
    wheels.build(models_dir, entry, blocks, progress)
    return True


def _hash(one: _Found) -> str:
    digest = hashlib.sha256()
    try:
        with closing(one.open()) as source:
            while block := source.read(records.BLOCK):
                digest.update(block)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        return ""
    return digest.hexdigest()
