"""Our side of every parity pack, in the shape that the acceptance check calls.

For a pack P there are ``P(manifest)``, the module to be filled (or the module and callables for the methods that a case
names), and ``prep_P()``, a table of the functions named in the pack. The network is built to the manifest's
constructor: published packs come in a reduced size too.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

from torch import Tensor, nn

Made = nn.Module | tuple[nn.Module, dict[str, Callable[..., Any]]]

# --- musetalk_unet, musetalk_vae, whisper_tiny_encoder -----------------------------------------------------------


def musetalk_unet(manifest: dict[str, Any]) -> Made:
    """The generator; 'parity' is the way that Faces goes, with the time settled beforehand."""
    from modules.avatar.musetalk import network

    generator = network.make_generator(manifest["constructor"])

    def parity(latents: Tensor, tokens: Tensor) -> Tensor:
        faces = network.Faces(deepcopy(generator), network.make_vae(SMALL_VAE))
        return faces.paint(latents, tokens + faces.positions)

    return generator, {"parity": parity}


def musetalk_vae(manifest: dict[str, Any]) -> Made:
    """The autoencoder; 'encode_mean_decode' gives the mode of one picture and the picture of some latents."""
    from modules.avatar.musetalk import network

    vae = network.make_vae({name: value for name, value in manifest["constructor"].items() if name != "scaling_factor"})

    def encode_mean_decode(picture: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        return vae.encode(picture).latent_dist.mode(), vae.decode(latents / network.LATENT_SCALE).sample

    return vae, {"encode_mean_decode": encode_mean_decode}


SMALL_VAE = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


def whisper_tiny_encoder(manifest: dict[str, Any]) -> Made:
    """The whole published model; ``states`` gives what our Ear hears with its encoder."""
    from transformers import WhisperConfig, WhisperModel

    from modules.avatar.musetalk import network

    model = WhisperModel(WhisperConfig(**manifest["constructor"]))

    def states(mel: Tensor) -> Tensor:
        encoder = network.make_whisper()
        encoder.load_state_dict(network.encoder_part(model.state_dict()), strict=True)
        return network.Ear(encoder.eval())(mel)

    return model, {"states": states}


# --- wav2lip96, wav2lip256, wav2lip384 ---------------------------------------------------------------------------


def wav2lip96(manifest: dict[str, Any]) -> Made:
    """The published 96 pixels."""
    return _wav2lip(96)


def wav2lip256(manifest: dict[str, Any]) -> Made:
    """LiveTalking's 256 pixels."""
    return _wav2lip(256)


def wav2lip384(manifest: dict[str, Any]) -> Made:
    """384 pixels with spatial attention."""
    return _wav2lip(384)


def _wav2lip(size: Literal[96, 256, 384]) -> Made:
    from modules.avatar.wav2lip.network import Wav2Lip

    return Wav2Lip(size)

# --- bisenet_faceparse -------------------------------------------------------------------------------------------


def bisenet_faceparse() -> Made:
    """The parsing network with all three heads."""
    from modules.face.parsing import BiSeNet

    return BiSeNet()
