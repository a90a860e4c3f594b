"""The three Wav2Lip generators and their pre- and post-processing against the published ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.parity import common

PACKS = ("wav2lip96", "wav2lip256", "wav2lip384")


@pytest.mark.slow
@pytest.mark.parametrize("pack", PACKS)
def test_the_network_is_the_published_one(pack: str) -> None:
    common.check_network(pack)


@pytest.mark.parametrize("pack", PACKS)
def test_what_surrounds_the_network_is_published_too(pack: str) -> None:
    common.check_prep(pack)


@pytest.mark.slow
@pytest.mark.parametrize("pack", PACKS)
def test_folded_norms_change_nothing(pack: str) -> None:
    from modules.avatar.neural.fold import fold_norms

    ours = common.filled(pack)
    case = ours.golden.meta["cases"][-1]
    plain = ours.run(case)[0]
    fold_norms(ours.module)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in ours.module.modules())
    assert np.abs(ours.run(case)[0] - plain).max() < 1e-4
