"""Networks that ONNX Runtime runs on a processor draw what torch draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modules import devices
from modules.avatar.neural.fold import fold_norms
from modules.avatar.neural.runner import Runner
from modules.avatar.ultralight import network as ultralight
from modules.avatar.wav2lip import network as wav2lip

NETWORKS = ["ultralight", "wav2lip96", *(pytest.param(f"wav2lip{size}", marks=pytest.mark.slow) for size in (256, 384))]


def faces(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A network with made-up weights, the side of its crops, the shape of what it hears."""
    torch.manual_seed(0)
    if name == "ultralight":
        return ultralight.Faces(fold_norms(ultralight.Ultralight().eval())), ultralight.CROP_SIDE, (10,)
    side = int(name.removeprefix("wav2lip"))
    generator = wav2lip.Wav2Lip(side).eval()  # type: ignore[arg-type]
    return wav2lip.Faces(fold_norms(generator)), side, (80, 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_faces_come_out_for_every_batch(name: str) -> None:
    network, side, heard = faces(name)
    random = np.random.default_rng(0)
    runner = Runner(network, devices.choose("cpu"), torch.float32, (1, 4), exports=True)
    for count in (1, 3):
        # What arrives are often parts of larger arrays.
        crops = random.integers(0, 256, (count, side, side, 4)).astype(np.uint8)[..., :3]
        sound = random.normal(size=(2 * count, *heard)).astype(np.float32)[::2]
        drawn = runner.submit(crops, sound).result()
        with torch.inference_mode():
            expected = network(torch.from_numpy(crops.copy()), torch.from_numpy(sound.copy())).numpy()
        assert drawn.dtype == np.uint8 and drawn.shape == expected.shape
        assert np.abs(drawn.astype(int) - expected).max() <= 1
        assert np.ptp(drawn) > 0
