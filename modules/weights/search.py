"""Weights that lie in folders of other programs; they are used where they lie and never changed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_DEPTH = 6  # folders deep; deeper lie other things
_FRESH_SECONDS = 10.0
_seen: dict[Path, tuple[float, Mapping[str, Sequence[Path]]]] = {}


def lying(folders: Sequence[Path], name: str) -> list[Path]:
    """Files called ``name`` (in whatever case) in the folders and below, the first folder's first."""
    return [path for folder in folders for path in _listed(folder).get(name.casefold(), ()) if path.is_file()]


def _listed(folder: Path) -> Mapping[str, Sequence[Path]]:
    looked, found = _seen.get(folder, (0.0, {}))
    if time.monotonic() - looked > _FRESH_SECONDS or not looked:
        found = _list(folder)
        _seen[folder] = (time.monotonic(), found)
    return found


def _list(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    deepest = len(folder.parts) + _DEPTH
    for place, below, names in os.walk(folder):
        if len(Path(place).parts) >= deepest:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith(".git"))
        for name in sorted(names):
            found.setdefault(name.casefold(), []).append(Path(place, name))
    return found
