"""The U-Net of Ultralight Digital Human, with the keys of both published layouts.

https://github.com/anliyuan/Ultralight-Digital-Human: one small network a person, made of the inverted residuals of
MobileNetV2 (Sandler et al., 2018); a window of sound, laid out as a picture, meets the face at a sixteenth of its size.
The variants differ in how that window comes: HuBERT's rows, or wenet's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from modules.avatar.neural.fold import fold_norms
from modules.avatar.ultralight.features import CROP_SIDE, MASK_BOTTOM, MASK_LEFT, MASK_RIGHT, MASK_TOP, RIM
from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError

Variant = Literal["hubert", "wenet"]

SOUND_SHAPES: Mapping[Variant, tuple[int, int, int]] = {"hubert": (16, 32, 32), "wenet": (128, 16, 32)}
# How many coefficients a mouth may have where shapes stand in for sound, and the side of the tile that holds them.
CODE_SIZE, CODE_TILE = 16, 4
EXPANSION = 2
Widths = tuple[int, int, int, int, int]
# Of the face's way down; the sound meets it at the deepest. What is trained here draws as well with two fifths of the
# work (docs/quality/ultralight.md).
PUBLISHED_WIDTHS: Widths = (32, 64, 128, 256, 512)
PERSONAL_WIDTHS: Widths = (16, 48, 96, 192, 256)

# The older layout has one level more in these names.
_LEVELS = (
    ("inc.inconv.", "inc.inconv.0."),
    *((f"down{n}.maxpool_conv.", f"down{n}.maxpool_conv.0.") for n in range(1, 5)),
)
# Of trainers that keep more than weights in a file.
_WRAPPINGS = ("model", "state_dict", "net")


class InvertedResidual(nn.Module):
    """Widen, look around in each channel, narrow; no activation at the end."""

    def __init__(self, inside: int, outside: int, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        wide = inside * EXPANSION
        self.conv = nn.Sequential(
            nn.Conv2d(inside, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / stride, W / stride)."""
        made: Tensor = self.conv(x)
        return x + made if self.residual else made


class Double(nn.Module):
    """Two inverted residuals, the second around an identity."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            InvertedResidual(inside, outside, stride), InvertedResidual(outside, outside, residual=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / stride, W / stride)."""
        made: Tensor = self.double_conv(x)
        return made


class Entry(nn.Module):
    """Holder that gives the first block its published name."""

    def __init__(self, inside: int, outside: int, nested: bool) -> None:
        super().__init__()
        block = InvertedResidual(inside, outside)
        self.inconv = nn.Sequential(block) if nested else block

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H, W)."""
        made: Tensor = self.inconv(x)
        return made


class Down(nn.Module):
    """Halves the sides; nothing is pooled, whatever the published name says."""

    def __init__(self, inside: int, outside: int, nested: bool) -> None:
        super().__init__()
        block = Double(inside, outside, 2)
        self.maxpool_conv = nn.Sequential(block) if nested else block

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / 2, W / 2)."""
        made: Tensor = self.maxpool_conv(x)
        return made


class Up(nn.Module):
    """Doubles the sides and takes in what went down at that size."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = Double(inside, outside)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """(B, C, H, W), (B, D, 2 H, 2 W), C + D = inside -> (B, outside, 2 H, 2 W)."""
        larger = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        made: Tensor = self.conv(torch.cat([larger, beside], 1))
        return made


class Exit(nn.Module):
    """Holder that gives the last convolution its published name."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H, W)."""
        made: Tensor = self.conv(x)
        return made


class Sound(nn.Module):
    """The window of sound as a map that fits the face at its deepest."""

    def __init__(self, variant: Variant, widths: Widths) -> None:
        super().__init__()
        heard, deepest = SOUND_SHAPES[variant][0], widths[4]
        if variant == "hubert":
            first, second, third = widths[1:4]
            joined, stride = False, (2, 2)
        else:
            first = second = third = widths[3]
            joined, stride = True, (1, 2)
        self.conv1 = InvertedResidual(heard, first)
        self.conv2 = InvertedResidual(first, second, residual=joined)
        self.conv3 = nn.Conv2d(second, third, 3, stride, 1)
        self.bn3 = nn.BatchNorm2d(third)
        self.conv4 = InvertedResidual(third, third, residual=True)
        # The wide padding makes ten columns of sixteen, as many as the face has at its deepest.
        self.conv5 = nn.Conv2d(third, deepest, 3, 2, 3)
        self.bn5 = nn.BatchNorm2d(deepest)
        self.conv6 = InvertedResidual(deepest, deepest, residual=True)
        self.conv7 = InvertedResidual(deepest, deepest, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 16, 32, 32) for HuBERT, (B, 128, 16, 32) for wenet -> (B, deepest width, 10, 10)."""
        x = self.conv2(self.conv1(x))
        x = self.conv4(functional.relu(self.bn3(self.conv3(x))))
        made: Tensor = self.conv7(self.conv6(functional.relu(self.bn5(self.conv5(x)))))
        return made


class Ultralight(nn.Module):
    """A face without its mouth, a reference and a window of sound in; the face out.

    nested: with the keys of the layout of before May 2026, which has one level more; ``load`` takes both.
    widths: channels at the face's five sizes, from the largest.
    """

    def __init__(self, variant: Variant = "hubert", nested: bool = True, widths: Widths = PUBLISHED_WIDTHS) -> None:
        super().__init__()
        self.variant: Variant = variant
        self.widths = widths
        self.audio_model = Sound(variant, widths)
        self.fuse_conv = nn.Sequential(Double(2 * widths[4], widths[4]), Double(widths[4], widths[3]))
        self.inc = Entry(6, widths[0], nested)
        self.down1, self.down2, self.down3, self.down4 = (Down(widths[n], widths[n + 1], nested) for n in range(4))
        self.up1, self.up2, self.up3 = (Up(2 * widths[3 - n], widths[2 - n]) for n in range(3))
        self.up4 = Up(2 * widths[0], widths[0])
        self.outc = Exit(widths[0], 3)

    def forward(self, face: Tensor, sound: Tensor) -> Tensor:
        """(B, 6, 160, 160) BGR 0..1, reference first, and the variant's SOUND_SHAPES -> (B, 3, 160, 160) BGR 0..1."""
        x1 = self.inc(face)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x5 = self.down4(x4)
        x = self.fuse_conv(torch.cat([x5, self.audio_model(sound)], 1))
        x = self.up4(self.up3(self.up2(self.up1(x, x4), x3), x2), x1)
        return torch.sigmoid(self.outc(x))


