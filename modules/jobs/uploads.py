"""What users bring in: each upload is a folder of its own whose name we choose."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from modules.errors import StudioError
from modules.settings import Settings
from modules.shelf import ID

SOURCE = "source"


def accept(settings: Settings, source: Path) -> str:
    """Copy a file that a user gave into data/uploads and return the upload's id.

    The user's file name plays no part in ours; what the file is, its content tells later.
    """
    try:
        size = source.stat().st_size
    except OSError:
        raise StudioError("upload_unreadable") from None
    if size == 0:
        raise StudioError("upload_empty")
    if size > settings.max_upload_mb * 1_000_000:
        raise StudioError("upload_too_large", limit=settings.max_upload_mb)
    if shutil.disk_usage(settings.data_dir).free < size + 100_000_000:
        raise StudioError("disk_space_short", needed=size // 1_000_000 + 100)
    upload = uuid.uuid4().hex
    folder = settings.data_dir / "uploads" / upload
    folder.mkdir(parents=True)
    partial = folder / "source.part"
    shutil.copyfile(source, partial)
    os.replace(partial, folder / SOURCE)
    return upload


def checked_id(given: str) -> str:
    """``given`` if it has the form of our ids, so that it may stand in a path; else StudioError('job_unknown')."""
    if not ID.fullmatch(given):
        raise StudioError("job_unknown")
    return given


def folder(settings: Settings, upload: str) -> Path:
    """The folder of an upload, or StudioError('upload_unknown')."""
    path = settings.data_dir / "uploads" / upload
    if not ID.fullmatch(upload) or not (path / SOURCE).is_file():
        raise StudioError("upload_unknown")
    return path


def source(settings: Settings, upload: str) -> Path:
    """The file itself."""
    return folder(settings, upload) / SOURCE
