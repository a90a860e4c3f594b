"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 240.0


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when ``condition`` holds; TimeoutError after ``seconds``."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.02)
