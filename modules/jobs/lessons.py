"""What the page and the command line know of a training of an avatar's own model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open

from modules.avatar import registry as lip_sync
from modules.avatar.library import Avatar
from modules.errors import StudioError
from modules.options import Option

# The engine that is trained for an avatar, and how long: of work, on a card and without one.
PERSONAL = "ultralight"
CARD_MINUTES, PROCESSOR_MINUTES = 10.0, 60.0
MINUTES = Option("minutes", "ui.training.minutes", "number", CARD_MINUTES, 0.01, 720.0)
# Of a training: the curve in the engine's folder, and what a job shows of it.
CURVE, LESSON, SAMPLE, CURVE_POINTS = "curve.json", "lesson.json", "sample_", 200


def check_training(avatar: Avatar, minutes: Any) -> None:
    """StudioError where an avatar cannot be trained, or not for so long; ``minutes`` None: as long as is usual."""
    if avatar.kind == "photo":
        raise StudioError("training_photo")
    if minutes is not None:
        MINUTES.check(minutes)


@dataclass(frozen=True)
class Lesson:
    """What a training shows of itself: (step, loss) from time to time, and its newest picture, a file of its job."""

    curve: list[tuple[int, float]]
    sample: str


def trained_seconds(avatar: Avatar) -> float | None:
    """For how long an avatar's own model has been trained; None where there is none."""
    try:
        with safe_open(avatar.engine_folder(PERSONAL) / lip_sync.info(PERSONAL).trained[0], "numpy") as file:
            told = json.loads((file.metadata() or {}).get("fenshen", "{}"))
    except (OSError, ValueError, SafetensorError):
        return None
    return float(told.get("seconds", 0.0))


def show_lesson(output: Path, folder: Path, picture: np.ndarray, step: int) -> None:
    """Keep in a job's ``output`` how far the training in ``folder`` is; each picture gets a name of its own."""
    curve = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    before = list(output.glob(f"{SAMPLE}*.jpg"))
    sample = output / f"{SAMPLE}{step:07d}.jpg"
    cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tofile(sample)
    part = output / (LESSON + ".part")
    part.write_text(json.dumps({"curve": thinned(curve), "sample": sample.name}), encoding="utf-8")
    os.replace(part, output / LESSON)
    # The last but one stays: a page may just be asking for it.
    for old in sorted(before)[:-1]:
        old.unlink()


def thinned(curve: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """At most CURVE_POINTS of a curve's points, first and last among them."""
    chosen = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), CURVE_POINTS)).round().astype(int))
    return [curve[place] for place in chosen]


def lesson(output: Path) -> Lesson | None:
    """What ``show_lesson`` has kept; None before the first time."""
    try:
        kept = json.loads((output / LESSON).read_text(encoding="utf-8"))
    except OSError:
        return None
    return Lesson([(int(step), float(loss)) for step, loss in kept["curve"]], kept["sample"])
