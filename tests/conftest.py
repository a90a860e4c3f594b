"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(scope="session")
def shared_media() -> Path | None:
    """The folder of real clips beside the repository, or None on a machine without it."""
    return _SHARED_MEDIA if _SHARED_MEDIA.is_dir() else None
