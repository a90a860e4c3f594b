"""Networks and training on each NVIDIA card of this machine: recorded, compiled, and on no other card than theirs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modules import devices
from modules.avatar.neural.compiled import Recipe, can_compile
from modules.avatar.neural.recording import ALONE
from modules.avatar.neural.runner import Runner
from modules.avatar.ultralight import features, network, train
from modules.errors import Cancelled
from modules.progress import Progress
from tests import made_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card"),
]
CARDS = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
FRAMES, COMPILE_SECONDS = 40, 300
SETTINGS = train.Settings(seconds=1e9, steps=200, batch=8)


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    """One card after the other; nothing may be left on the others."""
    chosen = devices.choose(request.param)
    others = [number for number in range(len(CARDS)) if number != chosen.index]
    for number in others:
        torch.cuda.reset_peak_memory_stats(number)
    before = [torch.cuda.memory_allocated(number) for number in others]
    yield chosen
    gc.collect()
    torch.cuda.empty_cache()
    assert [torch.cuda.max_memory_allocated(number) for number in others] == before


class Pair:
    """The same network on ``card`` and on the processor."""

    def __init__(self, card: devices.Device, recipe: Recipe | None = None) -> None:
        faces, expecting = (network.blank(network.PERSONAL_WIDTHS) for _ in range(2))
        expecting.load_state_dict(faces.state_dict())
        self.expecting = Runner(expecting, devices.choose("cpu"), torch.float32, (4,))
        self.runner = Runner(faces, card, torch.float16, (1, 4), recipe)
        self._random = np.random.default_rng(0)

    def compare(self, count: int) -> None:
        """Five batches of ``count`` faces; as engines do it: the next is handed over while one is computed."""
        crops = self._random.integers(0, 256, (5, count, features.CROP_SIDE, features.CROP_SIDE, 3)).astype(np.uint8)
        sound = self._random.normal(size=(5, count, 10)).astype(np.float32)
        tickets = [self.runner.submit(crops[0], sound[0])]
        for number in range(5):
            if number + 1 < 5:
                tickets.append(self.runner.submit(crops[number + 1], sound[number + 1]))
            drawn = tickets[number].result().astype(int)
            wanted = self.expecting.submit(crops[number], sound[number]).result()
            assert drawn.shape == wanted.shape
            assert np.abs(drawn - wanted).mean() < 0.5
            assert np.ptp(drawn) > 0


def test_a_network_draws_what_it_draws_without_a_card(card: devices.Device, tmp_path: Path) -> None:
    maker = f"{network.__name__}:{network.blank.__name__}"
    pair = Pair(card, Recipe(maker, (network.PERSONAL_WIDTHS,), tmp_path))
    try:
        for count in (1, 3, 4):
            pair.compare(count)
        if not can_compile():
            return
        recorded, upgrade = pair.runner._sized[1], pair.runner._upgrades[1]
        upgrade._thread.join(COMPILE_SECONDS)
        # The other size has its turn now.
        pair.compare(1)
        assert pair.runner._sized[1] is not recorded
    finally:
        pair.runner.close()
        for upgrade in pair.runner._upgrades.values():
            if can_compile():
                upgrade._thread.join(COMPILE_SECONDS)


def test_while_somebody_waits_for_the_whole_card_nothing_is_recorded(card: devices.Device) -> None:
    pair, done = Pair(card), threading.Event()

    def wait() -> None:
        while not done.is_set():
            torch.cuda.synchronize(card.index)

    waiting = threading.Thread(target=wait)
    with ALONE:
        waiting.start()
        try:
            pair.compare(3)
        finally:
            done.set()
            waiting.join()
    assert pair.runner._sized[4]._graph is None
    pair.compare(3)
    assert pair.runner._sized[4]._graph is not None


def test_a_recorded_step_learns_as_one_that_is_not(card: devices.Device) -> None:
    found = []
    for records in (True, False):
        work = train._Work(*made_faces.faces(FRAMES), SETTINGS, card.id)
        work._coarse = False
        batch = work.batch()
        work.rate.fill_(1e-4)
        if records:
            with torch.cuda.device(work.device):
                recorded = train._Recorded(work._learn, batch)
            losses = [float(recorded(batch)) for _ in range(5)]
        else:
            for _ in range(train.TRIALS):
                work._learn(*batch)
            losses = [float(work._learn(*batch)) for _ in range(5)]
        assert all(weight.device == torch.device(card.id) for weight in work.network.parameters())
        found.append(losses)
    assert found[0] == pytest.approx(found[1], rel=1e-2)
    assert found[0][-1] < found[0][0]


def test_training_goes_on_where_it_was_stopped(card: devices.Device, tmp_path: Path) -> None:
    footage, steps = made_faces.faces(FRAMES), iter(range(100_000))
    with pytest.raises(Cancelled):
        stop = Progress(cancelled=lambda: next(steps) >= SETTINGS.steps // 2)
        train.train(*footage, SETTINGS, tmp_path, stop, device=card.id)
    assert 0 < network.metadata(tmp_path / train.WEIGHTS)["step"] < SETTINGS.steps
    done = train.train(*footage, SETTINGS, tmp_path, Progress(), device=card.id)
    assert done.step == SETTINGS.steps
    assert done.curve[-1][1] < 0.5 * done.curve[0][1]
    # What a card has begun a processor goes on with.
    more = replace(SETTINGS, steps=SETTINGS.steps + 1)
    assert train.train(*footage, more, tmp_path, Progress(), device="cpu").step == SETTINGS.steps + 1
