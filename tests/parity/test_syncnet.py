"""SyncNet, what it hears and how it is scored, against the published code."""

from __future__ import annotations

import pytest

from tests.parity import common


@pytest.mark.slow
def test_the_network_is_the_published_one() -> None:
    common.check_network("syncnet_s")


def test_sound_and_scores_are_published_too() -> None:
    common.check_prep("syncnet_s")
