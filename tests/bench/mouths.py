"""Contact sheets of mouths: python -m tests.bench.bench_lipsync draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from modules import media
from modules.avatar import compositor
from modules.avatar.base import LipSyncEngine, PreparedAvatar
from modules.face import landmarks as at
from modules.face.geometry import eye_distance

ZOOM, COLUMNS = 3, 6
# Of a tile, in eye distances.
WIDTH, HEIGHT = 0.88, 0.64
# A sheet is kept under about 400 kB.
LARGEST, QUALITIES = 400_000, (88, 82, 76, 70, 62)


@dataclass(frozen=True)
class Spoken:
    """One output frame: the picture (I420) and the number of the footage frame under it."""

    picture: media.I420
    base: int


def speak(
    engine: LipSyncEngine, avatar: PreparedAvatar, sound: media.AudioChunk, live: bool = False
) -> Iterator[Spoken]:
    """``avatar`` speaking ``sound``, frame by frame, as the pipeline makes it."""
    count = -(-len(sound.samples) * media.FRAME_RATE // sound.sample_rate)
    bases = media.prefetch(media.read_order(avatar.footage, [avatar.loop.frame(n) for n in range(count)]), 4)
    faces = media.prefetch(engine.animate(avatar, iter([sound]), {"live": live}), 4)
    for base, face in zip(bases, faces, strict=True):
        yield Spoken(compositor.paste(base, face), face.base)


def mouth(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The mouth of a (H, W, 3) BGR picture with (478, 3) landmarks, upright as it is, ZOOM times enlarged."""
    eyes = float(eye_distance(points))
    center = points[list(at.LIPS), :2].mean(0)
    size = (round(WIDTH * eyes), round(HEIGHT * eyes))
    part = cv2.getRectSubPix(picture, size, center.tolist())
    return cv2.resize(part, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)


def sheet(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Write rows of tiles as one JPEG; ``rows`` are cut into lines of COLUMNS tiles that stay one below the other."""
    width = max(tile.shape[1] for row in rows for tile in row)
    height = max(tile.shape[0] for row in rows for tile in row)
    lines = []
    for start in range(0, len(rows[0]), COLUMNS):
        lines += [np.concatenate([_fitted(t, width, height) for t in row[start : start + COLUMNS]], 1) for row in rows]
        lines.append(np.full((12, lines[-1].shape[1], 3), 255, np.uint8))
    picture = np.concatenate(lines[:-1])
    for quality in QUALITIES:
        _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(encoded) <= LARGEST:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())


def _fitted(tile: np.ndarray, width: int, height: int) -> np.ndarray:
    """``tile`` with a white rim on the right and below up to the given size, and a thin line around."""
    placed = np.full((height + 2, width + 2, 3), 255, np.uint8)
    placed[: tile.shape[0], : tile.shape[1]] = tile
    return placed
