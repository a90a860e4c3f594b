"""Training Ultralight's network on one person's footage, on one machine; it can be stopped and goes on where it was.

The published recipe (L1 and a perceptual loss; as reference any other frame) with three changes. The perceptual loss is
a Laplacian pyramid's: no weights of another network are needed. The reference is a frame with the head held alike,
turned to be held as in the one that is drawn: in use the network sees the very frame that it draws over, and so it has
learnt to take skin and pose from there, and never the mouth. The weights are averaged over time.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from modules import devices
from modules.avatar.neural.recording import ALONE, record
from modules.avatar.ultralight.features import CROP_SIDE, FACE_SIDE, RIM, ROWS_A_STEP, STEPS, STEPS_BEFORE, WINDOW_SHAPE
from modules.avatar.ultralight.heads import Turner, reference_frames
from modules.avatar.ultralight.network import (
    PERSONAL_WIDTHS,
    Ultralight,
    Widths,
    spread_codes,
    widths_of,
    with_masked,
)
from modules.errors import Cancelled, StudioError
from modules.progress import Progress

WEIGHTS, STATE, CURVE = "ultralight.safetensors", "training.pt", "curve.json"
Kind = Literal["builtin", "hubert"]

# Of the loss: bands of the pyramid, their weight against plain L1, and how much more the mouth counts.
BANDS, BAND_WEIGHT, MOUTH_WEIGHT = 4, 1.0, 4.0
# Where the mouth lies in the network's face, and how far it reaches: in sides.
MOUTH_PLACE, MOUTH_REACH = (0.5, 0.30), (0.24, 0.18)
# Noise: on a mouth's code in deviations, on rows of sound in theirs, and the share of a row's features left out.
CODE_NOISE, ROW_NOISE, ROW_DROPOUT = 0.1, 0.3, 0.2
LIGHT, TINT = 0.06, 0.02
AVERAGING = 0.999
WARM_UP = 50
# Steps before a CUDA graph of one is recorded.
TRIALS = 3
MAX_GRADIENT = 1.0
SAMPLES = 6
CURVE_EVERY = 10
# Loss so far is averaged over about so many steps.
SMOOTHING = 0.95


@dataclass(frozen=True)
class Settings:
    """How to train. It ends after ``seconds`` of work or ``steps`` (0: as many as fit), whichever comes first.

    widths: of the network; one that was begun with others keeps them.
    """

    seconds: float = 600.0
    steps: int = 0
    batch: int = 24
    rate: float = 1e-3
    seed: int = 0
    kind: Kind = "builtin"
    widths: Widths = PERSONAL_WIDTHS
    sample_seconds: float = 15.0
    save_seconds: float = 60.0


@dataclass
class Trained:
    """Where training stands: steps and seconds of work so far, and (step, loss) from time to time."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)


Sample = Callable[[np.ndarray, int], None]


