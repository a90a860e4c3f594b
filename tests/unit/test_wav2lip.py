"""Wav2Lip's files in all their wrappings, what it hears of a sound, and where its crops lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modules.avatar.neural.fold import fold_norms
from modules.avatar.wav2lip import features, network
from modules.errors import StudioError


@pytest.fixture(scope="module")
def generator() -> network.Wav2Lip:
    torch.manual_seed(0)
    return network.Wav2Lip(96).eval().requires_grad_(False)


@pytest.mark.parametrize("size", network.LAYOUTS)
def test_the_keys_tell_the_size(size: network.Size) -> None:
    with torch.device("meta"):
        weights = network.Wav2Lip(size).state_dict()
    assert network.which(weights) == size


def test_another_networks_keys_are_refused() -> None:
    with pytest.raises(ValueError):
        network.which({"conv1.weight": torch.zeros(1)})


def _training_state(generator: network.Wav2Lip, path: Path) -> None:
    weights = {f"module.{key}": held for key, held in generator.state_dict().items()}
    torch.save({"state_dict": weights, "optimizer": {"state": {}}, "global_step": 7}, path)


def _bare_and_old(generator: network.Wav2Lip, path: Path) -> None:
    torch.save(generator.state_dict(), path, _use_new_zipfile_serialization=False)


def _torchscript(generator: network.Wav2Lip, path: Path) -> None:
    torch.jit.trace(generator, (torch.zeros(1, 1, 80, 16), torch.zeros(1, 6, 96, 96))).save(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("write", [_training_state, _bare_and_old, _torchscript])
def test_all_wrappings_hold_the_same_network(write, generator: network.Wav2Lip, tmp_path: Path) -> None:
    write(generator, tmp_path / "weights")
    loaded = network.load(tmp_path / "weights")
    assert loaded.size == 96 and not loaded.training
    ours = generator.state_dict()
    assert all(torch.equal(held, ours[key]) for key, held in loaded.state_dict().items())


class _Rogue:
    """Would run on an unguarded unpickling."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


@pytest.mark.parametrize("kind", ["absent", "text", "empty", "cut", "foreign", "rogue", "shape"])
def test_wrong_files_are_named(kind: str, generator: network.Wav2Lip, tmp_path: Path, capsys) -> None:
    path = tmp_path / "wav2lip.pth"
    if kind == "text":
        path.write_text("<html>404</html>" * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "cut":
        torch.save({"state_dict": {"face_encoder_blocks.6.0.conv_block.0.weight": torch.zeros(9, 9)}}, path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "foreign":
        torch.save({"state_dict": nn.Linear(2, 2).state_dict()}, path)
    elif kind == "rogue":
        torch.save({"state_dict": _Rogue()}, path)
    elif kind == "shape":
        weights = dict(generator.state_dict())
        weights["output_block.1.weight"] = torch.zeros(3, 16, 1, 1)
        torch.save(weights, path)
    with pytest.raises(StudioError) as told:
        network.load(path)
    assert told.value.code == "weights_broken" and told.value.values["file"] == "wav2lip.pth"
    assert "ran" not in capsys.readouterr().out


def test_faces_are_the_generators_pictures_as_bytes(generator: network.Wav2Lip) -> None:
    random = np.random.default_rng(3)
    crops = torch.from_numpy(random.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8))
    mel = torch.from_numpy(random.uniform(-4, 4, (2, 80, 16)).astype(np.float32))
    shown = network.Faces(generator)(crops, mel)
    whole = crops.permute(0, 3, 1, 2) / 255
    hidden = torch.cat([whole[:, :, :48], torch.zeros(2, 3, 48, 96)], 2)
    drawn = generator(mel[:, None], torch.cat([hidden, whole], 1)).permute(0, 2, 3, 1) * 255
    assert shown.dtype == torch.uint8 and shown.shape == (2, 96, 96, 3)
    assert (shown.float() - drawn).abs().max() <= 0.501


def test_norms_fold_behind_both_kinds_of_convolution() -> None:
    torch.manual_seed(1)
    block = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), nn.BatchNorm2d(4)),
        *(nn.ReLU(), nn.BatchNorm2d(4)),
        *(nn.ConvTranspose2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)),
    )
    norms = (1, 4, 6, 8)
    for norm in norms:
        nn.init.normal_(block[norm].running_mean)
        nn.init.uniform_(block[norm].running_var, 0.3, 3.0)
        nn.init.normal_(block[norm].weight)
    picture = torch.randn(2, 3, 17, 17)
    with torch.no_grad():
        plain = block.eval()(picture)
        folded = fold_norms(block)(picture)
    # One norm has no convolution right before it, and one is behind a grouped one.
    assert [isinstance(block[at], nn.BatchNorm2d) for at in norms] == [False, False, True, True]
    assert (folded - plain).abs().max() < 1e-4


def _noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(5).standard_normal(round(seconds * 16000))).astype(np.float32)


def test_each_frame_hears_the_200_ms_from_its_start_on() -> None:
    sound = np.zeros(32000, np.float32)
    sound[16000:16640] = _noise(0.04)
    heard = features.hear(sound, 0, 50)
    assert heard.shape == (50, 80, 16) and heard.dtype == np.float32
    loud = (heard > -3).any((1, 2))
    # The sound of frame 25; mel windows reach 25 ms to either side, so the frame after hears a rest of it.
    assert np.flatnonzero(loud).tolist() == list(range(20, 27))


def test_384_hears_two_frames_earlier_and_louder() -> None:
    sound = _noise(2)
    plain, louder = features.hear(sound, 5, 20), features.hear(sound, 7, 20, size=384)
    np.testing.assert_allclose(louder, plain * 1.25, rtol=1e-6)
    assert features.hear(np.zeros(16000, np.float32), 0, 5, size=384).max() == -5


def test_a_shift_moves_what_is_heard() -> None:
    sound = _noise(2)
    np.testing.assert_array_equal(features.hear(sound, 10, 5, shift=-1), features.hear(sound, 9, 5))
    # 10.5 frames are 33.6 columns.
    np.testing.assert_array_equal(features.hear(sound, 10, 1, shift=0.5)[0], features.log_mel(sound)[:, 33:49])


def test_where_a_long_sound_is_cut_does_not_matter() -> None:
    sound = _noise(4)
    whole = features.hear(sound, 0, 100)
    part = features.hear(sound[20 * 640 : 60 * 640], 10, 20)
    np.testing.assert_allclose(part, whole[30:50], atol=1e-4)


def test_outside_the_sound_is_silence() -> None:
    heard = features.hear(_noise(0.2), -10, 30)
    assert (heard[:5] == -4).all() and (heard[17:] == -4).all()
    assert (heard[10] > -3).any()


def test_a_face_box_spans_the_mesh_and_its_pads() -> None:
    landmarks = np.full((2, 478, 3), 150.0, np.float32)
    landmarks[:, 234, 0], landmarks[:, 454, 0] = 100, 200
    landmarks[:, 10, 1], landmarks[:, 152, 1] = 50, 250
    landmarks[1, :, 0] += 7
    landmarks[:, 470] = 1000  # an iris point is none of the outline
    np.testing.assert_allclose(features.face_boxes(landmarks), [[100, 50, 200, 250], [107, 50, 207, 250]])
    padded = features.face_boxes(landmarks, (0.1, 0.05, 0.2, 0.3))
    np.testing.assert_allclose(padded[0], [80, 30, 230, 260])
