"""Ultralight's network in both variants and its pre- and post-processing against the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.avatar.ultralight import features, network
from modules.errors import StudioError
from tests.parity import common

PACKS = ("ultralight_hubert", "ultralight_wenet")


@pytest.mark.parametrize("pack", PACKS)
def test_the_network_is_the_published_one(pack: str) -> None:
    common.check_network(pack)


def test_what_surrounds_the_network_is_published_too() -> None:
    common.check_prep("ultralight_hubert")


@pytest.mark.parametrize("pack", PACKS)
def test_every_wrapping_and_layout_loads(pack: str, tmp_path: Path) -> None:
    ours = common.filled(pack)
    weights = ours.module.state_dict()
    nested = {key for key in network.Ultralight("hubert").state_dict() if key.startswith(("inc.", "down"))}
    other = network.Ultralight(ours.module.variant, nested=not nested <= set(weights)).state_dict()
    relaid = dict(zip(other, weights.values(), strict=True))
    wrappings = {
        "bare.pth": weights,
        "wrapped.pth": {"model": weights, "epoch": 3},
        "parallel.pth": {f"module.{key}": tensor for key, tensor in weights.items()},
        "relaid.pth": relaid,
    }
    case = ours.golden.meta["cases"][-1]
    wanted = ours.run(case)[0]
    for name, held in wrappings.items():
        torch.save(held, tmp_path / name)
    save_file({key: tensor.contiguous() for key, tensor in relaid.items()}, tmp_path / "relaid.safetensors")
    for file in tmp_path.iterdir():
        loaded = network.load(file)
        assert loaded.variant == pack.removeprefix("ultralight_")
        with torch.no_grad():
            assert torch.equal(loaded(*ours.inputs(case)), torch.from_numpy(wanted)), file.name


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    whole, half, foreign = tmp_path / "whole.pth", tmp_path / "half.pth", tmp_path / "foreign.pth"
    weights = network.Ultralight().state_dict()
    torch.save(weights, whole)
    half.write_bytes(whole.read_bytes()[:100_000])
    torch.save({key: tensor for key, tensor in weights.items() if "bn3" not in key}, foreign)
    for file in (half, foreign, tmp_path / "missing.safetensors"):
        with pytest.raises(StudioError) as raised:
            network.load(file)
        assert raised.value.code == "weights_broken"
        assert raised.value.values["file"] == file.name


def test_hubert_hears_nothing_in_a_rest_shorter_than_its_first_layer() -> None:
    pieces, rows = features.hubert_cuts(features.PIECE + 399)
    assert pieces.tolist() == [[0, features.PIECE + 80]]
    assert rows == (features.PIECE + 399 - 80) // 320