def spread_codes(codes: Tensor) -> Tensor:
    """(B, K) coefficients of a mouth, K at most CODE_SIZE -> (B, 16, 32, 32), the same at all times.

    The network looks at small neighbourhoods of its sound only, so each holds them all: tiles of 4 x 4 over the plane.
    """
    tile = functional.pad(codes, (0, CODE_SIZE - codes.shape[1])).reshape(-1, 1, CODE_TILE, CODE_TILE)
    channels, height, width = SOUND_SHAPES["hubert"]
    return tile.repeat(1, channels, height // CODE_TILE, width // CODE_TILE)


class Faces(nn.Module):
    """The network between bytes: crops in, crops out, the rim as it was."""

    def __init__(self, network: Ultralight) -> None:
        super().__init__()
        self.network = network
        self.rim: Tensor
        inner = torch.zeros(CROP_SIDE - 2 * RIM, CROP_SIDE - 2 * RIM, 1, dtype=torch.bool)
        self.register_buffer("rim", functional.pad(inner, (0, 0, RIM, RIM, RIM, RIM), value=True), persistent=False)

    def forward(self, crops: Tensor, heard: Tensor) -> Tensor:
        """(B, 168, 168, 3) uint8 BGR, and (B, K) codes or (B, 16, 32, 32) -> (B, 168, 168, 3) uint8 BGR."""
        kind = self.network.outc.conv.weight.dtype
        inner = slice(RIM, CROP_SIDE - RIM)
        seen = crops[:, inner, inner].permute(0, 3, 1, 2).to(kind) / 255
        sound = spread_codes(heard) if heard.ndim == 2 else heard
        drawn = self.network(with_masked(seen), sound.to(kind, memory_format=torch.channels_last))
        colours = (drawn.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return torch.where(self.rim, crops, functional.pad(colours, (0, 0, RIM, RIM, RIM, RIM)))


def with_masked(reference: Tensor, face: Tensor | None = None) -> Tensor:
    """(B, 6, 160, 160): the reference, and ``face`` (None: the reference too) without its mouth; each (B, 3, ...)."""
    face = reference if face is None else face
    mouth = torch.zeros(MASK_BOTTOM - MASK_TOP, MASK_RIGHT - MASK_LEFT, dtype=face.dtype, device=face.device)
    around = (MASK_LEFT, face.shape[3] - MASK_RIGHT, MASK_TOP, face.shape[2] - MASK_BOTTOM)
    masked = face * functional.pad(mouth, around, value=1.0)
    return torch.cat([reference, masked], 1).contiguous(memory_format=torch.channels_last)


def load(path: Path) -> Ultralight:
    """The network of a checkpoint, of whichever variant, layout and wrapping it is; in eval mode.

    StudioError('weights_broken') for a file that is half, foreign, or of the shapes of before June 2025.
    """
    try:
        weights = plain_names(read(path))
        first = weights["audio_model.conv1.conv.0.weight"].shape[1]
        variant: Variant = "wenet" if first == SOUND_SHAPES["wenet"][0] else "hubert"
        with torch.device("meta"):
            network = Ultralight(variant, widths=widths_of(weights))
        network.load_state_dict(weights, strict=True, assign=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name="Ultralight", file=path.name) from error
    return network.float().eval().requires_grad_(False)


def metadata(path: Path) -> dict[str, Any]:
    """What our own training wrote beside the weights (train.METADATA); {} for any other file."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("fenshen", "{}")
        found: dict[str, Any] = json.loads(told)
        return found
    except (OSError, ValueError, SafetensorError) as error:
        raise StudioError("weights_broken", name="Ultralight", file=path.name) from error


def widths_of(weights: Mapping[str, Tensor]) -> Widths:
    """Those of the network, told by the shapes of its ``weights`` (names of the older layout); KeyError for others."""
    levels = ("inc.inconv.0", *(f"down{n}.maxpool_conv.0.double_conv.0" for n in range(1, 5)))
    first, second, third, fourth, deepest = (weights[f"{level}.conv.6.weight"].shape[0] for level in levels)
    return first, second, third, fourth, deepest


def blank(widths: Widths) -> Faces:
    """The network as it is run, with weights that mean nothing; for compiling."""
    return Faces(fold_norms(Ultralight(widths=widths)))


def plain_names(given: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in ``given``, unwrapped, with this network's names: those of the older layout."""
    for wrapping in _WRAPPINGS:
        if isinstance(given.get(wrapping), Mapping):
            given = given[wrapping]
    return {_older(key.removeprefix("module.")): tensor for key, tensor in given.items()}


def _older(key: str) -> str:
    for newer, older in _LEVELS:
        if key.startswith(newer) and not key.startswith(older):
            return older + key.removeprefix(newer)
    return key
