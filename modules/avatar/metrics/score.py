"""The published lip-sync scores of a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules import devices, media, weights
from modules.avatar.metrics import features
from modules.avatar.metrics.features import SyncScores, sync_scores
from modules.avatar.wav2lip.features import face_boxes
from modules.face.track import Track, track_footage
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.avatar.metrics.network import SyncNet

WEIGHTS, FILE = "syncnet", "syncnet_v2.model"
# Holes in the track of up to so many frames are bridged, as published.
LONGEST_HOLE = 25
# Shorter than 2 s the score says little.
LEAST_FRAMES = 2 * media.FRAME_RATE
# Few, so that a cancel is noticed within half a second on two cores.
BATCH = 4
TRACK_SHARE = 0.4


def score_video(path: Path, track: Track | None, models_dir: Path, progress: Progress) -> SyncScores | None:
    """LSE-C, LSE-D and the offset of the video's sound over the longest stretch that shows the face.

    track: the face in each of its frames at 25 a second, where that is known already. None for a video without
    sound, or without 2 s of a face. StudioError('weights_missing') or 'weights_broken' where SyncNet cannot be had.
    """
    from modules.avatar.metrics import network

    file = weights.file(models_dir, WEIGHTS, FILE)
    footage = media.probe(path)
    if not footage.has_sound:
        return None
    if track is None:
        track = track_footage(footage, None, progress.part(0.0, TRACK_SHARE))
        progress = progress.part(TRACK_SHARE, 1.0)
    seen = np.asarray(track.landmarks.any((1, 2)))
    start, stop = longest_stretch(seen)
    sound = media.read_sound(path, features.SAMPLE_RATE, start / media.FRAME_RATE, (stop - start) / media.FRAME_RATE)
    count = min(stop - start, len(sound) // features.SAMPLES_A_FRAME) - features.FRAMES
    if count < LEAST_FRAMES - features.FRAMES:
        return None
    places = features.crop_places(bridged(face_boxes(track.landmarks[start:stop]), seen[start:stop]))
    crops = _crops(footage, start, start + count + features.FRAMES - 1, places)
    cepstrum = features.mfcc(np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16))
    lips, heard = _embeddings(network.load(file), crops, cepstrum, count, progress)
    return sync_scores(lips, heard)


def longest_stretch(seen: np.ndarray) -> tuple[int, int]:
    """First frame and the one after the last of the longest run in ``seen`` (N,) bool, short holes bridged."""
    known = np.flatnonzero(seen)
    if not len(known):
        return 0, 0
    runs = np.split(known, np.flatnonzero(np.diff(known) > LONGEST_HOLE + 1) + 1)
    longest = max(runs, key=lambda run: int(run[-1] - run[0]))
    return int(longest[0]), int(longest[-1]) + 1


def bridged(boxes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """``boxes`` (N, 4) where a face was ``seen`` (N,), and those in between elsewhere."""
    known, frames = np.flatnonzero(seen), np.arange(len(seen))
    return np.stack([np.interp(frames, known, side[known]) for side in boxes.T], 1)


def _crops(footage: media.Footage, start: int, stop: int, places: np.ndarray) -> Iterator[np.ndarray]:
    pictures = media.prefetch(media.read_frames(footage, start, stop), 4)
    for frame, place in zip(pictures, places, strict=False):
        yield features.crop(media.to_bgr(frame), place)


def _embeddings(
    network: SyncNet, crops: Iterator[np.ndarray], cepstrum: np.ndarray, count: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """(count, 1024) of the five frames from each one on, and of their sound; few pictures are held at a time."""
    import torch

    device = devices.torch_device(devices.choose("auto"))
    network = network.to(device)
    lips, heard, held = [], [], [next(crops) for _ in range(features.FRAMES - 1)]
    for first in range(0, count, BATCH):
        progress.at(first / count)
        frames = np.arange(first, min(first + BATCH, count))
        held += [next(crops) for _ in frames]
        clip = torch.from_numpy(np.stack(held)).to(device, torch.float32).permute(3, 0, 1, 2)
        seen = clip.unfold(1, features.FRAMES, 1).permute(1, 0, 4, 2, 3)
        with torch.inference_mode():
            lips.append(network.forward_lip(seen).cpu().numpy())
            sound = torch.from_numpy(features.heard_at(cepstrum, frames)).to(device)
            heard.append(network.forward_aud(sound).cpu().numpy())
        held = held[len(frames) :]
    progress.at(1.0)
    return np.concatenate(lips), np.concatenate(heard)
