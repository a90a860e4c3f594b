"""Comparison with what published code gave: the packs in data/ hold its inputs, its outputs and its names of weights.

data/<pack>/manifest.json names every weight; golden.npz holds calls of the network with the weights of fill.py, and
golden_prep.npz calls of what goes before and after it. Both tell in 'meta' what their arrays are. factories.py says
what of ours answers. A result may differ by atol + rtol * (largest value expected).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.parity import factories, fill

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Golden:
    """One file of calls: its arrays, and what they are."""

    path: Path

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All arrays by name."""
        with np.load(self.path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The seed of the weights, and the calls: 'cases' of a network or 'items' of other functions."""
        told: dict[str, Any] = json.loads(str(self.arrays["meta"]))
        return told


@dataclass(frozen=True)
class Filled:
    """One of our networks with a pack's weights, in eval mode, and the callables that a case may name."""

    module: nn.Module
    methods: Mapping[str, Callable[..., Any]]
    golden: Golden

    def inputs(self, case: Mapping[str, Any]) -> list[torch.Tensor]:
        """What a case is called with."""
        return [_network_input(self.golden, spec) for spec in case["inputs"]]

    def run(self, case: Mapping[str, Any]) -> list[np.ndarray]:
        """What ours gives for a case, each output as an array."""
        method = self.methods.get(case["method"])
        if method is None:
            method = self.module if case["method"] == "forward" else getattr(self.module, case["method"])
        with torch.no_grad():
            return _flat(method(*self.inputs(case)))


def manifest_of(pack: str) -> dict[str, Any]:
    """What a pack tells of its network; ``pack`` is a folder in data/, perhaps with a part: "musetalk_vae/reduced"."""
    told: dict[str, Any] = json.loads((DATA / pack / "manifest.json").read_text("utf-8"))
    return told


def filled(pack: str) -> Filled:
    """The network that factories.py makes for ``pack``, once its keys are the published ones, with its weights."""
    manifest, golden = manifest_of(pack), Golden(DATA / pack / "golden.npz")
    factory: Callable[..., Any] = getattr(factories, pack.partition("/")[0])
    made = factory(manifest) if inspect.signature(factory).parameters else factory()
    module, methods = made if isinstance(made, tuple) else (made, {})
    ours = {key: [list(held.shape), str(held.dtype)] for key, held in module.state_dict().items()}
    theirs = {key: [shape, f"torch.{kind.removeprefix('torch.')}"] for key, shape, kind in manifest["state_dict"]}
    assert ours == theirs
    weights = {**module.state_dict(), **fill.state_dict(manifest, golden.meta["seed"])}
    for name, array in golden.arrays.items():
        if name.startswith("override:"):
            key = name.removeprefix("override:")
            weights[key] = torch.from_numpy(array).to(weights[key].dtype)
    module.load_state_dict(weights, strict=True)
    return Filled(module.eval(), methods, golden)


def check_network(pack: str) -> None:
    """Our network for ``pack`` has the published keys and gives in every case what the published one gave."""
    ours = filled(pack)
    cases = ours.golden.meta["cases"]
    assert cases
    for case in cases:
        _compare(f"{pack} {case['name']}.{case['method']}", ours.run(case), case, ours.golden)


def check_prep(pack: str, skipped: Sequence[str] = ()) -> None:
    """Our functions for ``pack`` (all but the ``skipped``) give in every case what the published ones gave."""
    golden = Golden(DATA / pack / "golden_prep.npz")
    table: Mapping[str, Callable[..., Any]] = getattr(factories, f"prep_{pack}")()
    items = [item for item in golden.meta["items"] if item["name"] not in skipped]
    assert items
    for item in items:
        given = [golden.arrays[spec["array"]] if "array" in spec else spec["value"] for spec in item["args"]]
        _compare(f"{pack} {item['name']}#{item['case']}", _flat(table[item["name"]](*given)), item, golden)


def _network_input(golden: Golden, spec: Mapping[str, Any]) -> torch.Tensor:
    array = golden.arrays[spec["array"]]
    if "dtype" in spec:
        return torch.from_numpy(array).to(getattr(torch, spec["dtype"]))
    return torch.from_numpy(array.astype(np.float32) * np.float32(spec.get("scale", 1)))


def _flat(given: Any) -> list[np.ndarray]:
    """The arrays in an output: a tensor, an array, a number, an output object of diffusers, or several of these."""
    if isinstance(given, torch.Tensor):
        return [given.detach().cpu().numpy()]
    if isinstance(given, np.ndarray | np.generic | int | float):
        return [np.asarray(given)]
    if not isinstance(given, Mapping | Sequence):
        return _flat(given.sample)
    return [array for part in (given.values() if isinstance(given, Mapping) else given) for array in _flat(part)]


def _compare(what: str, given: Sequence[np.ndarray], call: Mapping[str, Any], golden: Golden) -> None:
    """Whether ``given`` is what ``call`` tells; of a thinned output also the mean and the deviation of the whole."""
    for number, (array, spec) in enumerate(zip(given, call["outputs"], strict=True)):
        if spec.get("skip"):
            continue
        label = f"{what} output {number}"
        assert list(array.shape) == list(spec["shape"]), label
        expected, whole = golden.arrays[spec["array"]].astype(np.float64), array.astype(np.float64)
        part = whole[_index(spec["select"])] if spec.get("select") else whole
        limit = call["atol"] + call["rtol"] * np.abs(expected).max(initial=0)
        assert part.shape == expected.shape, label
        assert np.isfinite(part).all(), label
        assert np.abs(part - expected).max(initial=0) <= limit, label
        if spec.get("select"):
            assert abs(whole.mean() - spec["mean"]) <= limit, label
            assert abs(whole.std() - spec["std"]) <= limit, label


def _index(text: str) -> tuple[Any, ...]:
    """'[..., 0::2, 1]' as numpy takes it."""
    parts: list[Any] = []
    for part in text.strip("[] ").split(","):
        if part.strip() == "...":
            parts.append(...)
        elif ":" in part:
            parts.append(slice(*(int(number) if number.strip() else None for number in part.split(":"))))
        else:
            parts.append(int(part))
    return tuple(parts)
