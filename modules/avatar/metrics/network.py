"""SyncNet, with the keys of its published checkpoint.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016), https://github.com/joonson/syncnet_python
(MIT). Two encoders, one of 200 ms of sound and one of five frames, whose outputs lie close for what belongs together.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError

WIDTH, EMBEDDING = 512, 1024
# Counters that checkpoints of PyTorch before 0.4.1 do not have; inference does not need them.
_COUNTER = "num_batches_tracked"


def _sound_step(given: int, made: int, kernel: int | tuple[int, int] = 3, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(given, made, kernel, padding=padding), nn.BatchNorm2d(made), nn.ReLU(inplace=True)]


def _lip_step(
    given: int, made: int, kernel: tuple[int, int, int], stride: int = 1, padding: int = 1
) -> list[nn.Module]:
    pictures = nn.Conv3d(given, made, kernel, stride=(1, stride, stride), padding=(0, padding, padding))
    return [pictures, nn.BatchNorm3d(made), nn.ReLU(inplace=True)]


def _lip_pool(padding: int = 0) -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, padding, padding))


def _projection() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, EMBEDDING)
    )


class SyncNet(nn.Module):
    """Both encoders; their methods have the published names."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_sound_step(1, 64),
            # Changes nothing, but counts among the numbers in the keys.
            nn.Identity(),
            *_sound_step(64, 192),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_sound_step(192, 384),
            *_sound_step(384, 256),
            *_sound_step(256, 256),
            nn.MaxPool2d(3, stride=2),
            *_sound_step(256, WIDTH, (5, 4), padding=0),
        )
        self.netfcaud = _projection()
        self.netfclip = _projection()
        self.netcnnlip = nn.Sequential(
            *_lip_step(3, 96, (5, 7, 7), stride=2, padding=0),
            _lip_pool(),
            *_lip_step(96, 256, (1, 5, 5), stride=2),
            _lip_pool(padding=1),
            *_lip_step(256, 256, (1, 3, 3)),
            *_lip_step(256, 256, (1, 3, 3)),
            *_lip_step(256, 256, (1, 3, 3)),
            _lip_pool(),
            *_lip_step(256, WIDTH, (1, 6, 6), padding=0),
        )

    def forward_aud(self, mfcc: Tensor) -> Tensor:
        """(B, 1, 13, 20) of features.mfcc -> (B, 1024)."""
        embedded: Tensor = self.netfcaud(self.netcnnaud(mfcc).flatten(1))
        return embedded

    def forward_lip(self, frames: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) BGR from 0 to 255 -> (B, 1024)."""
        embedded: Tensor = self.netfclip(self.forward_lipfeat(frames))
        return embedded

    def forward_lipfeat(self, frames: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) BGR from 0 to 255 -> (B, 512), from before the projection."""
        features: Tensor = self.netcnnlip(frames)
        return features.flatten(1)


def load(path: Path) -> SyncNet:
    """The network with the weights in ``path``, ready for inference; StudioError('weights_broken') for a wrong file."""
    try:
        weights = read(path)
        network = SyncNet()
        counters = {key: held for key, held in network.state_dict().items() if key.endswith(_COUNTER)}
        network.load_state_dict({**counters, **weights}, strict=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name="SyncNet", file=path.name) from error
    return network.eval().requires_grad_(False)
