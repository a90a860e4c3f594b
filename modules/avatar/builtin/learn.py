"""Preparing a footage: storing its mouths, and learning how this person's mouth goes with the sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules import media
from modules.avatar.base import BaseLoop
from modules.avatar.builtin import photo
from modules.avatar.builtin.ears import Ears, hear
from modules.avatar.builtin.features import HOP, SAMPLE_RATE, Hearing
from modules.avatar.builtin.footage import choose_kept, choose_taught, mouth_boxes
from modules.avatar.builtin.person import PersonModel
from modules.avatar.builtin.regress import SpeechToShape
from modules.avatar.builtin.shapes import ShapeSpace, face_shapes, opening
from modules.avatar.builtin.sync import footage_lag
from modules.avatar.crops import Box, CropWriter
from modules.face.track import Track
from modules.progress import Progress

# Less speech than this teaches nothing: the person's mouth is then moved by rule.
MIN_SPEECH_SECONDS = 3.0
CONTEXT_SECONDS = 1.0
STORING_SHARE, HEARING_SHARE = 0.4, 0.5


@dataclass(frozen=True)
class Lesson:
    """What is heard while N frames are seen.

    hearing: the whole sound; voiced (T100,) bool, where in it somebody speaks;
    frames (N,) rising frame numbers; times (N,) seconds of them in the sound; spoken (N,) bool.
    """

    hearing: Hearing
    voiced: np.ndarray
    frames: np.ndarray
    times: np.ndarray
    spoken: np.ndarray

    def part(self, chosen: np.ndarray) -> Lesson:
        """Only the frames that are true in ``chosen`` (N,)."""
        return Lesson(self.hearing, self.voiced, self.frames[chosen], self.times[chosen], self.spoken[chosen])

    def learnt(self, lower: np.ndarray, progress: Progress) -> tuple[ShapeSpace, SpeechToShape]:
        """The mouth shapes (N, 116, 3) of the frames, and how they go with the sound."""
        space = ShapeSpace.fit(lower, ~self.spoken)
        codes = space.encode(lower)
        speech = SpeechToShape.fit(self.hearing, self.voiced, self.times, self.frames, codes, space, progress)
        return space, speech


def learn(footage: media.Footage, track: Track, loop: BaseLoop, folder: Path, ears: Ears, progress: Progress) -> None:
    """Write the engine's preparation of ``footage`` into the empty ``folder``."""
    taught = choose_taught(track)
    shapes = face_shapes(track.landmarks[taught], taught)
    kept = choose_kept(taught, shapes, loop)
    frames, landmarks = taught[kept], track.landmarks[taught[kept]]
    still = footage.kind == "photo"
    size = footage.width, footage.height
    boxes = photo.stored_boxes(landmarks, *size) if still else mouth_boxes(shapes.part(kept), *size)[1]
    store_crops(footage, frames, boxes, folder, progress.part(0.0, STORING_SHARE))
    lesson = attend(footage, taught, ears, progress.part(STORING_SHARE, HEARING_SHARE))
    if lesson is None:
        photo.save(folder, frames, landmarks, *size, still)
        return
    space, speech = lesson.learnt(shapes.lower, progress.part(HEARING_SHARE, 1.0))
    lag = footage_lag(lesson.hearing.sounds, lesson.times, opening(shapes.lower))
    PersonModel(frames, landmarks, shapes.reference, np.array(size), lag, space, speech).save(folder)


def attend(footage: media.Footage, frames: np.ndarray, ears: Ears, progress: Progress) -> Lesson | None:
    """Hear the sound of ``frames`` ((N,) rising numbers); None where hardly anybody speaks."""
    sound, start = _sound(footage, int(frames[0]), int(frames[-1]) + 1)
    heard = hear(sound)
    times = (frames + 0.5) / media.FRAME_RATE - start
    spoken = heard.spoken_at(times)
    if spoken.sum() < MIN_SPEECH_SECONDS * media.FRAME_RATE:
        return None
    hearing = ears.hearing(sound, heard.mel, progress=progress)
    return Lesson(hearing, heard.spoken, frames, times, spoken)


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
