"""The built-in lip-sync engine: learns one person's mouth from the footage and puts real mouths together anew.

Sound becomes wanted mouth shapes (regress), the person's own frames that come nearest are chosen (selection),
warped into place and blended (plan, warp). Needs two CPU cores and nothing from a model hub.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from modules import media, weights
from modules.avatar.base import BaseLoop, FaceFrame, LipSyncEngineInfo, PreparedAvatar
from modules.avatar.builtin.crops import CropWriter
from modules.avatar.builtin.features import MEL_RATE, SAMPLE_RATE, Hearing, WhisperEncoder, log_mel, loudness
from modules.avatar.builtin.footage import choose_frames, choose_loop, mouth_boxes
from modules.avatar.builtin.listen import Window, windows
from modules.avatar.builtin.model import LoadedPerson, PersonModel, is_current
from modules.avatar.builtin.plan import Drawing, Wanted, choose_units, drawings
from modules.avatar.builtin.regress import SpeechToShape
from modules.avatar.builtin.shapes import ShapeSpace, face_shapes
from modules.avatar.builtin.silence import gate, speaking
from modules.avatar.builtin.warp import Source, draw_mouth
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

WHISPER = "whisper-base"
# Output frames already drawn that are planned again with the next window, so that smoothing runs across.
HISTORY = 4


@dataclass
class _Past:
    """What the next window must know of the one before."""

    wanted: Wanted
    path: np.ndarray


class BuiltinEngine:
    """Lip sync by unit selection; see base.LipSyncEngine for the interface."""

    info = LipSyncEngineInfo(
        id="builtin",
        title="分身 Built-in",
        licence="Apache-2.0",
        commercial_use=True,
        face_size=0,
        streams=True,
        takes_photo=True,
        memory_mb=700,
        weights=(WHISPER,),
    )

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = max(1, threads)
        self._whisper: WhisperEncoder | None = None
        self._person: tuple[Path, LoadedPerson] | None = None

    def prepare(
        self, footage: media.Footage, track: Track, folder: Path, options: Mapping[str, Any], progress: Progress
    ) -> PreparedAvatar:
        """Learn the person in ``footage`` into ``folder``; StudioError where the footage does not do."""
        loop = choose_loop(track)
        if not is_current(folder):
            making = folder.with_name(folder.name + ".making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            try:
                with threadpool_limits(1, "blas"):
                    self._learn(footage, track, loop, making, progress)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(making, folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        progress.at(1.0)
        return PreparedAvatar(self.info.id, folder, footage, track, loop)

    def animate(
        self, avatar: PreparedAvatar, speech: Iterator[media.AudioChunk], options: Mapping[str, Any], first: int = 0
    ) -> Iterator[FaceFrame]:
        """See base.LipSyncEngine; sound is taken in windows of at most 24 s, memory does not grow with length."""
        person = self._loaded(avatar.folder)
        past: _Past | None = None
        # The matrices of one frame are small: threads of the linear algebra would only wait for each other.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self._threads) as pool:
            for window in windows(speech):
                numbers = range(first + window.first, first + window.first + window.count)
                frames = [avatar.loop.frame(number) for number in numbers]
                planned, past = self._plan(person, avatar.loop, window, first, past)
                yield from _in_order(pool, person, frames, planned, 2 * self._threads)

    def unload(self) -> None:
        """Forget the loaded avatar and the encoder."""
        self._person = None
        if self._whisper is not None:
            self._whisper.unload()
            self._whisper = None

    def _learn(
        self, footage: media.Footage, track: Track, loop: BaseLoop, folder: Path, progress: Progress
    ) -> None:
        frames = choose_frames(track, loop)
        landmarks = track.landmarks[frames]
        shapes = face_shapes(landmarks, frames)
        self._store_crops(footage, frames, mouth_boxes(shapes, footage.width, footage.height)[1], folder, progress.part(0, 0.4))
        sound = media.read_sound(footage.path, SAMPLE_RATE, 0.0, footage.duration)
        sound = np.pad(sound, (0, max(0, round(footage.duration * SAMPLE_RATE) - len(sound))))
        hearing, spoken = self._hear(sound)
        progress.at(0.5)
        silent = ~spoken[np.minimum(frames * 4 + 2, len(spoken) - 1)]
        space = ShapeSpace.fit(shapes.lower, silent)
        speech = SpeechToShape.fit(
            hearing, spoken, frames, media.FRAME_RATE, space.encode(shapes.lower), space, progress.part(0.5, 1.0)
        )
        size = np.array([footage.width, footage.height])
        PersonModel(frames, landmarks, size, space, speech).save(folder)

    def _store_crops(
        self, footage: media.Footage, frames: np.ndarray, boxes: list[Any], folder: Path, progress: Progress
    ) -> None:
        with CropWriter(folder) as writer:
            pictures = media.prefetch(media.read_order(footage, frames.tolist()), 4)
            for number, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
                if number % 8 == 0:
                    progress.at(number / len(frames))
                writer.add(media.to_bgr(picture), box)

    def _hear(self, sound: np.ndarray) -> tuple[Hearing, np.ndarray]:
        """Features of 16 kHz ``sound``, and (T100,) bool where there is speech."""
        if self._whisper is None:
            self._whisper = WhisperEncoder(weights.folder(self._models_dir, WHISPER), self._threads)
        mel = log_mel(sound)
        spoken = np.repeat(speaking(loudness(sound, -(-len(mel) // 4), media.FRAME_RATE)), 4)[: len(mel)]
        return Hearing(self._whisper.states(sound), mel), spoken

    def _loaded(self, folder: Path) -> LoadedPerson:
        if self._person is None or self._person[0] != folder:
            self._person = None
            self._person = (folder, LoadedPerson(folder))
        return self._person[1]

    def _plan(
        self, person: LoadedPerson, loop: BaseLoop, window: Window, first: int, past: _Past | None
    ) -> tuple[list[Drawing], _Past]:
        """Drawings for the frames of ``window``, and what the next one must know."""
        sound = media.resample(window.samples, window.sample_rate, SAMPLE_RATE)
        hearing, spoken = self._hear(sound)
        times = (np.arange(window.before + window.count + window.after) + 0.5) / media.FRAME_RATE
        adapted = person.speech.adapted(hearing, spoken)
        spoken = spoken[np.minimum((times * MEL_RATE).astype(int), len(spoken) - 1)]
        codes = person.speech.predict(adapted, times, spoken, person.space)
        open_share = gate(spoken)[:, None]
        codes = (person.space.rest + (codes - person.space.rest) * open_share)[window.before :]
        numbers = first + window.first + np.arange(len(codes))
        bases = np.array([person.nearest(loop.frame(int(number))) for number in numbers])
        ahead = Wanted(codes, bases)
        path = choose_units(person, ahead, None if past is None else int(past.path[-1]))
        if past is not None:
            ahead, path = past.wanted.joined(ahead), np.concatenate([past.path, path])
        done = 0 if past is None else len(past.path)
        planned = drawings(person, ahead, path)[done : done + window.count]
        end = done + window.count
        start = max(0, end - HISTORY)
        return planned, _Past(Wanted(ahead.codes[start:end], ahead.bases[start:end]), path[start:end])


def _in_order(
    pool: ThreadPoolExecutor, person: LoadedPerson, frames: list[int], planned: list[Drawing], ahead: int
) -> Iterator[FaceFrame]:
    """Draw in several threads, hand out in order, at most ``ahead`` frames early."""
    waiting: list[Future[FaceFrame]] = []
    try:
        for frame, drawing in zip(frames, planned, strict=True):
            waiting.append(pool.submit(_draw, person, frame, drawing))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def _draw(person: LoadedPerson, frame: int, drawing: Drawing) -> FaceFrame:
    if person.number_of(frame) is None:
        return FaceFrame(frame)
    box = person.boxes[drawing.base]
    sources = [
        Source(person.crops[unit], person.points[unit], share)
        for unit, share in zip(drawing.blend.units, drawing.blend.shares, strict=True)
    ]
    patch, mask = draw_mouth(person.crops[drawing.base], person.points[drawing.base], drawing.goal, sources, box)
    return FaceFrame(frame, patch, mask, box.left, box.top)
