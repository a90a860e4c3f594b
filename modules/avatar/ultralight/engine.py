"""Ultralight, trained on the avatar's own footage; see neural.engine for what all such engines do alike.

The network belongs to the avatar: the training (see personal) and the preparation lie in one folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from modules.avatar.base import LipSyncEngineInfo
from modules.avatar.builtin.ears import WHISPER, Ears, at_hearing_rate
from modules.avatar.listen import Window
from modules.avatar.neural import regions
from modules.avatar.neural.engine import LIVE_OPTION, NeuralEngine, batch_option
from modules.avatar.neural.stored import BESIDE_TRAINING
from modules.avatar.ultralight import features
from modules.errors import StudioError

if TYPE_CHECKING:
    from modules.avatar.neural.runner import Runner
    from modules.avatar.ultralight.listener import Listener
    from modules.devices import Device

SIZES = (1, 4, 16)
# Quickest on a processor, for more leave its cache and fewer cost more each; a live window is twice as many.
CPU_BATCH = 5
WEIGHTS, LISTENER = "ultralight.safetensors", "listener.npz"


@dataclass(frozen=True)
class _Person:
    """What was learnt of one avatar. stamp: when its weights were written, for a training may go on meanwhile."""

    folder: Path
    stamp: int
    runner: Runner
    listener: Listener


class UltralightEngine(NeuralEngine):
    """A small network that knows one person only."""

    sizes = SIZES
    info = LipSyncEngineInfo(
        id="ultralight",
        title="Ultralight",
        licence="Apache-2.0",
        commercial_use=True,
        face_size=features.CROP_SIDE,
        streams=True,
        takes_photo=False,
        memory_mb=900,
        gpu_memory_mb=700,
        weights=(WHISPER,),
        options=(batch_option(SIZES), LIVE_OPTION),
        light=True,
        trained=(WEIGHTS, LISTENER),
    )

    def __init__(self, models_dir: Path, threads: int) -> None:
        super().__init__(models_dir, threads)
        self._ears = Ears(models_dir, self._threads)
        self._person: _Person | None = None

    def unload(self) -> None:
        """Forget the ears, the network and the opened avatar."""
        self._forget_person()
        self._ears.unload()
        super().unload()

    def _forget_person(self) -> None:
        if self._person is not None:
            self._person.runner.close()
        self._person = None

    def _network(self, folder: Path) -> Runner:
        return self._known(folder).runner

    def _place(self, folder: Path) -> Path:
        return folder / BESIDE_TRAINING

    def _known(self, folder: Path) -> _Person:
        """The avatar whose training lies in ``folder``; StudioError('engine_not_trained') where there is none."""
        if not all((folder / name).is_file() for name in self.info.trained):
            raise StudioError("engine_not_trained", name=self.info.title)
        stamp = (folder / WEIGHTS).stat().st_mtime_ns
        if self._person is None or (self._person.folder, self._person.stamp) != (folder, stamp):
            from modules import devices
            from modules.avatar.ultralight.listener import Listener

            self._forget_person()
            listener = Listener.load(folder)
            self._person = _Person(folder, stamp, self._made(folder, devices.choose("auto")), listener)
        return self._person

    def _made(self, folder: Path, device: Device) -> Runner:
        from modules.avatar.neural.fold import fold_norms
        from modules.avatar.neural.runner import Runner
        from modules.avatar.ultralight.network import Faces, load
        from modules.devices import dtype_for

        network = load(folder / WEIGHTS)
        recipe = self._recipe("modules.avatar.ultralight.network:blank", network.widths)
        faces = Faces(fold_norms(network))
        return Runner(faces, device, dtype_for(device, coarse=True), self.sizes, recipe, exports=True)

    def _largest(self, options: Mapping[str, Any]) -> int:
        from modules import devices

        asked = super()._largest(options)
        return asked if devices.choose("auto").kind == "cuda" else min(asked, CPU_BATCH)

    def _boxes(self, landmarks: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        return features.face_boxes(landmarks)

    def _mask(self, picture: np.ndarray, box: np.ndarray, points: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        return regions.lower_face_mask(points, features.NECK)

    def _hear(self, folder: Path, window: Window, options: Mapping[str, Any]) -> np.ndarray:
        # The whole window's sound, and not only what is loud: so the listener has learnt to hear.
        sound = at_hearing_rate(window.samples, window.sample_rate)
        listener, count = self._known(folder).listener, window.before + window.count
        # The matrices of one frame are small: threads of the linear algebra would only wait for each other.
        with threadpool_limits(1, "blas"):
            codes = listener.codes(sound, count, self._ears, bool(options["live"]), window.phones)
        return codes[window.before :]
