"""The interface of lip-sync engines, and the small things that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from modules.options import Option
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.face.track import Track
    from modules.media import AudioChunk, Footage


@dataclass(frozen=True)
class LipSyncEngineInfo:
    """What an engine is and needs; the UI, the API and the memory planner are drawn from it.

    memory_mb, gpu_memory_mb: what it takes at work of main memory and, where there is one, of a card's, in 10^6 bytes;
    the planner corrects them by what it measures. light: quick enough without a card. trained: files that a training
    on the avatar's own footage leaves in the engine's folder, without which the engine cannot be used.
    """

    id: str
    title: str
    licence: str
    commercial_use: bool
    face_size: int
    streams: bool
    takes_photo: bool
    memory_mb: int
    weights: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=())
    gpu_memory_mb: int = 0
    light: bool = False
    trained: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaseLoop:
    """Which frame of the footage carries output frame n: forward and back over [start, stop).

    Going back at the ends keeps the head's motion continuous without a cut.
    """

    start: int
    stop: int

    def frame(self, n: int) -> int:
        """Index of the footage frame for output frame ``n`` (0-based)."""
        length = self.stop - self.start
        if length == 1:
            return self.start
        step = n % (2 * length - 2)
        return self.start + (step if step < length else 2 * length - 2 - step)


@dataclass(frozen=True)
class PreparedAvatar:
    """One engine's cached preparation of one footage, in ``folder``."""

    engine: str
    folder: Path
    footage: Footage
    track: Track
    loop: BaseLoop


@dataclass(frozen=True)
class FaceFrame:
    """What one output frame changes in its base frame.

    base: index of the footage frame (25 fps) to paste into.
    patch: (h, w, 3) uint8 BGR, already in frame coordinates, or None to pass the frame through.
    mask: (h, w) uint8, 255 where the patch replaces the frame; None with a patch: all of it.
    left, top: where the patch's corner lies in the frame, in pixels; both even.
    mouth: (h, w) uint8, 255 over the frame's own mouth: the patch is softer than the frame, whose fine detail is to be
    kept around it; None: the patch is shown as it is.
    """

    base: int
    patch: np.ndarray | None = None
    mask: np.ndarray | None = None
    left: int = 0
    top: int = 0
    mouth: np.ndarray | None = None


class LipSyncEngine(Protocol):
    """An engine animates a face: footage once, then any speech."""

    info: LipSyncEngineInfo

    def prepare(
        self, footage: Footage, track: Track, folder: Path, options: Mapping[str, Any], progress: Progress
    ) -> PreparedAvatar:
        """Analyse ``footage`` into ``folder``; returns at once what is already there."""
        ...

    def animate(
        self,
        avatar: PreparedAvatar,
        speech: Iterator[AudioChunk],
        options: Mapping[str, Any],
        first: int = 0,
        heard: int = 0,
    ) -> Iterator[FaceFrame]:
        """One FaceFrame for every 40 ms of ``speech`` begun, in order, but for the first ``heard`` of them.

        ``first`` is the number of the first frame of ``speech`` on ``avatar.loop``, so that a long output can be
        made piece by piece; what was made before is ``heard`` again, so that pieces join without a seam.
        Closing the iterator cancels.
        """
        ...

    def unload(self) -> None:
        """Give back all memory that the engine holds between calls."""
        ...
