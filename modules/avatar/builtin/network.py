"""The small temporal convolution network that maps sound features to mouth shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from modules.progress import Progress

HIDDEN = 64
DROPOUT = 0.3
INPUT_NOISE = 0.1
VELOCITY_WEIGHT = 0.5
STEPS = 300
PIECE = 64
BATCH = 8
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.05


class ShapeNetwork(nn.Module):
    """(B, T, inputs) features to (B, T, outputs) coefficients; sees +-6 frames around each."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, HIDDEN)
        self.near = nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2)
        self.far = nn.Conv1d(HIDDEN, HIDDEN, 5, padding=4, dilation=2)
        self.leave = nn.Linear(HIDDEN, outputs)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = self.drop(torch.relu(self.enter(self.drop(features)))).transpose(1, 2)
        hidden = self.drop(torch.relu(self.near(hidden)))
        hidden = torch.relu(self.far(hidden)).transpose(1, 2)
        out: torch.Tensor = self.leave(self.drop(hidden))
        return out


def train(
    features: np.ndarray, codes: np.ndarray, runs: np.ndarray, seed: int, progress: Progress
) -> dict[str, np.ndarray]:
    """Weights of a network that maps (N, D) standardised ``features`` to (N, K) standardised ``codes``.

    runs: (N,) frame numbers; pieces for training are cut only where PIECE frames follow each other,
    or from the whole where no run is that long. Loss: squared error of shapes and of their velocity.
    """
    generator = torch.Generator().manual_seed(seed)
    length = min(PIECE, len(features))
    starts = np.flatnonzero(runs[length - 1 :] - runs[: len(runs) - length + 1] == length - 1)
    allowed = torch.from_numpy(starts if len(starts) else np.arange(len(runs) - length + 1))
    inputs, targets = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(codes.astype(np.float32))
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        network = ShapeNetwork(features.shape[1], codes.shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, STEPS)
        span = torch.arange(length)
        for step in range(STEPS):
            if step % 10 == 0:
                progress.at(step / STEPS)
            picked = allowed[torch.randint(0, len(allowed), (BATCH,), generator=generator)][:, None] + span
            heard, wanted = inputs[picked], targets[picked]
            guess = network(heard + INPUT_NOISE * torch.randn_like(heard))
            error = guess - wanted
            velocity = error[:, 1:] - error[:, :-1]
            loss = (error**2).mean() + VELOCITY_WEIGHT * (velocity**2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    progress.at(1.0)
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small only lose by threads, badly so when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(weights: Mapping[str, np.ndarray]) -> ShapeNetwork:
    """The network that ``train`` made, ready for use."""
    network = ShapeNetwork(weights["enter.weight"].shape[1], weights["leave.weight"].shape[0])
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    return network.eval()


def predict(network: ShapeNetwork, features: np.ndarray) -> np.ndarray:
    """(T, K) standardised coefficients of (T, D) standardised ``features``."""
    with torch.no_grad(), _one_thread():
        return np.asarray(network(torch.from_numpy(features.astype(np.float32))[None])[0].numpy())
