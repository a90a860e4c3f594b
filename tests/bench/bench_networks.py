"""Speed of the GPU engines' networks against the published way of running them, in one run on one card.

``python -m tests.bench.bench_networks [--only wav2lip96 ...] [--compile MODE|none] [--seconds 2]``; needs CUDA, and
for MuseTalk the diffusers library.

Published: Wav2Lip in float32, MuseTalk by diffusers in float16, eager, NCHW; inputs as its scripts hand them over, the
result as numpy on the host. Ours: what the engines run, bytes in and bytes out. Both get the same batch and the same
synthetic weights; a ratio above 1 means that ours is faster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from modules import devices
from modules.avatar.neural.runner import Runner
from tests.bench.common import line

# MuseTalk's networks for diffusers.
GENERATOR_CONFIG = {
    "sample_size": 64,
    "in_channels": 8,
    "out_channels": 4,
    "cross_attention_dim": 384,
    "attention_head_dim": 8,
}
VAE_CONFIG = {
    "sample_size": 256,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}

# Bars of issue 4: (network, batch) -> the least ratio.
BARS = {
    ("wav2lip96", 16): 3.0,
    ("wav2lip256", 16): 4.0,
    ("wav2lip384", 16): 4.5,
    ("musetalk", 20): 2.6,
    ("musetalk", 4): 4.5,
}
Run = Callable[[], np.ndarray]


def rate(run: Callable[[], object], seconds: float, ahead: int = 0) -> float:
    """Calls of ``run`` a second; ``ahead`` calls may be under way at a time (it then gives a Ticket)."""
    waiting: list[object] = []
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds or count < 5:
        waiting.append(run())
        if len(waiting) > ahead:
            done = waiting.pop(0)
            if ahead:
                done.result()  # type: ignore[attr-defined]
        count += 1
    for left in waiting:
        if ahead:
            left.result()  # type: ignore[attr-defined]
    return count / (time.perf_counter() - begin)


def wav2lip(size: int, batch: int, mode: str | None) -> tuple[Run, Runner, Sequence[np.ndarray]]:
    """The published run, our runner, and what the runner is given."""
    from modules.avatar.neural.fold import fold_norms
    from modules.avatar.wav2lip.network import Faces, Wav2Lip

    torch.manual_seed(0)
    plain = Wav2Lip(size).eval()  # type: ignore[arg-type]
    ours = Wav2Lip(size)  # type: ignore[arg-type]
    ours.load_state_dict(plain.state_dict())
    plain = plain.cuda()
    crops = np.random.default_rng(0).integers(0, 255, (batch, size, size, 3), np.uint8)
    mel = np.random.default_rng(1).normal(size=(batch, 80, 16)).astype(np.float32)
    hidden = crops.copy()
    hidden[:, size // 2 :] = 0
    pictures = np.concatenate([hidden, crops], 3).astype(np.float32) / 255

    def published() -> np.ndarray:
        with torch.no_grad():
            faces = torch.FloatTensor(np.transpose(pictures, (0, 3, 1, 2))).cuda()
            drawn = plain(torch.FloatTensor(mel[:, None]).cuda(), faces)
            return drawn.cpu().numpy().transpose(0, 2, 3, 1) * 255

    device = devices.choose("auto")
    return published, Runner(_compiled(Faces(fold_norms(ours)), mode), device, torch.float16, (batch,)), (crops, mel)


def musetalk(batch: int, mode: str | None) -> tuple[Run, Runner, Sequence[np.ndarray]]:
    """See ``wav2lip``."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from modules.avatar.musetalk.network import LATENT_SCALE, Autoencoder, Faces, Generator, sinusoid

    torch.manual_seed(0)
    ours_generator, ours_vae = Generator(), Autoencoder()
    with torch.device("cuda"):
        generator, vae = UNet2DConditionModel(**GENERATOR_CONFIG), AutoencoderKL(**VAE_CONFIG)
    generator.load_state_dict(ours_generator.state_dict())
    vae.load_state_dict(ours_vae.state_dict())
    generator, vae = generator.half().eval(), vae.half().eval()
    random = np.random.default_rng(0)
    latents = random.normal(size=(batch, 8, 32, 32)).astype(np.float16)
    tokens = random.normal(size=(batch, 50, 384)).astype(np.float16)
    positions = sinusoid().half().cuda()
    kept = torch.from_numpy(latents).cuda()
    start = torch.tensor([0], device="cuda")

    def published() -> np.ndarray:
        with torch.no_grad():
            heard = torch.from_numpy(tokens).cuda() + positions
            painted = generator(kept, start, encoder_hidden_states=heard).sample
            decoded = vae.decode(painted / LATENT_SCALE).sample
            image = (decoded / 2 + 0.5).clamp(0, 1).detach().cpu().permute(0, 2, 3, 1).float().numpy()
            return (image * 255).round()[..., ::-1].astype(np.uint8)

    faces = _compiled(Faces(ours_generator, ours_vae), mode)
    return published, Runner(faces, devices.choose("auto"), torch.float16, (batch,)), (latents, tokens)


def _compiled(module: nn.Module, mode: str | None) -> nn.Module:
    return torch.compile(module, mode=mode, dynamic=False) if mode else module  # type: ignore[return-value]


def main() -> None:
    """Measure and print one line a network and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--compile", default="default", help="a mode of torch.compile, or none")
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    print(torch.cuda.get_device_name(), torch.__version__)
    for (name, batch), bar in BARS.items():
        if not given.only or name in given.only:
            measure(name, batch, bar, given.seconds, None if given.compile == "none" else given.compile)
            torch.cuda.empty_cache()


def measure(name: str, batch: int, bar: float, seconds: float, mode: str | None) -> None:
    """Print how many times as fast as published the network ``name`` is, and how far its faces differ."""
    begin = time.perf_counter()
    made = musetalk(batch, mode) if name == "musetalk" else wav2lip(int(name.removeprefix("wav2lip")), batch, mode)
    published, runner, inputs = made
    expected = np.asarray(published(), np.float32)
    made_at = time.perf_counter()
    found = runner.submit(*inputs).result().astype(np.float32)
    first = time.perf_counter() - made_at
    for _ in range(3):
        published()
    theirs, ours = rate(published, seconds), rate(lambda: runner.submit(*inputs), seconds, ahead=1)
    print(line(f"{name}, batch {batch}: times as fast as published", ours / theirs, "x", bar, at_most=False))
    print(line(f"{name}, batch {batch}: mean difference", float(np.abs(found - expected).mean()), "levels", 2.0))
    speeds = f"published {theirs * batch:.0f}, ours {ours * batch:.0f} frames a second"
    print(f"      {speeds}; first batch after {first:.1f} s (made in {made_at - begin:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
