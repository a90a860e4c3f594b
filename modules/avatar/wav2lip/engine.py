"""Wav2Lip for faces of 96, 256 and 384 pixels; see neural.engine for what all such engines do alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modules import weights
from modules.avatar.base import LipSyncEngineInfo
from modules.avatar.listen import Window
from modules.avatar.neural.engine import LIVE_OPTION, NeuralEngine, batch_option, gated
from modules.avatar.wav2lip import features
from modules.errors import StudioError
from modules.options import Option

if TYPE_CHECKING:
    from modules.avatar.neural.runner import Runner
    from modules.devices import Device

PADS = ("pad_top", "pad_bottom", "pad_left", "pad_right")
# In sides of the face. The published code gives the chin 10 pixels more; so much is that of the usual face.
_USUAL_PADS = {"pad_bottom": 0.05}
SIZES = (1, 4, 16)


def _options() -> tuple[Option, ...]:
    pads = (
        Option(name, f"option.wav2lip.{name}", "number", _USUAL_PADS.get(name, 0.0), -0.2, 0.3, 0.01) for name in PADS
    )
    return (
        *pads,
        Option("shift", "option.wav2lip.shift", "number", 0.0, -4.0, 4.0, 0.5),
        Option("gain", "option.wav2lip.gain", "number", 1.0, 0.5, 1.6, 0.05),
        batch_option(SIZES),
        LIVE_OPTION,
    )


class _Wav2LipEngine(NeuralEngine):
    """One size of Wav2Lip."""

    prepared_by = frozenset(PADS)
    sizes = SIZES

    def _boxes(self, landmarks: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        return features.face_boxes(landmarks, [options[name] for name in PADS])

    def _hear(self, folder: Path, window: Window, options: Mapping[str, Any]) -> np.ndarray:
        shift, gain = options["shift"], options["gain"]
        return features.hear(gated(window), window.before, window.count, shift, self.info.face_size, gain)

    def _load(self, device: Device, sizes: Sequence[int]) -> Runner:
        from modules.avatar.neural.fold import fold_norms
        from modules.avatar.neural.runner import Runner
        from modules.avatar.wav2lip.network import Faces, load
        from modules.devices import dtype_for

        name = self.info.weights[0]
        file = weights.file(self._models_dir, name, weights.entries()[name].files[0].name)
        generator = load(file)
        if generator.size != self.info.face_size:
            raise StudioError("weights_broken", name=self.info.title, file=str(file))
        recipe = self._recipe("modules.avatar.wav2lip.network:blank", generator.size)
        return Runner(Faces(fold_norms(generator)), device, dtype_for(device), sizes, recipe, exports=True)


def _info(size: int, title: str, memory_mb: int, gpu_memory_mb: int) -> LipSyncEngineInfo:
    return LipSyncEngineInfo(
        id=f"wav2lip{size}",
        title=title,
        licence="non-commercial",
        commercial_use=False,
        face_size=size,
        streams=True,
        takes_photo=True,
        memory_mb=memory_mb,
        gpu_memory_mb=gpu_memory_mb,
        weights=(f"wav2lip-{size}",),
        options=_options(),
    )


class Wav2Lip96Engine(_Wav2LipEngine):
    """The published generator: small, quick, soft."""

    info = _info(96, "Wav2Lip 96", 1500, 900)


class Wav2Lip256Engine(_Wav2LipEngine):
    """LiveTalking's generator for 256 pixels."""

    info = _info(256, "Wav2Lip 256", 1800, 1500)


class Wav2Lip384Engine(_Wav2LipEngine):
    """The generator with spatial attention for 384 pixels."""

    info = _info(384, "Wav2Lip 384", 2600, 3500)
