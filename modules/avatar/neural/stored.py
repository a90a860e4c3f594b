"""What a neural engine keeps of a footage: for each frame of the loop its box, its crop and its mask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.avatar.crops import CropStore
from modules.errors import StudioError

FILE = "prepared.npz"
# Where it lies in the folder of an engine that is trained: preparing anew must never touch the training.
BESIDE_TRAINING = "prepared"


@dataclass(frozen=True)
class Stored:
    """The preparation of a loop of M frames, whose first one is frame ``start`` of the footage.

    boxes (M, 4) int left, top, right, bottom, even; masks (M, S, S) uint8, each standing for its whole box;
    extra: what else the engine keeps, each array with M entries; crops: M pictures of the network's size.
    """

    start: int
    boxes: np.ndarray
    masks: np.ndarray
    extra: Mapping[str, np.ndarray]
    crops: CropStore

    @classmethod
    def load(cls, folder: Path) -> Stored:
        """What ``save`` wrote; StudioError('avatar_broken') where it cannot be read."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as data:
                extra = {name[6:]: data[name] for name in data.files if name.startswith("extra.")}
                return cls(int(data["start"]), data["boxes"], data["masks"], extra, CropStore(folder))
        except (OSError, ValueError, KeyError) as error:
            raise StudioError("avatar_broken", name=FILE) from error


def save(
    folder: Path, key: Mapping[str, Any], start: int, boxes: np.ndarray, masks: np.ndarray, extra: Mapping[str, Any]
) -> None:
    """Write FILE into ``folder``, which holds the crops already; ``key``: what all of it was made with, JSON values."""
    named: dict[str, Any] = {f"extra.{name}": array for name, array in extra.items()}
    with open(folder / FILE, "wb") as file:
        np.savez_compressed(file, key=json.dumps(key, sort_keys=True), start=start, boxes=boxes, masks=masks, **named)


def is_made_with(folder: Path, key: Mapping[str, Any]) -> bool:
    """Whether ``folder`` holds a preparation made with just this ``key``."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as data:
            return bool(data["key"] == json.dumps(key, sort_keys=True))
    except (OSError, ValueError, KeyError):
        return False
