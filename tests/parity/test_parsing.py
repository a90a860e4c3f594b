"""Face parsing against the published network, and what is made of its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modules.errors import StudioError
from tests.parity import common


@pytest.mark.slow
def test_the_network_is_the_published_one() -> None:
    common.check_network("bisenet_faceparse")


def test_masks_are_the_published_ones() -> None:
    common.check_prep("bisenet_faceparse")


@pytest.mark.slow
def test_a_picture_gets_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import devices
    from modules.face import parsing

    ours = common.filled("bisenet_faceparse")
    torch.save(ours.module.state_dict(), tmp_path / parsing.FILE)
    monkeypatch.setattr(parsing.weights, "folder", lambda models_dir, name: tmp_path)
    picture = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8).repeat(9, 0).repeat(9, 1)
    cpu = next(device for device in devices.devices() if device.id == "cpu")
    labels = parsing.FaceParser(tmp_path, cpu).labels(picture)
    assert labels.shape == (512, 512) and labels.dtype == np.uint8

    small = np.asarray(Image.fromarray(picture[:, :, ::-1]).resize((512, 512), Image.Resampling.BILINEAR)) / 255
    normal = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        scores = ours.module(torch.from_numpy(normal.transpose(2, 0, 1)[None]).float())[0][0].numpy()
    assert len(np.unique(labels)) > 3
    assert (labels == scores.argmax(0)).mean() > 0.9999


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    from modules.face import parsing

    for content in ({"cp.resnet.conv1.weight": torch.zeros(64, 3, 7, 7)}, [1]):
        torch.save(content, tmp_path / parsing.FILE)
        with pytest.raises(StudioError) as caught:
            parsing.load_bisenet(tmp_path)
        assert caught.value.code == "weights_broken" and caught.value.values["file"] == parsing.FILE
