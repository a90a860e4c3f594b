"""MuseTalk's networks, its ear, its boxes and its masks against the published ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from modules.avatar.musetalk import features
from modules.errors import StudioError
from tests.parity import common, fill

pytestmark = pytest.mark.slow


def described(module: nn.Module, prefix: str = "") -> dict[str, list[int]]:
    return {prefix + key: list(tensor.shape) for key, tensor in module.state_dict().items()}


def published(pack: str) -> dict[str, list[int]]:
    return {key: shape for key, shape, _ in common.manifest_of(pack)["state_dict"]}


def small_vae(seed: str) -> nn.Module:
    """The autoencoder in the packs' reduced size, with its weights."""
    ours = common.filled("musetalk_vae/reduced")
    assert ours.golden.meta["seed"] == seed
    return ours.module


def test_at_full_size_the_keys_are_the_published_ones() -> None:
    from modules.avatar.musetalk import network

    with torch.device("meta"):
        assert described(network.Generator()) == published("musetalk_unet")
        assert described(network.Autoencoder()) == published("musetalk_vae")
        ear = described(network.WhisperEncoder(), "encoder.")
    theirs = published("whisper_tiny_encoder")
    assert ear == {key: shape for key, shape in theirs.items() if key.startswith("encoder.")}


@pytest.mark.parametrize("pack", ["musetalk_unet/reduced", "musetalk_vae/reduced"])
def test_the_network_is_the_published_one(pack: str) -> None:
    common.check_network(pack)


def test_faces_are_the_published_ones_in_bytes() -> None:
    from modules.avatar.musetalk.network import Faces

    ours = common.filled("musetalk_unet/reduced")
    faces = Faces(ours.module, small_vae(ours.golden.meta["seed"])).eval()
    placed = ours.golden.arrays["case0.in.audio"][0] + faces.positions.numpy()
    assert np.abs(placed - ours.golden.arrays["case0.mid.audio_pe_row0"]).max() < 1e-5  # sines differ by processor
    for case in ours.golden.meta["cases"]:
        with torch.no_grad():
            drawn = faces(*ours.inputs(case)).numpy().astype(int)
        differs = np.abs(drawn - ours.golden.arrays[f"{case['name']}.out.image_bgr_u8"])
        assert differs.max() <= 1 and differs.mean() < 0.001


def test_latents_are_the_published_ones() -> None:
    from modules.avatar.musetalk.network import LATENT_SCALE, Latents

    ours = common.filled("musetalk_vae/reduced")
    latents, arrays = Latents(ours.module), ours.golden.arrays
    for case in ("case0", "case1"):
        with torch.no_grad():
            given = latents(torch.from_numpy(arrays[f"{case}.in.image_bgr_u8"])[None]).numpy()
        modes = [arrays[f"{case}.mid.mean_{part}"] for part in ("masked", "ref")]
        assert np.abs(given - LATENT_SCALE * np.concatenate(modes, 1)).max() < 1e-4


def test_a_frame_of_a_footage_becomes_the_published_latents() -> None:
    """At the full 256 pixels, with the noise that published code adds to what ours takes."""
    from modules.avatar.musetalk.network import LATENT_SCALE, Latents

    golden = common.Golden(common.DATA / "musetalk_pipeline" / "golden_prep.npz")
    vae = small_vae(golden.meta["seed"])
    left, top, right, bottom = golden.arrays["avatar_v15.out.coords"][0]
    crop = golden.arrays["bbox.in.frames_bgr"][0][top:bottom, left:right]
    face = torch.from_numpy(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_LANCZOS4))
    seen = face.flip(-1).permute(2, 0, 1).float() / 127.5 - 1
    hidden = seen.clone()
    hidden[:, 128:] = -1
    with torch.no_grad():
        ours = Latents(vae)(face[None])
        deviations = vae.encode(torch.stack([hidden, seen]))[1]
    noise = deviations * torch.from_numpy(golden.arrays["avatar_v15.in.eps"])
    noisy = ours + LATENT_SCALE * noise.reshape(ours.shape)
    assert np.abs(noisy.numpy() - golden.arrays["avatar_v15.out.latent0"]).max() < 1e-4


