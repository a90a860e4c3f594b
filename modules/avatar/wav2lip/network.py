"""The three published Wav2Lip generators, with the keys of their checkpoints.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation in the Wild" (2020): 96 pixels,
https://github.com/Rudrabha/Wav2Lip. 256 pixels as in https://github.com/lipku/LiveTalking (wav2lip_v2), and 384 pixels
with spatial attention (Woo et al., "CBAM", 2018) as in https://github.com/hyfevian/wav2lip384.
One U-net in three layouts: an encoder of the face, an encoder of the sound, and a decoder that starts from the sound
and gets the face's map of its own size after each stage.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.avatar.neural.fold import fold_norms
from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError

Size = Literal[96, 256, 384]
Stride = int | tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """What differs between the sizes.

    looks: channels and residual blocks of each stage of the face's encoder; all but the first halve the map.
    deepest, pointwise: kernel of its last stage, which takes no border, and 1x1 blocks behind it.
    listens: channels, stride and residual blocks of each stage of the sound's encoder.
    draws: channels and residual blocks of each stage of the decoder; the first has the deepest kernel, others double.
    attends: whether the face's maps say where the decoder's count.
    """

    looks: tuple[tuple[int, int], ...]
    deepest: int
    pointwise: int
    listens: tuple[tuple[int, Stride, int], ...]
    draws: tuple[tuple[int, int], ...]
    attends: bool = False

    @property
    def width(self) -> int:
        """Channels of the embedding of a sound, and of the face's deepest map."""
        return self.looks[-1][0]


_LISTENS = ((32, 1, 2), (64, (3, 1), 2), (128, 3, 2), (256, (3, 2), 1))
LAYOUTS: Mapping[Size, Layout] = {
    96: Layout(
        ((16, 0), (32, 2), (64, 3), (128, 2), (256, 2), (512, 1)),
        3,
        1,
        _LISTENS,
        ((512, 1), (512, 2), (384, 2), (256, 2), (128, 2), (64, 2)),
    ),
    256: Layout(
        ((16, 0), (32, 2), (64, 3), (128, 2), (256, 2), (512, 1), (512, 1)),
        4,
        1,
        _LISTENS,
        ((512, 1), (512, 1), (512, 2), (384, 2), (256, 2), (128, 2), (64, 2)),
    ),
    384: Layout(
        ((16, 3), (32, 3), (64, 3), (128, 3), (256, 3), (512, 3), (1024, 3)),
        3,
        2,
        (*_LISTENS[:-1], (256, (3, 2), 2), (512, 1, 2)),
        ((1024, 1), (1024, 2), (768, 2), (512, 2), (256, 2), (128, 2), (64, 2)),
        attends=True,
    ),
}


class Block(nn.Module):
    """Convolution, norm, what came in where that is asked for, and ReLU."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        changed: Tensor = self.conv_block(x)
        return torch.relu_(changed + x if self.residual else changed)


def _stage(convolution: nn.Conv2d | nn.ConvTranspose2d, residuals: int = 0) -> list[Block]:
    channels = convolution.out_channels
    more = [Block(nn.Conv2d(channels, channels, 3, padding=1), residual=True) for _ in range(residuals)]
    return [Block(convolution), *more]


def _pointwise(channels: int) -> Block:
    return Block(nn.Conv2d(channels, channels, 1))


class SpatialAttention(nn.Module):
    """How much each place counts, 0 to 1, by the mean and the largest of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W)."""
        told = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return torch.sigmoid(self.conv1(told))


class Attended(nn.Module):
    """Strengthens what is drawn where the face's map says so; one set of weights for all sizes of map."""

    def __init__(self) -> None:
        super().__init__()
        self.sa = SpatialAttention()

    def forward(self, drawn: Tensor, face: Tensor) -> Tensor:
        """(B, C, h, w), (B, C', H, W) -> (B, C, H, W); h and w are H and W, or 1: then what is drawn is spread out."""
        return drawn + drawn * self.sa(face)


