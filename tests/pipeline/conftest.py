"""What tests of real jobs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modules import settings
from modules.jobs.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio that runs jobs in a folder of the test's own; its worker ends with it."""
    found = Studio(settings.load(data_dir=tmp_path / "数据 data"))
    found.start()
    yield found
    found.stop()
    sign = found.store.worker()
    if sign is not None and psutil.pid_exists(sign.pid):
        psutil.Process(sign.pid).kill()