def test_the_ear_hears_what_the_published_one_does() -> None:
    ours = common.filled("whisper_tiny_encoder/reduced")
    arrays = ours.golden.arrays
    sound = arrays["case0.in.wav"]
    with torch.no_grad():
        states = ours.methods["states"](torch.from_numpy(features.log_mel(sound))).numpy()
    assert np.abs(states[0, :40] - arrays["case0.mid.hidden_0_40"]).max() < 0.01
    assert np.abs(states[0, :20, 3] - arrays["case0.mid.hidden3_f32_0_20"]).max() < 1e-3
    assert np.abs(states[0, :20, 4] - arrays["case0.mid.hidden_last_layer_f32_0_20"]).max() < 1e-3
    count = int(arrays["case0.out.chunk_count"][0])
    tokens = features.hear(features.joined(states, len(sound)), 0, count)
    assert np.abs(tokens[arrays["case0.out.chunk_sel"]] - arrays["case0.out.chunks"]).max() < 0.01
    assert np.array_equal(features.hear(features.joined(states, len(sound)), 7, 3), tokens[7:10])


def test_each_half_minute_is_heard_by_itself() -> None:
    arrays = common.Golden(common.DATA / "whisper_tiny_encoder" / "reduced" / "golden.npz").arrays
    mels = features.log_mel(arrays["case1.in.wav_i8"].astype(np.float32) / 127)
    assert len(mels) == arrays["case1.out.segments"][0]
    assert np.abs(mels[1, :, :60] - arrays["case1.mid.mel_seg1_0_60"]).max() < 1e-3
    assert np.abs(mels[0, :, 2970:] - arrays["case1.mid.mel_seg0_2970_3000"]).max() < 1e-3


@pytest.mark.parametrize("pack", ["whisper_tiny_encoder", "musetalk_pipeline", "s3fd"])
def test_what_goes_before_and_after_is_the_published_way(pack: str) -> None:
    common.check_prep(pack)


# --- files ---------------------------------------------------------------------------------------


def test_the_ear_is_taken_out_of_the_published_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from modules.avatar.musetalk import network

    whole = fill.state_dict(common.manifest_of("whisper_tiny_encoder/reduced"), "public")
    named = {f"model.{key}": tensor for key, tensor in whole.items()}
    save_file(named, tmp_path / "model.safetensors")
    loaded = network.load_whisper(tmp_path).state_dict()
    assert all(torch.equal(tensor, whole[f"encoder.{key}"]) for key, tensor in loaded.items())
    (tmp_path / "model.safetensors").unlink()
    torch.save(named, tmp_path / "pytorch_model.bin")
    again = network.load_whisper(tmp_path).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in loaded.items())


def test_old_names_of_attention_are_understood() -> None:
    from modules.avatar.musetalk.network import renamed_attention

    new = fill.state_dict(common.manifest_of("musetalk_vae/reduced"), "public")
    old = {}
    for key, tensor in new.items():
        for layer, name in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
            key = key.replace(f".{name}.", f".{layer}.")
        old[key] = tensor
    assert set(old) != set(new)
    assert all(torch.equal(tensor, new[key]) for key, tensor in renamed_attention(old).items())
    assert set(renamed_attention(old)) == set(new) == set(renamed_attention(new))


@pytest.mark.parametrize("file", ["unet.pth", "pytorch_model.bin"])
def test_a_generator_loads_by_either_name(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules.avatar.musetalk import network

    manifest = common.manifest_of("musetalk_unet/reduced")
    told = manifest["constructor"]
    reduced = partial(network.Generator, told["block_out_channels"], told["layers_per_block"])
    monkeypatch.setattr(network, "Generator", reduced)
    held = fill.state_dict(manifest, "public")
    torch.save(held, tmp_path / file)
    loaded = network.load_generator(tmp_path).state_dict()
    assert all(torch.equal(tensor, held[key]) for key, tensor in loaded.items())


def test_wrong_files_are_named(tmp_path: Path) -> None:
    from modules.avatar.musetalk import network

    def refused() -> str:
        with pytest.raises(StudioError) as caught:
            network.load_generator(tmp_path)
        assert caught.value.code == "weights_broken"
        return str(caught.value.values["file"])

    assert refused() == "unet.pth"
    file = tmp_path / "unet.pth"
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n"):
        file.write_bytes(content)
        assert refused() == "unet.pth"
    torch.save({"conv_in.weight": torch.zeros(320, 8, 3, 3)}, file)
    assert refused() == "unet.pth"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refused() == "unet.pth"
    torch.save([1, 2], file)
    assert refused() == "unet.pth"
    torch.save(nn.Linear(2, 2), file)  # whole objects are never unpickled
    assert refused() == "unet.pth"
