"""Made-up weights that the makers of the goldens and we draw alike: by the name of an entry and a seed.

An entry's stream is PCG64 seeded with the first eight bytes (little-endian) of sha256("<seed>:<key>"); its standard
normal draw is scaled by what the entry is, so that signals neither vanish nor explode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

# By the last part of the key: a little around nothing, and a little around one.
AROUND_ZERO = re.compile(r"running_mean|.*bias|beta|bias_(ih|hh)_l\d+(_reverse)?")
AROUND_ONE = re.compile(r"weight_g|original0|gamma|alpha|scale")


def state_dict(manifest: Mapping[str, Any], seed: str) -> dict[str, Tensor]:
    """The weights for a manifest's entries [key, shape, dtype]; not those that a module has from the start."""
    same_as = {key: min(keys) for keys in manifest.get("tied") or () for key in keys}
    drawn = {}
    for key, shape, kind in manifest["state_dict"]:
        source, dtype = same_as.get(key, key), getattr(torch, kind.removeprefix("torch."))
        if any(re.search(pattern, source) for pattern in manifest.get("keep") or ()):
            continue
        if source.endswith("num_batches_tracked"):
            drawn[key] = torch.zeros(shape, dtype=dtype)
        elif dtype.is_floating_point:
            drawn[key] = torch.from_numpy(np.asarray(entry(source, tuple(shape), seed))).to(dtype)
    return drawn


def entry(key: str, shape: tuple[int, ...], seed: str) -> np.ndarray:
    """The float32 values of one entry."""
    start = int.from_bytes(sha256(f"{seed}:{key}".encode()).digest()[:8], "little")
    normal = np.random.Generator(np.random.PCG64(start)).standard_normal(shape, np.float32)
    tenth, last = np.float32(0.1) * normal, key.rpartition(".")[2]
    if last == "running_var":
        return 1 + abs(tenth)
    if AROUND_ZERO.fullmatch(last):
        return tenth
    if AROUND_ONE.fullmatch(last) or (last.endswith("weight") and len(shape) < 2):
        return 1 + tenth
    if len(shape) < 2:
        return tenth
    return normal * np.float32(1 / math.sqrt(max(1, math.prod(shape[1:]))))
