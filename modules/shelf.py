"""Folders of things that users keep: each entry is a folder named by an id of ours, with a record in it.

An entry is built elsewhere and moved in when it is whole, so a half-made one never shows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.errors import StudioError

ID = re.compile(r"[0-9a-f]{32}")
RECORD = "record.json"
MAX_NAME = 60


class Shelf:
    """Entries in ``root``; ``missing`` is the code of the error for an id that is not there."""

    def __init__(self, root: Path, missing: str) -> None:
        self._root = root
        self._missing = missing
        root.mkdir(parents=True, exist_ok=True)

    def add(self, made: Path, record: Mapping[str, Any]) -> str:
        """Move the finished folder ``made`` in (same file system) with its record; returns the new id."""
        entry = uuid.uuid4().hex
        named = {**record, "name": tidy(str(record["name"])), "created": time.time()}
        (made / RECORD).write_text(json.dumps(named, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(made, self._root / entry)
        return entry

    def folder(self, entry: str) -> Path:
        """Where an entry lies; StudioError for an unknown id, whatever it looks like."""
        path = self._root / entry
        if not ID.fullmatch(entry) or not (path / RECORD).is_file():
            raise StudioError(self._missing)
        return path

    def record(self, entry: str) -> dict[str, Any]:
        """What was noted when the entry was added."""
        noted: dict[str, Any] = json.loads((self.folder(entry) / RECORD).read_text(encoding="utf-8"))
        return noted

    def ids(self) -> list[str]:
        """All entries, newest first."""
        found = [path.name for path in self._root.iterdir() if ID.fullmatch(path.name) and (path / RECORD).is_file()]
        return sorted(found, key=lambda entry: -float(self.record(entry)["created"]))

    def rename(self, entry: str, name: str) -> None:
        """Give an entry another name."""
        record = {**self.record(entry), "name": tidy(name)}
        partial = self.folder(entry) / (RECORD + ".part")
        partial.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(partial, self.folder(entry) / RECORD)

    def clear(self, entry: str) -> None:
        """Remove what work that was under way has written into the folder of a deleted entry."""
        if ID.fullmatch(entry) and not (self._root / entry / RECORD).is_file():
            shutil.rmtree(self._root / entry, ignore_errors=True)

    def delete(self, entry: str) -> None:
        """Remove an entry with all that belongs to it."""
        folder = self.folder(entry)
        # Without its record it is gone at once, even if removing the rest takes a moment or is interrupted.
        (folder / RECORD).unlink()
        shutil.rmtree(folder, ignore_errors=True)


def tidy(name: str) -> str:
    """A name as it is shown: one line, of reasonable length."""
    return " ".join(name.split())[:MAX_NAME] or "—"
