"""MuseTalk's networks, with the keys of the published checkpoints.

Zhang et al., "MuseTalk: Real-Time High-Fidelity Video Dubbing via Spatio-Temporal Sampling" (2024),
https://github.com/TMElyralab/MuseTalk (MIT). The generator has the layout of Stable Diffusion 1.x (Rombach et al.,
2022) with eight latent channels in, four out, and sound in the place of text; it runs once, at timestep 0. The
autoencoder is sd-vae-ft-mse, the ear whisper-tiny (Radford et al., 2022). Versions 1.0 and 1.5 differ in weights only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from modules.avatar.musetalk.diffusion import Autoencoder, Generator
from modules.avatar.musetalk.whisper import WhisperEncoder
from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError

TOKENS, TOKEN_SIZE = 50, 384
# From latents of the autoencoder to what the generator works with.
LATENT_SCALE = 0.18215

GENERATOR_FILES = ("unet.pth", "pytorch_model.bin")
VAE_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
WHISPER_FILES = ("model.safetensors", "pytorch_model.bin")

# The autoencoder's attention as its file names it, and as ours does.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
Network = TypeVar("Network", bound=nn.Module)


def load_generator(folder: Path) -> Generator:
    """The generator of the entry musetalk-1.0 or musetalk-1.5; StudioError('weights_broken') for a wrong file."""
    return _load("MuseTalk", folder, GENERATOR_FILES, Generator, dict)


def load_vae(folder: Path) -> Autoencoder:
    """The autoencoder of the entry sd-vae-ft-mse; StudioError('weights_broken') for a wrong file."""
    return _load("sd-vae-ft-mse", folder, VAE_FILES, Autoencoder, renamed_attention)


def load_whisper(folder: Path) -> WhisperEncoder:
    """The encoder of the entry whisper-tiny; StudioError('weights_broken') for a wrong file."""
    return _load("whisper-tiny", folder, WHISPER_FILES, WhisperEncoder, encoder_part)


def renamed_attention(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The autoencoder's weights with today's names; those that have them already stay."""
    named = {}
    for key, tensor in weights.items():
        path, _, kind = key.rpartition(".")
        block, _, layer = path.rpartition(".")
        if layer in _OLD_NAMES and ".attentions." in block:
            # The oldest files hold the projections as convolutions over one pixel.
            key, tensor = f"{block}.{_OLD_NAMES[layer]}.{kind}", tensor.reshape(tensor.shape[:2])
        named[key] = tensor
    return named


def encoder_part(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whisper's encoder out of the whole model, with or without the prefix of the published file."""
    bare = {key.removeprefix("model."): tensor for key, tensor in weights.items()}
    return {key.removeprefix("encoder."): tensor for key, tensor in bare.items() if key.startswith("encoder.")}


def _load(
    name: str,
    folder: Path,
    files: Sequence[str],
    make: Callable[[], Network],
    renamed: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> Network:
    """The network with the weights of the first of ``files`` that is there: in place, where the file allows it."""
    file = next((path for path in map(folder.joinpath, files) if path.is_file()), folder / files[0])
    try:
        weights = renamed(read(file))
        with torch.device("meta"):
            network = make()
        network.load_state_dict(weights, strict=True, assign=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name=name, file=file.name) from error
    return network.eval().requires_grad_(False)


def sinusoid(count: int = TOKENS, size: int = TOKEN_SIZE) -> Tensor:
    """(count, size) positions that are added to the tokens: sines at even places, cosines at odd ones."""
    places = torch.arange(count, dtype=torch.float32)[:, None]
    angles = places * torch.exp(torch.arange(0, size, 2, dtype=torch.float32) * (-math.log(10000.0) / size))
    return torch.stack([angles.sin(), angles.cos()], 2).reshape(count, size)


class Faces(nn.Module):
    """Latents and sound in, faces out; all that does not depend on them is worked out beforehand.

    It takes the generator over and settles its clock, and of ``vae`` it takes the decoder.
    """

    def __init__(self, generator: Generator, vae: Autoencoder) -> None:
        super().__init__()
        generator.settle()
        self.generator = generator
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        self.positions: Tensor
        self.register_buffer("positions", sinusoid(), persistent=False)

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """(B, 8, 32, 32) of Latents, (B, 50, 384) heard, any float types -> (B, 256, 256, 3) uint8 BGR."""
        kind = self.positions.dtype
        painted = self.generator(latents.to(kind), tokens.to(kind) + self.positions)
        decoded = self.decoder(self.post_quant_conv(painted / LATENT_SCALE)).float()
        colours = (decoded / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return colours.flip(1).permute(0, 2, 3, 1).contiguous()


def blank() -> Faces:
    """The network as it is run, with weights that mean nothing; for compiling."""
    return Faces(Generator(), Autoencoder())


class Latents(nn.Module):
    """Faces in, what the generator sees of them out; needs only the encoder of ``vae``."""

    def __init__(self, vae: Autoencoder) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 256, 256, 3) uint8 BGR -> (B, 8, 32, 32): of the face with its lower half hidden, then of all of it.

        Published code draws from the posterior; its mode (with which the network was trained) is the same each time.
        """
        colours = faces.flip(-1).permute(0, 3, 1, 2).contiguous()
        seen = (colours.float() / 127.5 - 1).to(self.quant_conv.weight.dtype)
        hidden = seen.clone()
        hidden[:, :, seen.shape[2] // 2 :] = -1
        mode = self.quant_conv(self.encoder(torch.cat([hidden, seen]))).chunk(2, 1)[0]
        return torch.cat((mode * LATENT_SCALE).chunk(2), 1)


class Ear(nn.Module):
    """Whisper's encoder with everything that it thinks on the way."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, 3000) log-mel of 30 s -> (B, 1500, 5, 384): what goes in, and after each of the four layers.

        The last is the one after the closing norm.
        """
        kind = self.encoder.conv1.weight.dtype
        return torch.stack(self.encoder(mel.to(kind)), 2)
