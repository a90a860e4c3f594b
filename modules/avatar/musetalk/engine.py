"""MuseTalk 1.0 and 1.5; see neural.engine for what all such engines do alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import cv2
import numpy as np

from modules import weights
from modules.avatar.base import LipSyncEngineInfo
from modules.avatar.crops import CropStore
from modules.avatar.listen import Window
from modules.avatar.musetalk import features
from modules.avatar.musetalk.features import Mode, Version
from modules.avatar.neural import regions
from modules.avatar.neural.engine import LIVE_OPTION, NeuralEngine, batch_option, gated
from modules.avatar.neural.stored import Stored
from modules.options import Option
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.avatar.neural.runner import Runner
    from modules.devices import Device
    from modules.face.parsing import FaceParser

# Ten are drawn at a time live.
SIZES = (1, 4, 10, 20)
# Faces that become latents at a time.
ENCODED = 4
_PARSING = Option("parsing", "option.musetalk.parsing", "choice", "jaw", choices=("jaw", "raw", "neck"))
_CHEEKS = tuple(
    Option(name, f"option.musetalk.{name}", "number", 90.0, 20.0, 160.0, 5.0) for name in ("left_cheek", "right_cheek")
)


class _MuseTalkEngine(NeuralEngine):
    """One version of MuseTalk: faces of 256 pixels, painted as latents."""

    version: ClassVar[Version]
    sizes = SIZES

    def __init__(self, models_dir: Path, threads: int) -> None:
        super().__init__(models_dir, threads)
        self._ear: Runner | None = None
        self._parser: FaceParser | None = None

    def unload(self) -> None:
        """Forget all networks and the opened avatar."""
        self._ear = self._parser = None
        super().unload()

    def _boxes(self, landmarks: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        return features.boxes(landmarks, self.version, options)

    def _hear(self, folder: Path, window: Window, options: Mapping[str, Any]) -> np.ndarray:
        sound = gated(window)
        mels = features.log_mel(sound)
        states = np.concatenate([self._listening().submit(mels[n : n + 1]).result() for n in range(len(mels))])
        return features.hear(features.joined(states, len(sound)), window.before, window.count)

    def _load(self, device: Device, sizes: Sequence[int]) -> Runner:
        from modules.avatar.musetalk.network import Faces, load_generator, load_vae
        from modules.avatar.neural.runner import Runner
        from modules.devices import dtype_for

        painter, vae = (weights.folder(self._models_dir, name) for name in self.info.weights[:2])
        faces = Faces(load_generator(painter), load_vae(vae))
        recipe = self._recipe("modules.avatar.musetalk.network:blank")
        return Runner(faces, device, dtype_for(device), sizes, recipe)

    def _see(self, kept: Stored, places: np.ndarray, crops: np.ndarray) -> np.ndarray:
        return np.asarray(kept.extra["latents"][places])

    def _extra(
        self, folder: Path, count: int, options: Mapping[str, Any], progress: Progress
    ) -> Mapping[str, np.ndarray]:
        """The latents of all crops; the encoder is needed only here, and leaves afterwards."""
        from modules import devices
        from modules.avatar.musetalk.network import Latents, load_vae
        from modules.avatar.neural.runner import Runner

        device = devices.choose("auto")
        vae = load_vae(weights.folder(self._models_dir, self.info.weights[1]))
        encoder = Runner(Latents(vae), device, devices.dtype_for(device), (ENCODED,))
        crops = CropStore(folder)
        latents = []
        for start in range(0, count, ENCODED):
            progress.at(start / count)
            faces = np.stack([crops[place].pixels for place in range(start, min(start + ENCODED, count))])
            latents.append(encoder.submit(faces).result().astype(np.float16))
        return {"latents": np.concatenate(latents)}

    def _mask(self, picture: np.ndarray, box: np.ndarray, points: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        labels = self._parsing().labels(features.square_picture(picture, box))
        mode = cast(Mode, options.get("parsing", "raw"))
        cheeks = round(options.get("left_cheek", 90)), round(options.get("right_cheek", 90))
        square = features.blend_mask(labels, box, mode, *cheeks)
        side = regions.MASK_SIDE
        mask = cv2.resize(square[features.box_in_square(box)], (side, side), interpolation=cv2.INTER_AREA)
        # The published mask is not faded at the sides of the box, where a step would show.
        return regions.soften(np.asarray(mask, np.uint8))

    def _parsing(self) -> FaceParser:
        if self._parser is None:
            from modules import devices
            from modules.face.parsing import FaceParser

            self._parser = FaceParser(self._models_dir, devices.choose("auto"))
        return self._parser

    def _listening(self) -> Runner:
        if self._ear is None:
            from modules import devices
            from modules.avatar.musetalk.network import Ear, load_whisper
            from modules.avatar.neural.runner import Runner

            device = devices.choose("auto")
            ear = Ear(load_whisper(weights.folder(self._models_dir, "whisper-tiny")))
            self._ear = Runner(ear, device, devices.dtype_for(device), (1,))
        return self._ear


def _info(version: Version, options: tuple[Option, ...]) -> LipSyncEngineInfo:
    number = version.replace(".", "")
    return LipSyncEngineInfo(
        id=f"musetalk{number}",
        title=f"MuseTalk {version}",
        licence="MIT",
        commercial_use=True,
        face_size=256,
        streams=True,
        takes_photo=True,
        memory_mb=3000,
        gpu_memory_mb=4000,
        weights=(f"musetalk-{version}", "sd-vae-ft-mse", "whisper-tiny", "face-parsing"),
        options=(*options, batch_option(SIZES), LIVE_OPTION),
    )


class MuseTalk10Engine(_MuseTalkEngine):
    """The first version: how far the mouth opens is set by where its mask ends."""

    version = "1.0"
    prepared_by = frozenset({"bbox_shift"})
    info = _info("1.0", (Option("bbox_shift", "option.musetalk.bbox_shift", "number", 0.0, -20.0, 20.0, 1.0),))


class MuseTalk15Engine(_MuseTalkEngine):
    """The second version: sharper, with a mask that follows the jaw."""

    version = "1.5"
    prepared_by = frozenset({"extra_margin", "parsing", "left_cheek", "right_cheek"})
    info = _info(
        "1.5",
        (Option("extra_margin", "option.musetalk.extra_margin", "number", 10.0, 0.0, 40.0, 1.0), _PARSING, *_CHEEKS),
    )
