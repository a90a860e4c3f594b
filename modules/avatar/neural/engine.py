"""The base of engines whose network redraws a crop of the face: preparation by frame, animation in batches.

A concrete engine says where its crop lies, what its network hears and sees, and loads the network; boxes, masks,
streaming, silence, blending and the order of things are here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from modules import media, weights
from modules.avatar.base import BaseLoop, FaceFrame, LipSyncEngineInfo, PreparedAvatar
from modules.avatar.crops import Box, CropWriter
from modules.avatar.listen import LIVE, STEADY, Window, windows
from modules.avatar.loop import choose_loop
from modules.avatar.making import replaced
from modules.avatar.neural import regions, stored
from modules.avatar.neural.stored import Stored
from modules.avatar.silence import SAMPLE_RATE, gate, loudness, speaking
from modules.face.track import Track
from modules.options import Option, resolve
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.avatar.neural.compiled import Recipe
    from modules.avatar.neural.runner import Runner, Ticket
    from modules.devices import Device

# Raised when what is stored changes its meaning.
VERSION = 2
LIVE_OPTION = Option("live", "option.lips.live", "switch", False)
CROPS_SHARE = 0.6


def batch_option(sizes: Sequence[int]) -> Option:
    """How many faces are drawn at a time: more is quicker and takes more memory of the card."""
    return Option("batch", "option.lips.batch", "number", sizes[-1], sizes[0], sizes[-1], 1)


class NeuralEngine:
    """See base.LipSyncEngine for the interface; the methods with one underscore are each engine's own."""

    info: LipSyncEngineInfo
    # Names of options on which preparation depends.
    prepared_by: ClassVar[frozenset[str]] = frozenset()
    # Batches that the network is run in; rising.
    sizes: ClassVar[Sequence[int]] = (1, 4, 16)

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = max(1, threads)
        self._runner: Runner | None = None
        self._opened: tuple[Path, int, Stored] | None = None

    # --- what a concrete engine says ------------------------------------------------------------

    def _boxes(self, landmarks: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        """(N, 4) left, top, right, bottom of the network's crop for (N, 478, 3) landmarks, in pixels."""
        raise NotImplementedError

    def _hear(self, folder: Path, window: Window, options: Mapping[str, Any]) -> np.ndarray:
        """(count, ...) what the network hears for each of the window's ``count`` frames.

        folder: as ``prepare`` got it.
        """
        raise NotImplementedError

    def _load(self, device: Device, sizes: Sequence[int]) -> Runner:
        """The network on ``device``: it takes what ``_see`` and ``_hear`` give, and gives (B, S, S, 3) uint8 BGR."""
        raise NotImplementedError

    def _place(self, folder: Path) -> Path:
        """Where the preparation lies for the ``folder`` that ``prepare`` got; it is replaced as a whole."""
        return folder

    def _largest(self, options: Mapping[str, Any]) -> int:
        """How many faces are drawn at a time."""
        return int(options["batch"])

    def _see(self, kept: Stored, places: np.ndarray, crops: np.ndarray) -> np.ndarray:
        """(B, ...) what the network sees of the loop's frames ``places`` (B,), whose crops are (B, S, S, 3)."""
        return crops

    def _mask(self, picture: np.ndarray, box: np.ndarray, points: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        """(M, M) uint8: what of the crop ``box`` (4,) of ``picture`` is shown; points (478, 2) in crop sides."""
        return regions.lower_face_mask(points)

    def _extra(
        self, folder: Path, count: int, options: Mapping[str, Any], progress: Progress
    ) -> Mapping[str, np.ndarray]:
        """What else to keep of the ``count`` frames whose crops lie in ``folder``."""
        return {}

    # --- the interface --------------------------------------------------------------------------

    def prepare(
        self, footage: media.Footage, track: Track, folder: Path, options: Mapping[str, Any], progress: Progress
    ) -> PreparedAvatar:
        """See base.LipSyncEngine; StudioError where no frame shows the face or the weights cannot be used."""
        values = resolve(self.info.options, options)
        loop = choose_loop(track)
        self._network(folder)
        key = {"version": VERSION, "size": self.info.face_size, "loop": [loop.start, loop.stop]}
        key |= {name: values[name] for name in sorted(self.prepared_by)}
        place = self._place(folder)
        if not stored.is_made_with(place, key):
            with replaced(place) as making:
                self._store(footage, track, loop, making, key, values, progress)
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
        values = resolve(self.info.options, options)
        runner, kept = self._network(avatar.folder), self._open(self._place(avatar.folder))

        def draw(generated: tuple[int, np.ndarray, np.ndarray]) -> FaceFrame:
            return _draw(avatar, kept, *generated)

        pace = LIVE if values["live"] else STEADY
        largest = min(self._largest(values), pace.count)
        for window in windows(speech, pace):
            batches = self._batches(avatar, window, values, largest, first, heard)
            yield from media.mapped(draw, self._generated(runner, kept, batches), self._threads)

    def unload(self) -> None:
        """Forget the network and the opened avatar."""
        if self._runner is not None:
            self._runner.close()
        self._runner = self._opened = None
        free_device_memory()

    # --- how --------------------------------------------------------------------------------------

    def _network(self, folder: Path) -> Runner:
        """The network that draws the avatar; ``folder`` as ``prepare`` got it."""
        if self._runner is None:
            from modules import devices

            for name in self.info.weights:
                weights.folder(self._models_dir, name)
            self._runner = self._load(devices.choose("auto"), self.sizes)
        return self._runner

    def _recipe(self, maker: str, *arguments: Any) -> Recipe:
        from modules.avatar.neural.compiled import Recipe

        return Recipe(maker, arguments, self._models_dir / ".compiled")

    def _generated(
        self, runner: Runner, kept: Stored, batches: Iterator[_Batch]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Of each frame asked for: which frame of the footage carries it, what the network drew, and its crop."""
        under_way: deque[tuple[_Batch, np.ndarray, Ticket]] = deque()

        def look(batch: _Batch) -> tuple[_Batch, np.ndarray, np.ndarray]:
            places = batch.bases - kept.start
            crops = np.stack([kept.crops[place].pixels for place in places.tolist()])
            return batch, crops, self._see(kept, places, crops)

        # Crops are opened in a thread beside this one, which serves the device and hears with it.
        for batch, crops, seen in media.mapped(look, batches, 1):
            ticket = runner.submit(seen, batch.features, room=batch.room)
            under_way.append((batch, crops, ticket))
            if len(under_way) > 1:
                yield from _fetched(*under_way.popleft())
        while under_way:
            yield from _fetched(*under_way.popleft())

    def _open(self, folder: Path) -> Stored:
        changed = (folder / stored.FILE).stat().st_mtime_ns if (folder / stored.FILE).exists() else 0
        if self._opened is None or self._opened[:2] != (folder, changed):
            self._opened = None
            self._opened = folder, changed, Stored.load(folder)
        return self._opened[2]

    def _store(
        self,
        footage: media.Footage,
        track: Track,
        loop: BaseLoop,
        folder: Path,
        key: Mapping[str, Any],
        options: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        part = track.part(loop.start, loop.stop)
        count, size = len(part), self.info.face_size
        boxes = regions.steady_boxes(self._boxes(part.landmarks, options), part.usable, footage.width, footage.height)
        masks = []
        share = progress.part(0.0, CROPS_SHARE)
        with CropWriter(folder) as writer:
            pictures = media.prefetch(media.read_frames(footage, loop.start, loop.stop), 4)
            for number, (frame, box) in enumerate(zip(pictures, boxes, strict=True)):
                if number % 4 == 0:
                    share.at(number / count)
                picture = media.to_bgr(frame)
                left, top, right, bottom = box.tolist()
                crop = _resized(picture[top:bottom, left:right], size, size)
                writer.add(crop, Box(0, 0, size, size))
                points = (part.landmarks[number, :, :2] - box[:2]) / (box[2:] - box[:2])
                shown = part.usable[number]
                empty = np.zeros((regions.MASK_SIDE, regions.MASK_SIDE), np.uint8)
                masks.append(self._mask(picture, box, points, options) if shown else empty)
        extra = self._extra(folder, count, options, progress.part(CROPS_SHARE, 1.0))
        stored.save(folder, key, loop.start, boxes, np.array(masks), extra)

    def _batches(
        self, avatar: PreparedAvatar, window: Window, options: Mapping[str, Any], largest: int, first: int, heard: int
    ) -> Iterator[_Batch]:
        """The frames of a window in batches, cut at the same places however many of them were heard before."""
        if window.first + window.count <= heard:
            return
        features = self._hear(avatar.folder, window, options)
        for start in range(0, window.count, largest):
            number, count = window.first + start, min(largest, window.count - start)
            if number + count > heard:
                bases = np.array([avatar.loop.frame(first + number + place) for place in range(count)])
                yield _Batch(bases, features[start : start + count], max(0, heard - number), largest)


@dataclass(frozen=True)
class _Batch:
    """bases (B,) frames of the footage; features (B, ...).

    skipped: so many of the first are not asked for; room: how many a batch usually has.
    """

    bases: np.ndarray
    features: np.ndarray
    skipped: int
    room: int


def _fetched(batch: _Batch, crops: np.ndarray, ticket: Ticket) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    generated = zip(batch.bases.tolist(), ticket.result(), crops, strict=True)
    yield from islice(generated, batch.skipped, None)


def gated(window: Window) -> np.ndarray:
    """The window's sound at 16 kHz, faded to silence where nobody speaks, so that noise moves no lips."""
    sound = media.resample(window.samples, window.sample_rate, SAMPLE_RATE)
    count = window.before + window.count + window.after
    if not len(sound):
        return np.zeros(1, np.float32)
    opened = gate(speaking(loudness(sound, count, media.FRAME_RATE)))
    times = np.arange(len(sound)) / SAMPLE_RATE
    return np.asarray(sound * np.interp(times, (np.arange(count) + 0.5) / media.FRAME_RATE, opened), np.float32)


def _draw(avatar: PreparedAvatar, kept: Stored, base: int, picture: np.ndarray, crop: np.ndarray) -> FaceFrame:
    if not avatar.track.usable[base]:
        return FaceFrame(base)
    place = base - kept.start
    return face_frame(base, picture, crop, kept.masks[place], kept.boxes[place], avatar.track.landmarks[base])


def face_frame(
    base: int, drawn: np.ndarray, crop: np.ndarray, mask: np.ndarray, box: np.ndarray, points: np.ndarray
) -> FaceFrame:
    """What a network drew in place of ``crop``, both (S, S, 3) uint8, in the colours and the size of frame ``base``.

    mask (M, M) uint8, standing for the whole crop; box (4,) of the crop and points (478, 3) in the frame's pixels.
    """
    left, top, right, bottom = box.tolist()
    size = right - left, bottom - top
    patch = _resized(regions.match_colour(drawn, crop, mask), *size)
    mouth = regions.mouth_mask((points[:, :2] - box[:2]) / size)
    shown, own = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (mask, mouth))
    return FaceFrame(base, patch, np.asarray(shown, np.uint8), left, top, np.asarray(own, np.uint8))


def _resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    smaller = width * height < picture.shape[0] * picture.shape[1]
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8
    )


def free_device_memory() -> None:
    """Give back what torch keeps of the device's memory for later."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
