"""What is known about the content of files: models/<entry>/.verified.json.

Hashing gigabytes takes seconds, so what was found is kept with the file's size and time of change, and
counts until either differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modules.weights.catalogue import WeightFile

FILE = ".verified.json"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Record:
    """size, mtime_ns: of the file when it was read. sha256: what it then was. expected: what it must be."""

    size: int
    mtime_ns: int
    sha256: str
    expected: str


def sha256_of(path: Path, at: Callable[[int], None] = lambda count: None) -> str:
    """Hash of a file's content; ``at`` hears how many bytes are done."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            at(done)
    return digest.hexdigest()


def record(home: Path, path: Path) -> Record | None:
    """What was noted about a file the last time; it may have changed since."""
    noted = _read(home).get(_key(home, path))
    return Record(**noted) if noted else None


def keep(home: Path, path: Path, sha256: str, expected: str) -> None:
    """Note what a file was found to be. A folder that cannot be written to only costs reading again."""
    now = path.stat()
    noted = {**_read(home), _key(home, path): asdict(Record(now.st_size, now.st_mtime_ns, sha256, expected))}
    fresh = home / f"{FILE}.{uuid.uuid4().hex}"
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(noted, indent=1), encoding="utf-8")
        os.replace(fresh, home / FILE)


def suspicious(home: Path, file: WeightFile, path: Path) -> bool:
    """Whether a file is known not to be what it must be, without reading it."""
    now, noted = path.stat(), record(home, path)
    if not file.fits(now.st_size):
        return True
    if noted is None:
        return False
    if (noted.size, noted.mtime_ns) == (now.st_size, now.st_mtime_ns):
        return noted.sha256 != (file.sha256 or noted.expected)
    # Of a file whose size nobody published, the one that was accepted tells it.
    return now.st_size != noted.size and not file.sha256


def sound(
    home: Path, file: WeightFile, path: Path, at: Callable[[int], None] = lambda count: None, again: bool = False
) -> bool:
    """Whether a file's content is what it must be; read only if it changed since the last time, or ``again``.

    A file without a published checksum is held against what was accepted first.
    """
    now, noted = path.stat(), record(home, path)
    if not file.fits(now.st_size):
        return False
    expected = file.sha256 or (noted.expected if noted else "")
    if not again and noted and (noted.size, noted.mtime_ns) == (now.st_size, now.st_mtime_ns):
        return noted.sha256 == expected
    if not expected and not complete(path):
        return False
    found = sha256_of(path, at)
    keep(home, path, found, expected or found)
    return found == (expected or found)


def complete(path: Path) -> bool:
    """False for a checkpoint in the ZIP format of torch that breaks off: its directory stands at the end."""
    with path.open("rb") as file:
        start = file.read(2)
    return start != b"PK" or zipfile.is_zipfile(path)


def _read(home: Path) -> dict[str, dict[str, Any]]:
    try:
        noted: dict[str, dict[str, Any]] = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted


def _key(home: Path, path: Path) -> str:
    return path.name if path.parent == home else str(path)
