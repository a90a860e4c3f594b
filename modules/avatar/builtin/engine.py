"""The built-in lip-sync engine: learns one person's mouth from the footage and puts real mouths together anew.

Sound becomes wanted mouth shapes (regress), the person's own frames that come nearest are chosen (selection),
warped into place and blended (plan, warp). Needs two CPU cores and nothing from a model hub. Photos, and
footage in which nobody speaks, are moved by rule instead (articulation, photo): preview quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from modules import media
from modules.avatar.base import FaceFrame, LipSyncEngineInfo, PreparedAvatar
from modules.avatar.builtin import person, photo
from modules.avatar.builtin.ears import WHISPER, Ears
from modules.avatar.builtin.learn import learn
from modules.avatar.builtin.perform import Performance, PersonPerformance, PreviewPerformance
from modules.avatar.builtin.person import LoadedPerson
from modules.avatar.builtin.photo import LoadedPreview
from modules.avatar.listen import LIVE, STEADY, Window, windows
from modules.avatar.loop import choose_loop
from modules.avatar.making import replaced
from modules.face.track import Track
from modules.options import Option, resolve
from modules.progress import Progress


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
        options=(Option("live", "option.lips.live", "switch", False),),
    )

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._threads = max(1, threads)
        self._ears = Ears(models_dir, self._threads)
        self._loaded: tuple[Path, LoadedPerson | LoadedPreview] | None = None

    def prepare(
        self, footage: media.Footage, track: Track, folder: Path, options: Mapping[str, Any], progress: Progress
    ) -> PreparedAvatar:
        """See base.LipSyncEngine; StudioError('face_unusable') where no frame shows the face well."""
        resolve(self.info.options, options)
        loop = choose_loop(track)
        if not (_is_version(folder / person.MODEL, person.VERSION) or _is_version(folder / photo.MODEL, photo.VERSION)):
            with replaced(folder) as making, threadpool_limits(1, "blas"):
                learn(footage, track, loop, making, self._ears, progress)
        progress.at(1.0)
        return PreparedAvatar(self.info.id, folder, footage, track, loop)

    def animate(
        self,
        avatar: PreparedAvatar,
        speech: Iterator[media.AudioChunk],
        options: Mapping[str, Any],
        first: int = 0,
        heard: int = 0,
    ) -> Iterator[FaceFrame]:
        """See base.LipSyncEngine; sound is taken in windows, so memory does not grow with its length."""
        live = bool(resolve(self.info.options, options)["live"])
        performance = self._performance(avatar, live, first)

        def planned(window: Window) -> Iterator[tuple[int, Any]]:
            plans = performance.plan(window)
            for place in range(min(max(heard - window.first, 0), window.count), window.count):
                yield avatar.loop.frame(first + window.first + place), plans[place]

        def draw(wanted: tuple[int, Any]) -> FaceFrame:
            frame, plan = wanted
            if not avatar.track.usable[frame]:
                return FaceFrame(frame)
            patch, mask, box = performance.draw(plan)
            return FaceFrame(frame, patch, mask, box.left, box.top)

        # The matrices of one frame are small: threads of the linear algebra would only wait for each other.
        with threadpool_limits(1, "blas"):
            for window in windows(speech, LIVE if live else STEADY):
                yield from media.mapped(draw, planned(window), self._threads)

    def unload(self) -> None:
        """Forget the loaded avatar and the encoder."""
        self._loaded = None
        self._ears.unload()

    def _performance(self, avatar: PreparedAvatar, live: bool, first: int) -> Performance:
        if self._loaded is None or self._loaded[0] != avatar.folder:
            self._loaded = None  # before the next one comes: two at a time would be too much
            speaks = (avatar.folder / person.MODEL).exists()
            self._loaded = avatar.folder, LoadedPerson(avatar.folder) if speaks else LoadedPreview(avatar.folder)
        loaded = self._loaded[1]
        if isinstance(loaded, LoadedPerson):
            return PersonPerformance(loaded, self._ears, live, avatar.loop, first)
        return PreviewPerformance(loaded, self._ears, live, avatar.loop, first)


def _is_version(file: Path, version: int) -> bool:
    """True when ``file`` is there, whole enough to open, and written by this version of the engine."""
    try:
        with np.load(file, allow_pickle=False) as data:
            return bool(data["version"] == version)
    except (OSError, ValueError, KeyError):
        return False
