"""Making a folder of an avatar whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of ``folder`` when the block ends cleanly, or is gone."""
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        yield making
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
