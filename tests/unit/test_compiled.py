"""When a network is compiled in the process that uses it."""

from __future__ import annotations

import threading
import time

import pytest

from modules.avatar.neural import compiled


def test_compiling_waits_until_nobody_uses_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "PAUSE_SECONDS", 0.05)
    used = time.monotonic()
    asked: list[float] = []

    def idle() -> float:
        nonlocal used
        if len(asked) < 3:  # used again while it waits
            used = time.monotonic()
        asked.append(time.monotonic() - used)
        return asked[-1]

    begun = time.monotonic()
    assert compiled.paused(idle, threading.Event())
    assert len(asked) > 3 and asked[-1] >= 0.05
    assert time.monotonic() - begun >= 0.15


def test_nothing_is_compiled_for_an_engine_that_left() -> None:
    stopped = threading.Event()
    stopped.set()
    begun = time.monotonic()
    assert not compiled.paused(lambda: 0.0, stopped)
    assert not compiled.paused(lambda: compiled.PAUSE_SECONDS + 1, stopped)
    assert time.monotonic() - begun < compiled.PAUSE_SECONDS
