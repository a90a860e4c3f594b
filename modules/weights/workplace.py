"""models/.downloads: where entries are put together, by one process at a time, if the disk has room for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from modules.errors import StudioError
from modules.progress import Progress

_SPARE_BYTES = 100_000_000  # left free on the disk after an entry is in place
_LOOK = 0.4  # seconds between looks at a lock that another holds
_GLANCE = 0.1  # longer than somebody holds a lock who only asks whether it is held


def root(models_dir: Path) -> Path:
    """The folder of everything that is not finished."""
    return models_dir / ".downloads"


def of(models_dir: Path, entry: str) -> Path:
    """The folder of what has arrived of one entry."""
    return root(models_dir) / entry


@contextmanager
def alone(models_dir: Path, entry: str, progress: Progress) -> Iterator[None]:
    """Only one process at a time works on an entry; the others wait and can be cancelled."""
    of(models_dir, entry).mkdir(parents=True, exist_ok=True)
    lock = _lock(models_dir, entry)
    while True:
        progress.at(0.0)
        try:
            lock.acquire(timeout=_LOOK)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


@contextmanager
def at_once(models_dir: Path, entry: str, title: str) -> Iterator[None]:
    """Like ``alone``, but whoever finds another at work is told so: StudioError weights_busy."""
    root(models_dir).mkdir(parents=True, exist_ok=True)
    lock = _lock(models_dir, entry)
    try:
        lock.acquire(timeout=_LOOK)
    except Timeout:
        raise StudioError("weights_busy", retryable=True, name=title) from None
    try:
        yield
    finally:
        lock.release()


def busy(models_dir: Path, entry: str) -> bool:
    """Whether somebody is at work on an entry now."""
    lock = _lock(models_dir, entry)
    if not Path(lock.lock_file).is_file():
        return False
    try:
        lock.acquire(timeout=_GLANCE, poll_interval=_GLANCE / 10)
    except Timeout:
        return True
    lock.release()
    return False


def check_disk(models_dir: Path, title: str, needed: int) -> None:
    """StudioError weights_no_space unless ``needed`` bytes and some to spare are free."""
    free = shutil.disk_usage(models_dir).free
    if free < needed + _SPARE_BYTES:
        raise no_space(models_dir, title, needed)


def no_space(models_dir: Path, title: str, needed: int) -> StudioError:
    """The error for a disk that cannot take ``needed`` bytes."""
    free = shutil.disk_usage(models_dir).free
    needed_mb = (needed + _SPARE_BYTES) // 10**6
    return StudioError("weights_no_space", retryable=True, name=title, needed=needed_mb, free=free // 10**6)


def _lock(models_dir: Path, entry: str) -> FileLock:
    return FileLock(root(models_dir) / f"{entry}.lock")
