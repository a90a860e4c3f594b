"""Training Ultralight for an avatar: its footage cut to faces, a listener fitted to its sound, the network trained.

All that must last lies in the engine's folder of the avatar (WEIGHTS and LISTENER of engine.py, and the state to go on
from); the faces are cut for one job only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from modules import media
from modules.avatar.builtin.ears import Ears
from modules.avatar.neural.engine import free_device_memory
from modules.avatar.neural.regions import steady_boxes
from modules.avatar.ultralight import features, listener, network, train
from modules.avatar.ultralight.heads import resting_heads
from modules.avatar.ultralight.listener import Listener
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

# More faces than this teach nothing new and take 85 kB each.
MAX_FRAMES = 6000
CARD_BATCH, CPU_BATCH = 24, 8
# At work, in 10^6 bytes; the planner corrects them by what it measures.
MEMORY_MB, GPU_MEMORY_MB = 2500, 6000
FACES, GOAL = "faces.npy", "goal.json"
# Getting ready takes about so many seconds for each second of footage: for its share of the progress.
READY_PACE, MOST_READY = 0.7, 0.5
CUT_FROM = 0.4


class Trainer:
    """Trains one avatar at a time; between trainings it keeps nothing but the ears."""

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._threads = max(1, threads)
        self._ears = Ears(models_dir, self._threads)

    def unload(self) -> None:
        """Forget the ears."""
        self._ears.unload()
        free_device_memory()

    def train(
        self,
        footage: media.Footage,
        track: Track,
        folder: Path,
        work: Path,
        seconds: float,
        batch: int,
        progress: Progress,
        on_sample: train.Sample,
    ) -> train.Trained:
        """Train for ``seconds`` into ``folder``, or go on with what it holds, up to the ``goal`` kept in ``work``.

        batch: faces a step. on_sample: see train.train. Cancelled: what was reached is saved. StudioError:
        'training_silent', 'training_broken', 'avatar_broken', 'disk_space_short'.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ready = min(READY_PACE * footage.duration / (READY_PACE * footage.duration + seconds), MOST_READY)
        getting = progress.part(0.0, ready, "stage.prepare")
        known = self._listener(footage, track, folder, work, getting.part(0.0, CUT_FROM))
        rows = np.linspace(0, len(known.frames) - 1, min(len(known.frames), MAX_FRAMES)).round().astype(int)
        frames = known.frames[rows]
        boxes = steady_boxes(features.face_boxes(track.landmarks), track.usable, footage.width, footage.height)
        faces = _faces(footage, frames, boxes, work, getting.part(CUT_FROM, 0.98))
        total = goal(folder, work, seconds)
        with _threads(self._threads):
            try:
                return train.train(
                    faces,
                    known.seen()[rows],
                    resting_heads(track.landmarks[frames], boxes[frames]),
                    train.Settings(seconds=total, batch=batch),
                    folder,
                    _from_here(progress.part(ready, 1.0, "stage.train"), reached(folder) / total),
                    on_sample,
                    {"goal": total},
                )
            finally:
                free_device_memory()

    def _listener(self, footage: media.Footage, track: Track, folder: Path, work: Path, progress: Progress) -> Listener:
        """The one that a training was begun with: another would give its codes another meaning."""
        if (folder / listener.FILE).is_file():
            return Listener.load(folder)
        with threadpool_limits(1, "blas"):
            made = Listener.fit(footage, track, self._ears, progress)
        made.save(work)
        os.replace(work / listener.FILE, folder / listener.FILE)
        return made


def usual_batch(on_card: bool) -> int:
    """Faces a step."""
    return CARD_BATCH if on_card else CPU_BATCH


def reached(folder: Path) -> float:
    """Seconds for which the training in ``folder`` has gone on so far."""
    return float(_told(folder).get("seconds", 0.0))


def goal(folder: Path, work: Path, seconds: float) -> float:
    """Up to how many seconds of training in all a job of ``seconds`` goes; kept in ``work``, so that it stays.

    A training that was stopped goes on to ``seconds``; one that is finished, or further than that, by as many more.
    """
    if not (work / GOAL).is_file():
        told = _told(folder)
        done = float(told.get("seconds", 0.0))
        stopped = done < float(told.get("goal", 0.0))
        total = seconds if stopped and done < seconds else done + seconds
        (work / GOAL).write_text(json.dumps(total), encoding="utf-8")
    return float(json.loads((work / GOAL).read_text(encoding="utf-8")))


def _told(folder: Path) -> dict[str, float]:
    """What the last training says of itself; nothing where it cannot be gone on with."""
    there = (folder / train.STATE).is_file() and (folder / train.WEIGHTS).is_file()
    return network.metadata(folder / train.WEIGHTS) if there else {}


def _faces(footage: media.Footage, frames: np.ndarray, boxes: np.ndarray, work: Path, progress: Progress) -> np.ndarray:
    """(N, 168, 168, 3) uint8 BGR of ``frames`` (N,) of the footage, in a file of ``work``; ``boxes`` of all frames."""
    file = work / FACES
    shape = (len(frames), features.CROP_SIDE, features.CROP_SIDE, 3)
    if not file.is_file():
        needed = int(np.prod(shape, dtype=np.int64))
        if needed > shutil.disk_usage(work).free:
            raise StudioError("disk_space_short", needed=needed // 1_000_000)
        part = file.with_suffix(".part")
        faces = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        last = int(frames[-1]) + 1
        places = dict(zip(frames.tolist(), range(len(frames)), strict=True))
        for number, picture in enumerate(media.prefetch(media.read_frames(footage, 0, last), 4)):
            progress.at(number / last)
            if number in places:
                faces[places[number]] = features.crop_face(media.to_bgr(picture), boxes[number])
        del faces
        os.replace(part, file)
    # Copied where it is written to; nobody does, but torch takes no array that is for reading only.
    return np.load(file, mmap_mode="c")


def _from_here(progress: Progress, share: float) -> Progress:
    """``progress`` that begins at nothing where the training is done up to ``share``."""
    return Progress(lambda now, _: progress.at((now - share) / max(1 - share, 1e-9)))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
