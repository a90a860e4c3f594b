"""Checkpoints of the published kind with made-up values, for tests and benchmarks: right keys, no meaning.

``write`` puts them where the weights store would; ``trust`` lets the store take them, whose hashes are not those of
the catalogue. ``shrink`` makes all networks narrow, so that two cores run them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from modules import media, weights
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

WHISPER_TINY, VAE, PARSING = "whisper-tiny", "sd-vae-ft-mse", "face-parsing"


def write(models_dir: Path, entry: str) -> None:
    """Write the entry's main files with random values from a fixed seed."""
    torch.manual_seed(0)
    folder = models_dir / entry
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(_network(entry).state_dict(), folder / _file(entry))


def train(footage: media.Footage, track: Track, models_dir: Path, folder: Path) -> None:
    """What a training of Ultralight leaves in ``folder``: a real listener, and a network that has learnt nothing."""
    from modules.avatar.builtin.ears import Ears
    from modules.avatar.ultralight import network
    from modules.avatar.ultralight.engine import WEIGHTS
    from modules.avatar.ultralight.listener import Listener

    folder.mkdir(parents=True, exist_ok=True)
    Listener.fit(footage, track, Ears(models_dir, 2), Progress()).save(folder)
    torch.manual_seed(0)
    save_file(network.Ultralight().state_dict(), folder / WEIGHTS)


def trust(patch: Callable[[object, str, object], None]) -> None:
    """Make the store give whatever lies in its folders; ``patch`` is a monkeypatch.setattr, or setattr."""

    def folder(models_dir: Path, name: str) -> Path:
        if not (models_dir / name).is_dir():
            raise StudioError("weights_missing", name=name)
        return models_dir / name

    patch(weights, "folder", folder)
    patch(weights, "file", lambda models_dir, name, file: folder(models_dir, name) / file)


def shrink(patch: Callable[[object, str, object], None]) -> None:
    """Make new networks an eighth as wide, of the same layout."""
    from modules.avatar.musetalk import network as musetalk
    from modules.avatar.wav2lip import network as wav2lip

    narrow = {
        size: wav2lip.Layout(
            tuple((channels // 8, residuals) for channels, residuals in layout.looks),
            layout.deepest,
            layout.pointwise,
            tuple((channels // 8, stride, residuals) for channels, stride, residuals in layout.listens),
            tuple((channels // 8, residuals) for channels, residuals in layout.draws),
            layout.attends,
        )
        for size, layout in wav2lip.LAYOUTS.items()
    }
    patch(wav2lip, "LAYOUTS", narrow)
    patch(musetalk, "Generator", partial(musetalk.Generator, (32, 32, 32, 32)))
    patch(musetalk, "Autoencoder", partial(musetalk.Autoencoder, (32, 32, 32, 32), 1))


def _file(entry: str) -> str:
    names = {VAE: "diffusion_pytorch_model.bin", WHISPER_TINY: "pytorch_model.bin"}
    return names.get(entry) or weights.entries()[entry].files[0].name


def _network(entry: str) -> nn.Module:
    from modules.avatar.musetalk import network as musetalk
    from modules.avatar.wav2lip import network as wav2lip
    from modules.face.parsing import BiSeNet

    if entry.startswith("wav2lip-"):
        return wav2lip.Wav2Lip(int(entry.removeprefix("wav2lip-")))  # type: ignore[arg-type]
    if entry.startswith("musetalk-"):
        return musetalk.Generator()
    if entry == VAE:
        return musetalk.Autoencoder()
    if entry == PARSING:
        return BiSeNet()
    if entry == WHISPER_TINY:
        whole = nn.Module()
        whole.model = nn.Module()
        whole.model.encoder = musetalk.WhisperEncoder()
        return whole
    raise KeyError(entry)
