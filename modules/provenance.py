"""Where a picture or a voice comes from, who agreed to it, and how the result is labelled as synthetic.

The visible label stands in the first two seconds with letters at least 5 % of
the shorter side high; the metadata label is the ``AIGC`` JSON object. Both
follow the Chinese standard GB 45438-2025 for labelling generated content.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from functools import cache
from pathlib import Path

import numpy as np

from modules import media
from modules.errors import StudioError

LABEL_SECONDS = 2.0
LABEL_HEIGHT = 0.055
LABEL_MARGIN = 0.03
LABELS = Path(__file__).resolve().parent / "data"


def content_hash(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_consent(data_dir: Path, kind: str, material: Path, language: str) -> str:
    """Note that the user agreed to the use of their 'face' or 'voice' from ``material``; returns the record's id.

    Records are appended to ``<data_dir>/consents.jsonl`` and never changed.
    """
    record = {
        "id": uuid.uuid4().hex,
        "kind": kind,
        "sha256": content_hash(material),
        "statement": f"ui.consent.{kind}",
        "language": language,
        "time": time.time(),
    }
    with open(data_dir / "consents.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return str(record["id"])


def check_consent(data_dir: Path, consent: str, kind: str, material: Path) -> None:
    """StudioError('consent_missing') unless ``consent`` was recorded for this kind and this very material."""
    file = data_dir / "consents.jsonl"
    if file.is_file():
        wanted = content_hash(material)
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["id"] == consent and record["kind"] == kind and record["sha256"] == wanted:
                return
    raise StudioError("consent_missing")


def metadata_label(produced: str) -> dict[str, str]:
    """The metadata of a generated file; ``produced`` is the id of the job that made it."""
    label = {
        "Label": "1",
        "ContentProducer": "Fenshen Studio",
        "ProduceID": produced,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return {"AIGC": json.dumps(label, separators=(",", ":")), "comment": "AI-generated / AI生成"}


@cache
def _label_picture(language: str, height: int) -> np.ndarray:
    """(h, w) float32 ink of the label, 0 to 1, ``height`` pixels high."""
    import cv2

    ink = cv2.imread(str(LABELS / f"ai_label_{language}.png"), cv2.IMREAD_GRAYSCALE)
    assert ink is not None
    width = round(ink.shape[1] * height / ink.shape[0])
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def draw_label(frame: np.ndarray, language: str) -> None:
    """Write the visible label into the upper left corner of an I420 frame, in place.

    White letters on a darkened plate, so that it can be read on any picture.
    """
    luma, blue, red = media.planes(frame)
    height, width = luma.shape
    short = min(height, width)
    ink = _label_picture(language, max(12, round(short * LABEL_HEIGHT)))[:, : width // 2 * 2 - 8]
    pad = max(2, ink.shape[0] // 5)
    margin = round(short * LABEL_MARGIN) // 2 * 2
    plate = np.pad(ink, pad)
    plate = plate[: (height - margin) // 2 * 2, : (width - margin) // 2 * 2]
    rows, columns = plate.shape[0] // 2 * 2, plate.shape[1] // 2 * 2
    plate = plate[:rows, :columns]
    spot = luma[margin : margin + rows, margin : margin + columns]
    dark = 16 + 0.35 * (spot.astype(np.float32) - 16)
    spot[:] = np.round(dark + (235 - dark) * plate).astype(np.uint8)
    for chroma in (blue, red):
        patch = chroma[margin // 2 : (margin + rows) // 2, margin // 2 : (margin + columns) // 2]
        patch[:] = np.round(128 + 0.35 * (patch.astype(np.float32) - 128)).astype(np.uint8)