class Wav2Lip(nn.Module):
    """A generator: the sound of 200 ms and a face whose lower half is hidden -> the face as it says that sound."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        layout = LAYOUTS[size]
        self.size = size
        if layout.attends:
            self.sam = Attended()
            # Every checkpoint of this size has these; the network was never trained to go through them.
            self.audio_refine = nn.Sequential(*(_pointwise(layout.width) for _ in range(2)))
        self.face_encoder_blocks = _face_encoder(layout)
        self.audio_encoder = _audio_encoder(layout)
        self.face_decoder_blocks = _face_decoder(layout)
        last, skipped = layout.draws[-1][0], layout.looks[0][0]
        self.output_block = nn.Sequential(
            *_stage(nn.Conv2d(last + skipped, 32, 3, padding=1)), nn.Conv2d(32, 3, 1), nn.Sigmoid()
        )

    def forward(self, mel: Tensor, face: Tensor, gain: float = 1.0) -> Tensor:
        """(B, 1, 80, 16) log-mel, (B, 6, S, S) BGR from 0 to 1, hidden half first -> (B, 3, S, S) BGR from 0 to 1.

        S is the layout's size; at 384 any multiple of 64 from 192 on will do. ``gain`` scales what was heard: over 1
        the mouth opens wider.
        """
        maps = []
        for block in self.face_encoder_blocks:
            face = block(face)
            maps.append(face)
        drawn: Tensor = self.audio_encoder(mel) * gain
        for block in self.face_decoder_blocks:
            drawn, skipped = block(drawn), maps.pop()
            if LAYOUTS[self.size].attends:
                drawn = self.sam(drawn, skipped)
            drawn = torch.cat([drawn, skipped], 1)
        pictures: Tensor = self.output_block(drawn)
        return pictures


def _face_encoder(layout: Layout) -> nn.ModuleList:
    (first, residuals), *others = layout.looks
    stages = [nn.Sequential(*_stage(nn.Conv2d(6, first, 7, padding=3), residuals))]
    channels = first
    for wider, residuals in others:
        stages.append(nn.Sequential(*_stage(nn.Conv2d(channels, wider, 3, stride=2, padding=1), residuals)))
        channels = wider
    last = _stage(nn.Conv2d(channels, channels, layout.deepest))
    stages.append(nn.Sequential(*last, *(_pointwise(channels) for _ in range(layout.pointwise))))
    return nn.ModuleList(stages)


def _audio_encoder(layout: Layout) -> nn.Sequential:
    blocks, channels = [], 1
    for wider, stride, residuals in layout.listens:
        blocks += _stage(nn.Conv2d(channels, wider, 3, stride=stride, padding=1), residuals)
        channels = wider
    blocks += _stage(nn.Conv2d(channels, layout.width, 3))
    return nn.Sequential(*blocks, _pointwise(layout.width))


def _face_decoder(layout: Layout) -> nn.ModuleList:
    stages = [nn.Sequential(_pointwise(layout.width))]
    channels, skipped = layout.width, [layout.width, *(channels for channels, _ in reversed(layout.looks))]
    for number, (narrower, residuals) in enumerate(layout.draws):
        given = channels + skipped[number]
        if number == 0:
            up = nn.ConvTranspose2d(given, narrower, layout.deepest)
        else:
            up = nn.ConvTranspose2d(given, narrower, 3, stride=2, padding=1, output_padding=1)
        stages.append(nn.Sequential(*_stage(up, residuals)))
        channels = narrower
    return nn.ModuleList(stages)


class Faces(nn.Module):
    """The generator as a Runner wants it: bytes in, bytes out."""

    def __init__(self, generator: Wav2Lip) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, crops: Tensor, mel: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 BGR, (B, 80, 16) log-mel of any float type -> (B, S, S, 3) uint8 BGR."""
        kind = next(self.parameters()).dtype
        drawn = self.generator(mel.to(kind)[:, None], seen(crops, kind))
        return drawn.permute(0, 2, 3, 1).float().mul(255).round().to(torch.uint8).contiguous()


def blank(size: Size) -> Faces:
    """The network as it is run, with weights that mean nothing; for compiling."""
    return Faces(fold_norms(Wav2Lip(size)))


def seen(crops: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
    """(B, S, S, 3) uint8 BGR -> (B, 6, S, S) 0 to 1 in ``kind``: faces with the lower half hidden, then all of them."""
    whole = crops.permute(0, 3, 1, 2).to(kind) / 255
    half = whole.shape[2] // 2
    hidden = functional.pad(whole[:, :, :half], (0, 0, 0, whole.shape[2] - half))
    return torch.cat([hidden, whole], 1)


def which(state_dict: Mapping[str, Tensor]) -> Size:
    """The size of face that these weights are for, by their keys; ValueError for another network's."""
    if "sam.sa.conv1.weight" in state_dict:
        return 384
    if "face_encoder_blocks.7.0.conv_block.0.weight" in state_dict:
        return 256
    if "face_encoder_blocks.6.0.conv_block.0.weight" in state_dict:
        return 96
    raise ValueError("no weights of a Wav2Lip generator")


def load(path: Path) -> Wav2Lip:
    """The generator in the checkpoint ``path``, in float32, ready for inference; ``size`` tells which one it is.

    Takes what is in circulation: a dict with a 'state_dict' or a bare one, keys with or without the 'module.' of
    DataParallel, and TorchScript archives, of which only the weights are taken.
    StudioError('weights_broken') where the file is none of these, or does not fit.
    """
    try:
        weights = _read(path)
        with torch.device("meta"):
            network = Wav2Lip(which(weights))
        network.load_state_dict(weights, strict=True, assign=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name="Wav2Lip", file=path.name) from error
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    if _is_torchscript(path):
        held = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        held = read(path)
        held = held.get("state_dict", held)
    bare = {key.removeprefix("module."): tensor for key, tensor in held.items()}
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in bare.items()}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
