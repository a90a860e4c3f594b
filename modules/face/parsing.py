"""Face parsing: which pixels of a portrait are skin, nose, lips, neck, hair and so on.

Yu et al., "BiSeNet: Bilateral Segmentation Network" (2018) on ResNet-18 (He et al., 2016), without the spatial path,
trained on CelebAMask-HQ; parameter names follow the published checkpoint 79999_iter.pth of
https://github.com/zllrunning/face-parsing.PyTorch (MIT), which MuseTalk uses for its blending masks too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from modules import devices, weights
from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError

if TYPE_CHECKING:
    from modules.devices import Device

ENTRY, FILE = "face-parsing", "79999_iter.pth"
SIDE = 512
CLASSES = 19
SKIN, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14

# ImageNet's, of RGB values from 0 to 1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NormedConv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H, W)."""
        return functional.relu(self.bn(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module | None = None
        if inside != outside or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / stride, W / stride)."""
        past = x if self.downsample is None else self.downsample(x)
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(past + self.bn2(self.conv2(inner)))


class Resnet18(nn.Module):
    """ResNet-18 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 128, 2), ResidualBlock(128, 128, 1))
        self.layer3 = nn.Sequential(ResidualBlock(128, 256, 2), ResidualBlock(256, 256, 1))
        self.layer4 = nn.Sequential(ResidualBlock(256, 512, 2), ResidualBlock(512, 512, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features at an 8th (128 channels), 16th (256) and 32nd (512) of the size."""
        x = self.layer1(self.maxpool(functional.relu(self.bn1(self.conv1(x)))))
        eighth = self.layer2(x)
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    """A convolution whose channels are weighed by what the whole picture shows."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = NormedConv(inside, outside)
        self.conv_atten = nn.Conv2d(outside, outside, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H, W)."""
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))))


class ContextPath(nn.Module):
    """From the coarse to the fine: each level gets what the coarser one knows."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = Resnet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = NormedConv(128, 128)
        self.conv_head16 = NormedConv(128, 128)
        self.conv_avg = NormedConv(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> the backbone's eighth, and the refined eighth and sixteenth, 128 channels each."""
        eighth, sixteenth, coarse = self.resnet(x)
        whole = self.conv_avg(coarse.mean((2, 3), keepdim=True))
        known = functional.interpolate(self.arm32(coarse) + whole, size=sixteenth.shape[2:])
        middle = self.conv_head32(known)
        known = functional.interpolate(self.arm16(sixteenth) + middle, size=eighth.shape[2:])
        return eighth, self.conv_head16(known), middle


class FeatureFusion(nn.Module):
    """Joins what is fine and what is understood."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = NormedConv(channels, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, fine: Tensor, understood: Tensor) -> Tensor:
        """Two of (B, C / 2, H, W) -> (B, C, H, W)."""
        joined = self.convblk(torch.cat([fine, understood], 1))
        gate = torch.sigmoid(self.conv2(functional.relu(self.conv1(joined.mean((2, 3), keepdim=True)))))
        return joined * gate + joined


class Head(nn.Module):
    """From features to a score of each class."""

    def __init__(self, inside: int, middle: int, classes: int) -> None:
        super().__init__()
        self.conv = NormedConv(inside, middle)
        self.conv_out = nn.Conv2d(middle, classes, 1, bias=False)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """(B, inside, h, w) -> (B, classes, *size)."""
        return functional.interpolate(self.conv_out(self.conv(x)), size=size, mode="bilinear", align_corners=True)


class BiSeNet(nn.Module):
    """The whole network; two of its heads served training only and are kept for the checkpoint's sake."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion(256)
        self.conv_out = Head(256, 256, classes)
        self.conv_out16 = Head(128, 64, classes)
        self.conv_out32 = Head(128, 64, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W), sides a multiple of 32, normalised RGB -> scores (B, classes, H, W): the best, two more."""
        eighth, refined, middle = self.cp(x)
        size = x.shape[2:]
        fused = self.ffm(eighth, refined)
        return self.conv_out(fused, size), self.conv_out16(refined, size), self.conv_out32(middle, size)

    def scores(self, x: Tensor) -> Tensor:
        """The best scores alone."""
        eighth, refined, _ = self.cp(x)
        best: Tensor = self.conv_out(self.ffm(eighth, refined), x.shape[2:])
        return best


def load_bisenet(folder: Path) -> BiSeNet:
    """The network of the entry face-parsing; StudioError('weights_broken') for a wrong file."""
    with torch.device("meta"):
        network = BiSeNet()
    try:
        network.load_state_dict(read(folder / FILE), strict=True, assign=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name="BiSeNet", file=FILE) from error
    return network.eval().requires_grad_(False)


class FaceParser:
    """Labels pictures of a face; StudioError where the weights are missing or broken."""

    def __init__(self, models_dir: Path, device: Device) -> None:
        self._device = devices.torch_device(device)
        self._network = load_bisenet(weights.folder(models_dir, ENTRY)).to(self._device)

    def labels(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR, best a square around the face -> (512, 512) uint8 classes, 0 the background."""
        with torch.inference_mode():
            scores = self._network.scores(network_input(picture).to(self._device))
            return np.asarray(scores[0].argmax(0).to(torch.uint8).cpu().numpy())


def network_input(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 BGR -> (1, 3, 512, 512) as the network was trained: antialiased, ImageNet's scale."""
    image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    normal = (small - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())
