"""Preparing a footage: storing its mouths, and learning how this person's mouth goes with the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modules import media
from modules.avatar.base import BaseLoop
from modules.avatar.builtin import photo
from modules.avatar.builtin.crops import CropWriter
from modules.avatar.builtin.ears import Ears, hear
from modules.avatar.builtin.features import HOP, SAMPLE_RATE, Hearing
from modules.avatar.builtin.footage import choose_frames, mouth_boxes
from modules.avatar.builtin.person import PersonModel
from modules.avatar.builtin.regress import SpeechToShape
from modules.avatar.builtin.shapes import ShapeSpace, face_shapes
from modules.avatar.builtin.warp import Box
from modules.face.track import Track
from modules.progress import Progress

# Less speech than this teaches nothing: the person's mouth is then moved by rule.
MIN_SPEECH_SECONDS = 3.0
CONTEXT_SECONDS = 1.0
STORING_SHARE, HEARING_SHARE = 0.4, 0.5


def learn(footage: media.Footage, track: Track, loop: BaseLoop, folder: Path, ears: Ears, progress: Progress) -> None:
    """Write the engine's preparation of ``footage`` into the empty ``folder``."""
    frames = choose_frames(track, loop)
    landmarks = track.landmarks[frames]
    shapes = face_shapes(landmarks, frames)
    still = footage.kind == "photo"
    size = footage.width, footage.height
    boxes = photo.stored_boxes(landmarks, *size) if still else mouth_boxes(shapes, *size)[1]
    store_crops(footage, frames, boxes, folder, progress.part(0.0, STORING_SHARE))
    sound, start = _sound(footage, int(frames[0]), int(frames[-1]) + 1)
    heard = hear(sound)
    times = (frames + 0.5) / media.FRAME_RATE - start
    spoken = heard.spoken_at(times)
    if spoken.sum() < MIN_SPEECH_SECONDS * media.FRAME_RATE:
        photo.save(folder, frames, landmarks, *size, still)
        return
    hearing_progress = progress.part(STORING_SHARE, HEARING_SHARE)
    hearing = Hearing(ears.states(sound, progress=hearing_progress), heard.mel)
    space = ShapeSpace.fit(shapes.lower, ~spoken)
    codes = space.encode(shapes.lower)
    speech = SpeechToShape.fit(hearing, heard.spoken, times, frames, codes, space, progress.part(HEARING_SHARE, 1.0))
    PersonModel(frames, landmarks, np.array(size), space, speech).save(folder)


def store_crops(footage: media.Footage, frames: np.ndarray, boxes: list[Box], folder: Path, progress: Progress) -> None:
    """Keep the part ``boxes`` of the frames ``frames`` ((N,) rising numbers), in one pass over the footage."""
    with CropWriter(folder) as writer:
        pictures = media.prefetch(media.read_order(footage, frames.tolist()), 4)
        for number, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
            if number % 8 == 0:
                progress.at(number / len(frames))
            writer.add(media.to_bgr(picture), box)


def _sound(footage: media.Footage, first: int, stop: int) -> tuple[np.ndarray, float]:
    """The sound at 16 kHz of frames ``first`` to ``stop`` and a little around, and the second where it starts.

    Exactly as long as its pictures, silence where there is none.
    """
    start = max(0.0, first / media.FRAME_RATE - CONTEXT_SECONDS)
    end = min(footage.duration, stop / media.FRAME_RATE + CONTEXT_SECONDS)
    sound = np.zeros(max(round((end - start) * SAMPLE_RATE), HOP), np.float32)
    if footage.has_sound:
        read = media.read_sound(footage.path, SAMPLE_RATE, start, end - start)[: len(sound)]
        sound[: len(read)] = read
    return sound, start