def train(
    crops: np.ndarray,
    features: np.ndarray,
    heads: np.ndarray,
    settings: Settings,
    folder: Path,
    progress: Progress,
    on_sample: Sample | None = None,
    told: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Trained:
    """Train on N frames, or go on with what ``folder`` holds of the same training; leaves WEIGHTS there.

    crops: (N, 168, 168, 3) uint8 BGR. features: (N, K) codes of the mouths (kind 'builtin'), or (N, 2, 1024) rows.
    heads: (N, P, 2) how the head is held, see ``heads.resting_heads``.
    on_sample: gets a picture ((H, W, 3) uint8 BGR, true faces above drawn ones) and the step from time to time, the
    first time after the first step; CURVE in ``folder`` is then up to date.
    told: what else goes into the weights' metadata (JSON values).
    Cancelled by ``progress``: what was reached is saved first. StudioError('training_broken') where what ``folder``
    holds cannot be gone on with.
    """
    work = _begun(crops, features, heads, settings, device, folder / STATE)
    told = {**(told or {}), "kind": settings.kind}
    try:
        work.run(folder, progress, on_sample, told)
    except Cancelled:
        work.save(folder, told)
        raise
    work.save(folder, told)
    return work.reached


class _Work:
    """One training: network, its average, optimiser and data, all on the device."""

    def __init__(
        self, crops: np.ndarray, features: np.ndarray, heads: np.ndarray, settings: Settings, device: str
    ) -> None:
        chosen = devices.choose(device)
        self.settings, self.device = settings, devices.torch_device(chosen)
        self._coarse = chosen.bfloat16
        self.reached = Trained()
        self.chance = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network, average = Ultralight(widths=settings.widths), Ultralight(widths=settings.widths)
        layout: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.network, self.average = network.to(**layout).train(), average.to(**layout).eval().requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(self.network.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self._on_card = self.device.type == "cuda"
        self.rate = torch.zeros((), device=self.device)
        self._settle()
        self._recorded: _Recorded | None = None
        self.crops = torch.from_numpy(crops).to(self.device)
        self.features = torch.from_numpy(features.astype(np.float32)).to(self.device)
        self.references = torch.from_numpy(reference_frames(heads))
        self._turner = Turner(heads, self.device)
        self.weight = _mouth_weight().to(self.device)

    def _settle(self) -> None:
        """Tell the optimiser what depends on the device, which may have been another before."""
        for group in self.optimizer.param_groups:
            group.update(lr=self.rate, capturable=self._on_card)

    def run(self, folder: Path, progress: Progress, on_sample: Sample | None, told: Mapping[str, Any]) -> None:
        """Steps until the end of the budget."""
        settings, reached = self.settings, self.reached
        began = time.monotonic() - reached.seconds
        sampled, saved = -math.inf, time.monotonic()
        while (share := self._share()) < 1:
            self._step(share, progress)
            now = time.monotonic()
            reached.seconds = now - began
            if on_sample is not None and now - sampled > settings.sample_seconds:
                self._write_curve(folder)
                on_sample(self.sample(), reached.step)
                sampled = now
            if now - saved > settings.save_seconds:
                self.save(folder, told)
                saved = now
        if on_sample is not None:
            self._write_curve(folder)
            on_sample(self.sample(), reached.step)

    def _share(self) -> float:
        """How much of the training is done, 0 to 1."""
        of_time = self.reached.seconds / max(self.settings.seconds, 1e-9)
        return max(of_time, self.reached.step / self.settings.steps if self.settings.steps else 0.0)

    def _step(self, share: float, progress: Progress) -> None:
        """One step; a processor takes a second for it, so ``progress`` hears of it more than once."""
        reached = self.reached
        progress.at(share)
        # A short rise and a long fall: half a cosine to nothing.
        rate = self.settings.rate * min(1.0, (reached.step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
        self.rate.fill_(rate)
        batch = self.batch()
        if self._on_card:
            if self._recorded is None:
                with torch.cuda.device(self.device):
                    self._recorded = _Recorded(self._learn, batch)
            loss = self._recorded(batch)
        else:
            loss = self._learn(*batch, lambda: progress.at(share))
        self._follow()
        reached.step += 1
        if reached.step % CURVE_EVERY == 1 or not reached.loss:
            now = loss.item()
            reached.loss = now if not reached.loss else SMOOTHING * reached.loss + (1 - SMOOTHING) * now
            reached.curve.append((reached.step, round(now, 6)))

    def _learn(self, face: Tensor, sound: Tensor, wanted: Tensor, between: Callable[[], None] | None = None) -> Tensor:
        """One step of the optimiser on what ``batch`` gives; the loss. ``between`` is called now and then."""
        tell = between or (lambda: None)
        with self._half():
            drawn = self.network(face, sound)
        loss = pyramid_loss(drawn.float(), wanted, self.weight)
        tell()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        tell()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        return loss.detach()

    def _half(self) -> Any:
        """Half the precision where that is quicker."""
        if not self._coarse:
            return nullcontext()
        # Each weight is used once a step, and what is recorded may not hold another step's.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves towards the network: less and less at first, so that it is no average of noise."""
        step = self.reached.step
        keep = min(AVERAGING, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        torch._foreach_copy_(list(self.average.buffers()), list(self.network.buffers()))

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the network sees, what it hears, and what it should draw: a random choice of frames."""
        count, chance = self.settings.batch, self.chance
        frames = torch.randint(len(self.crops), (count,), generator=chance)
        others = self.references[frames, torch.randint(self.references.shape[1], (count,), generator=chance)]
        corner = torch.randint(CROP_SIDE - FACE_SIDE + 1, (count, 2), generator=chance)
        light = 1 + LIGHT * torch.randn(count, 1, 1, 1, generator=chance)
        light = light + TINT * torch.randn(count, 3, 1, 1, generator=chance)
        pair = self._cut(frames, corner), self._reference(others, frames, corner)
        wanted, reference = ((picture * light.to(self.device)).clamp(0, 1) for picture in pair)
        return with_masked(reference, wanted), self._heard(frames), wanted

    def _cut(self, frames: Tensor, corner: Tensor) -> Tensor:
        """(B, 3, 160, 160) 0..1 of ``frames`` (B,), whose upper left corner in the crop is ``corner`` (B, 2)."""
        frames, corner = frames.to(self.device), corner.to(self.device)
        side = torch.arange(FACE_SIDE, device=self.device)
        rows, columns = corner[:, :1] + side, corner[:, 1:] + side
        part = self.crops[frames[:, None, None], rows[:, :, None], columns[:, None, :]]
        return part.permute(0, 3, 1, 2).float() / 255

    def _reference(self, others: Tensor, frames: Tensor, corner: Tensor) -> Tensor:
        """(B, 3, 160, 160) 0..1 of ``others`` (B,), the head held as in ``frames`` (B,), cut at the same ``corner``."""
        crops = self.crops[others.to(self.device)].permute(0, 3, 1, 2).float() / 255
        return self._turner.turned(crops, others, frames, corner)

    def _heard(self, frames: Tensor) -> Tensor:
        """(B, 16, 32, 32) of ``frames`` (B,), disturbed, so that the network does not learn them by heart."""
        if self.features.ndim == 2:
            codes = self.features[frames.to(self.device)]
            noise = torch.randn(codes.shape, generator=self.chance).to(self.device)
            return spread_codes(codes + CODE_NOISE * noise)
        places = frames[:, None] - STEPS_BEFORE + torch.arange(STEPS)
        inside = ((places >= 0) & (places < len(self.features))).to(self.device)
        rows = self.features[places.clamp(0, len(self.features) - 1).to(self.device)] * inside[..., None, None]
        kept = torch.rand(len(frames), 1, 1, rows.shape[3], generator=self.chance) >= ROW_DROPOUT
        noise = ROW_NOISE * torch.randn(len(frames), STEPS, ROWS_A_STEP, 1, generator=self.chance)
        return ((rows + noise.to(self.device)) * kept.to(self.device)).reshape(-1, *WINDOW_SHAPE)

    @torch.inference_mode()
    def sample(self) -> np.ndarray:
        """Some true faces above what the averaged network draws of their sound, seeing another frame: uint8 BGR."""
        frames = torch.linspace(0, len(self.crops) - 1, SAMPLES).long()
        corner = torch.full((SAMPLES, 2), RIM)
        wanted, reference = self._cut(frames, corner), self._reference(self.references[frames, 0], frames, corner)
        chance, self.chance = self.chance, torch.Generator().manual_seed(0)
        drawn = self.average(with_masked(reference, wanted), self._heard(frames))
        self.chance = chance
        rows = [torch.cat(list(faces), 2) for faces in (wanted, drawn)]
        picture = (torch.cat(rows, 1).clamp(0, 1) * 255).round().to(torch.uint8)
        return picture.permute(1, 2, 0).contiguous().cpu().numpy()

    def save(self, folder: Path, told: Mapping[str, Any]) -> None:
        """Write the averaged weights, the state to go on from, and the curve; each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "chance": self.chance.get_state(),
            "settings": asdict(self.settings),
            "reached": asdict(self.reached),
        }
        written = {"fenshen": json.dumps({**told, "step": self.reached.step, "seconds": self.reached.seconds})}
        weights = {name: tensor.contiguous().cpu() for name, tensor in self.average.state_dict().items()}
        _replace(folder / STATE, lambda path: torch.save(state, path))
        _replace(folder / WEIGHTS, lambda path: save_file(weights, path, written))
        self._write_curve(folder)

    def _write_curve(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / CURVE, lambda path: path.write_text(json.dumps(self.reached.curve), encoding="utf-8"))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``save`` wrote; the budget may have changed."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._settle()
        self.chance.set_state(state["chance"].cpu())
        reached = state["reached"]
        self.reached = Trained(**{**reached, "curve": [(int(a), float(b)) for a, b in reached["curve"]]})


class _Recorded:
    """``learn`` as a CUDA graph for batches ``like`` this one: one launch a step in place of a thousand.

    Made, it has learnt from that batch TRIALS times.
    """

    def __init__(self, learn: Callable[..., Tensor], like: Sequence[Tensor]) -> None:
        self._given = [tensor.clone() for tensor in like]
        # Kernels are tried and buffers made in the first steps, which may not be on the stream that works.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(TRIALS):
                learn(*self._given)
        with ALONE:
            self._graph, self._loss = record(lambda: learn(*self._given), aside)
        torch.cuda.current_stream().wait_stream(aside)

    def __call__(self, batch: Sequence[Tensor]) -> Tensor:
        """Learn from ``batch``; the loss, until the next step."""
        torch._foreach_copy_(self._given, list(batch))
        self._graph.replay()
        return self._loss


def _begun(
    crops: np.ndarray, features: np.ndarray, heads: np.ndarray, settings: Settings, device: str, file: Path
) -> _Work:
    """A training, new or as ``file`` has kept it."""
    if not file.exists():
        return _Work(crops, features, heads, settings, device)
    with _told_if_broken(file):
        state = torch.load(file, map_location="cpu", weights_only=True)
        settings = replace(settings, widths=widths_of(state["network"]))
    work = _Work(crops, features, heads, settings, device)
    with _told_if_broken(file):
        work.restore(state)
    return work


@contextmanager
def _told_if_broken(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a half or foreign file makes torch raise nearly anything
        raise StudioError("training_broken", file=file.name) from error


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def _mouth_weight() -> Tensor:
    """(1, 1, 160, 160), mean 1: how much each pixel counts."""
    side = (torch.arange(FACE_SIDE) + 0.5) / FACE_SIDE
    across, down = (
        torch.exp(-0.5 * ((side - place) / reach) ** 2) for place, reach in zip(MOUTH_PLACE, MOUTH_REACH, strict=True)
    )
    weight = 1 + MOUTH_WEIGHT * down[:, None] * across[None]
    return (weight / weight.mean())[None, None]


def pyramid_loss(drawn: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """L1 of (B, 3, S, S) pictures and of the bands of their Laplacian pyramids, each pixel counting its ``weight``.

    Burt and Adelson, "The Laplacian pyramid as a compact image code" (1983); the pyramid of a difference is the
    difference of the pyramids.
    """
    difference = drawn - wanted
    loss = (difference.abs() * weight).mean()
    for _ in range(BANDS):
        smaller = functional.avg_pool2d(difference, 2)
        again = functional.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False)
        loss = loss + BAND_WEIGHT * ((difference - again).abs() * weight).mean()
        difference, weight = smaller, functional.avg_pool2d(weight, 2)
    return loss + BAND_WEIGHT * (difference.abs() * weight).mean()
