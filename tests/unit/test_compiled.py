"""When a network is compiled in the process that uses it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

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


def test_children_compile_one_at_a_time_and_not_while_the_network_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(compiled, "can_compile", lambda: True)
    monkeypatch.setattr(compiled.Upgrade, "_has_room", lambda upgrade: True)
    monkeypatch.setattr(compiled.Upgrade, "_stamp", lambda upgrade: tmp_path / "stamp")
    used, children = [True], []
    busy, met = threading.Lock(), threading.Event()

    def child(upgrade: compiled.Upgrade, stamp: Path) -> bool:
        children.append(used[0])
        if not busy.acquire(blocking=False):
            met.set()
            return False
        met.wait(0.5)  # the other child would come meanwhile
        busy.release()
        return False  # nothing to take over

    monkeypatch.setattr(compiled.Upgrade, "_child", child)
    recipe = compiled.Recipe("nowhere:nothing", (), tmp_path)
    inputs = [np.zeros((1, 2), np.float32)]
    upgrades = [
        compiled.Upgrade(
            recipe, nn.Linear(2, 2), torch.device("cpu"), inputs, size, lambda: 0.0 if used[0] else float("inf")
        )
        for size in (1, 4)
    ]
    upgrades[0]._thread.join(0.2)
    assert not children
    used[0] = False
    for upgrade in upgrades:
        upgrade._thread.join(5)
    assert children == [False, False] and not met.is_set()
    assert [upgrade.ready() for upgrade in upgrades] == [None, None]
