"""One frame as an engine would make it, before a long render: the frame, what of it is replaced, and the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modules import media
from modules.avatar import compositor
from modules.avatar.base import FaceFrame, LipSyncEngine
from modules.avatar.silence import SAMPLE_RATE, loudness
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

# The picture around the face, in heights of the face; and its height in pixels.
REACH, HEIGHT = 0.35, 480
SECONDS = 1.0
# A voice for footage without sound: its pitch in Hz, and its formants (an open a).
PITCH, FORMANTS = 140.0, ((800.0, 90.0), (1200.0, 120.0), (2600.0, 200.0))
TINT = np.array([140, 160, 0], np.float32)  # BGR of the page's own green


def preview(
    engine: LipSyncEngine,
    footage: media.Footage,
    track: Track,
    options: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> np.ndarray:
    """(HEIGHT, W, 3) uint8 BGR: frame, mask and result side by side, of the loudest moment of a second of speech.

    ``folder`` is for the engine's preparation of that one frame. StudioError as ``prepare`` raises.
    """
    usable = np.flatnonzero(track.usable)
    if not len(usable):
        raise StudioError("face_unusable")
    chosen = int(usable[len(usable) // 2])
    alone = np.zeros_like(track.usable)
    alone[chosen] = True
    avatar = engine.prepare(footage, dataclasses.replace(track, usable=alone), folder, options, progress.part(0.0, 0.7))
    sound = _sound(footage, chosen)
    faces = list(engine.animate(avatar, iter([media.AudioChunk(sound, SAMPLE_RATE)]), options))
    progress.at(0.9)
    moment = int(loudness(sound, len(faces), media.FRAME_RATE).argmax())
    base = next(iter(media.read_order(footage, [chosen])))
    picture = _side_by_side(base, faces[moment], track.landmarks[chosen])
    progress.at(1.0)
    return picture


def _sound(footage: media.Footage, frame: int) -> np.ndarray:
    """A second of the person's own sound around ``frame``; a made-up vowel where there is none."""
    if footage.has_sound:
        start = max(0.0, frame / media.FRAME_RATE - SECONDS / 2)
        own = media.read_sound(footage.path, SAMPLE_RATE, start, SECONDS)
        if len(own) and float(np.abs(own).max()) > 0.02:
            return own
    times = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = np.arange(1, 40) * PITCH
    levels = sum(np.exp(-(((harmonics - middle) / (3 * width)) ** 2)) for middle, width in FORMANTS)
    voice = (np.asarray(levels)[:, None] * np.sin(2 * np.pi * harmonics[:, None] * times)).sum(0)
    return np.asarray(0.3 * voice / np.abs(voice).max() * np.sin(np.pi * times / SECONDS) ** 2, np.float32)


def _side_by_side(base: media.I420, face: FaceFrame, points: np.ndarray) -> np.ndarray:
    before = media.to_bgr(base)
    after = media.to_bgr(compositor.paste(base.copy(), face))
    shown = before.astype(np.float32)
    if face.patch is not None:
        height, width = face.patch.shape[:2]
        mask = np.full((height, width), 255, np.uint8) if face.mask is None else face.mask
        share = 0.6 * mask[:, :, None].astype(np.float32) / 255
        part = shown[face.top : face.top + height, face.left : face.left + width]
        part += share * (TINT - part)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    reach = REACH * (high - low)
    limit = np.array([before.shape[1], before.shape[0]])
    (left, top), (right, bottom) = np.clip(np.stack([low - reach, high + reach]), 0, limit).astype(int)
    pieces = [picture[top:bottom, left:right] for picture in (before, shown.astype(np.uint8), after)]
    scale = HEIGHT / (bottom - top)
    size = round((right - left) * scale), HEIGHT
    return np.concatenate([cv2.resize(piece, size, interpolation=cv2.INTER_AREA) for piece in pieces], 1)
