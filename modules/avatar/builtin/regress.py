"""From sound to mouth shapes for one person: kernel ridge regression and two small networks, averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.features import MEL_RATE, WHISPER_RATE, Hearing, with_context
from modules.avatar.builtin.shapes import QUANTILES, ShapeSpace, opening
from modules.media import FRAME_RATE
from modules.progress import Progress

WHISPER_COMPONENTS = 48
KERNEL_WHISPER_OFFSETS = np.arange(-0.20, 0.2001, 0.04)
KERNEL_MEL_OFFSETS = np.arange(-0.20, 0.2001, 0.02)
KERNEL_SOUND_OFFSETS = np.arange(-0.20, 0.2001, 0.04)
NETWORK_WHISPER_OFFSETS = np.arange(-0.08, 0.0801, 0.04)
NETWORK_MEL_OFFSETS = np.arange(-0.06, 0.0601, 0.02)
NETWORK_SOUND_OFFSETS = np.arange(-0.08, 0.0801, 0.04)
RIDGE = 0.1
# Which sound it is says most, in fewest numbers; the rest says how this person speaks it.
WHISPER_WEIGHT, MEL_WEIGHT, SOUND_WEIGHT = 1.0, 1.0, 4.0
# The kernel regression keeps at most so many examples, evenly chosen; the networks learn from all.
MAX_EXAMPLES = 3000
KERNEL_OFFSETS = (KERNEL_WHISPER_OFFSETS, KERNEL_MEL_OFFSETS, KERNEL_SOUND_OFFSETS)
NETWORK_OFFSETS = (NETWORK_WHISPER_OFFSETS, NETWORK_MEL_OFFSETS, NETWORK_SOUND_OFFSETS)
SEEDS = (0, 1)
FOLDS = 4
PREDICTION_SIGMA = 0.5
MAX_DEVIATIONS = 2.6
# How far, and by how much at most (in eye distances), openings follow the distribution seen in training.
MATCH_STRENGTH = 0.8
MATCH_DOWN, MATCH_UP = 0.10, 0.18
# With this much speech its own distribution of openings counts half.
OWN_DISTRIBUTION_SECONDS = 4.0
BLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Statistics:
    """Mean, spread and natural wander of a raw feature over speech: each (D,).

    wander is the variance, from one two-second piece of the same voice to the next, of a piece's mean.
    """

    mean: np.ndarray
    deviation: np.ndarray
    wander: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, rate: float, voiced: np.ndarray) -> Statistics:
        """Over the frames of (T, D) ``features`` where ``voiced`` (T,) is true."""
        spoken = features[voiced] if voiced.sum() >= rate else features
        block = int(BLOCK_SECONDS * rate)
        count = max(len(spoken) // block, 1)
        means = np.stack([part.mean(0) for part in np.array_split(spoken, count)])
        wander = means.var(0, ddof=1) if count > 1 else spoken.var(0)
        return cls(spoken.mean(0), spoken.std(0) + 1e-4, wander + 1e-8)


def adapt(features: np.ndarray, rate: float, voiced: np.ndarray, home: Statistics) -> np.ndarray:
    """``features`` (T, D) of another voice or room moved towards those of training (``home``).

    Mean and spread are matched per dimension only as far as they lie outside what the training voice
    does by itself from piece to piece (a James-Stein shrinkage), so the own voice is left as it is.
    """
    seconds = float(voiced.sum()) / rate
    if seconds < 1.0:
        return features
    here = Statistics.of(features, rate, voiced)
    shift = here.mean - home.mean
    expected = home.wander * BLOCK_SECONDS / seconds
    trust = np.clip(1 - expected / np.maximum(shift**2, 1e-12), 0, 1)
    ratio = np.clip(home.deviation / here.deviation, 0.5, 2.0) ** (trust.mean() * seconds / (seconds + 6))
    moved = (features - here.mean) * ratio + here.mean - shift * trust
    return np.asarray(moved, np.float32)


@dataclass(frozen=True)
class InputSpace:
    """How raw features become regression inputs: projections and scales, fitted on the training sound.

    whisper_mean (512,), whisper_basis (512, 48), mel_mean and mel_deviation (40,),
    block_scales (3,) of the kernel's Whisper, mel and sound blocks.
    """

    whisper_mean: np.ndarray
    whisper_basis: np.ndarray
    mel_mean: np.ndarray
    mel_deviation: np.ndarray
    block_scales: np.ndarray

    @classmethod
    def fit(cls, hearing: Hearing, times: np.ndarray) -> InputSpace:
        mean = hearing.whisper.mean(0)
        _, strength, axes = np.linalg.svd(hearing.whisper - mean, full_matrices=False)
        kept = min(WHISPER_COMPONENTS, len(strength))
        # Half whitening: strong directions stay stronger, but do not drown the rest.
        basis = axes[:kept].T / np.sqrt(strength[:kept] / np.sqrt(len(hearing.whisper)) + 1e-6)
        space = cls(mean, basis, hearing.mel.mean(0), hearing.mel.std(0) + 1e-3, np.ones(3))
        blocks = space._blocks(hearing, times, *KERNEL_OFFSETS)
        weights = (WHISPER_WEIGHT, MEL_WEIGHT, SOUND_WEIGHT)
        scales = np.array([(block.std() + 1e-6) / weight for block, weight in zip(blocks, weights, strict=True)])
        return cls(space.whisper_mean, space.whisper_basis, space.mel_mean, space.mel_deviation, scales)

    def kernel_inputs(self, hearing: Hearing, times: np.ndarray) -> np.ndarray:
        """(len(times), D) inputs of the kernel regression."""
        blocks = self._blocks(hearing, times, *KERNEL_OFFSETS)
        return np.concatenate([block / scale for block, scale in zip(blocks, self.block_scales, strict=True)], axis=1)

    def network_inputs(self, hearing: Hearing, times: np.ndarray) -> np.ndarray:
        """(len(times), D) inputs of the networks, which add context of their own."""
        return np.concatenate(self._blocks(hearing, times, *NETWORK_OFFSETS), axis=1)

    def _blocks(
        self,
        hearing: Hearing,
        times: np.ndarray,
        whisper_offsets: np.ndarray,
        mel_offsets: np.ndarray,
        sound_offsets: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        whisper = (hearing.whisper - self.whisper_mean) @ self.whisper_basis
        mel = (hearing.mel - self.mel_mean) / self.mel_deviation
        return (
            with_context(whisper, WHISPER_RATE, times, whisper_offsets),
            with_context(mel, MEL_RATE, times, mel_offsets),
            with_context(hearing.sounds, WHISPER_RATE, times, sound_offsets),
        )


@dataclass(frozen=True)
class KernelRegression:
    """Gaussian kernel ridge regression; gamma is one over the median squared distance."""

    inputs: np.ndarray
    dual: np.ndarray
    offset: np.ndarray
    gamma: float

    @classmethod
    def fit(cls, inputs: np.ndarray, targets: np.ndarray) -> KernelRegression:
        distances = squared_distances(inputs, inputs)
        gamma = 1 / max(float(np.median(distances)), 1e-9)
        offset = targets.mean(0)
        kernel = np.exp(-gamma * distances) + RIDGE * np.eye(len(inputs))
        return cls(inputs, np.linalg.solve(kernel, targets - offset), offset, gamma)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-self.gamma * squared_distances(inputs, self.inputs)) @ self.dual + self.offset)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) squared Euclidean distances of (N, D) and (M, D)."""
    cross = a @ b.T
    return np.asarray(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * cross, 0))


@dataclass(frozen=True)
class SpeechToShape:
    """Everything that turns a heard sound into coefficients of one person's ShapeSpace."""

    space: InputSpace
    kernel: KernelRegression
    networks: tuple[Mapping[str, np.ndarray], ...]
    input_mean: np.ndarray
    input_deviation: np.ndarray
    code_mean: np.ndarray
    code_scale: float
    open_predicted: np.ndarray
    whisper_home: Statistics
    mel_home: Statistics

    @classmethod
    def fit(
        cls,
        hearing: Hearing,
        voiced: np.ndarray,
        times: np.ndarray,
        frames: np.ndarray,
        codes: np.ndarray,
        shapes: ShapeSpace,
        progress: Progress,
    ) -> SpeechToShape:
        """Fit on ``codes`` (N, K) seen at ``times`` (N,) in seconds of ``hearing``.

        frames: (N,) their numbers, which say what follows what.
        voiced: (T100,) bool, where there is speech.
        """
        from modules.avatar.builtin import network

        space = InputSpace.fit(hearing, times)
        inputs = space.kernel_inputs(hearing, times)
        kept = np.linspace(0, len(codes) - 1, min(len(codes), MAX_EXAMPLES)).astype(int)
        kernel = KernelRegression.fit(inputs[kept], codes[kept])
        progress.at(0.1)
        unseen = np.empty_like(codes)
        fold = np.arange(len(codes)) * FOLDS // len(codes)
        for number in range(FOLDS):
            held = fold == number
            others = kept[~held[kept]]
            unseen[held] = KernelRegression.fit(inputs[others], codes[others])(inputs[held])
            progress.at(0.1 + 0.1 * (number + 1) / FOLDS)
        unseen = gaussian_filter1d(unseen, PREDICTION_SIGMA, axis=0)
        features = space.network_inputs(hearing, times)
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        code_mean, code_scale = codes.mean(0), float(codes.std())
        standard, wanted = (features - mean) / deviation, (codes - code_mean) / code_scale
        share = 0.8 / len(SEEDS)
        networks = tuple(
            network.train(standard, wanted, frames, seed, progress.part(0.2 + share * n, 0.2 + share * (n + 1)))
            for n, seed in enumerate(SEEDS)
        )
        return cls(
            space,
            kernel,
            networks,
            mean,
            deviation,
            code_mean,
            code_scale,
            np.quantile(opening(shapes.decode(unseen)), QUANTILES),
            Statistics.of(hearing.whisper, WHISPER_RATE, voiced[::2][: len(hearing.whisper)]),
            Statistics.of(hearing.mel, MEL_RATE, voiced),
        )

    def adapted(self, hearing: Hearing, voiced: np.ndarray) -> Hearing:
        """``hearing`` moved towards the training voice; ``voiced`` (T100,) marks speech."""
        return Hearing(
            adapt(hearing.whisper, WHISPER_RATE, voiced[::2][: len(hearing.whisper)], self.whisper_home),
            adapt(hearing.mel, MEL_RATE, voiced, self.mel_home),
            hearing.sounds,
        )

    def predict(self, hearing: Hearing, times: np.ndarray, spoken: np.ndarray, shapes: ShapeSpace) -> np.ndarray:
        """(len(times), K) coefficients at ``times`` (s) of an adapted hearing, lively as in training.

        spoken: (len(times),) bool, at which of them there is speech.
        """
        from modules.avatar.builtin import network

        features = (self.space.network_inputs(hearing, times) - self.input_mean) / self.input_deviation
        guesses = [network.predict(network.build(weights), features) for weights in self.networks]
        learned = np.mean(guesses, axis=0) * self.code_scale + self.code_mean
        codes = (self.kernel(self.space.kernel_inputs(hearing, times)) + learned) / 2
        codes = gaussian_filter1d(codes, PREDICTION_SIGMA, axis=0)
        codes = np.clip(codes, -MAX_DEVIATIONS * shapes.deviation, MAX_DEVIATIONS * shapes.deviation)
        return self._match_openings(codes, spoken, shapes)

    def _match_openings(self, codes: np.ndarray, spoken: np.ndarray, shapes: ShapeSpace) -> np.ndarray:
        """Give openings the distribution that they have in life; regression alone mumbles.

        What the regression says of unseen speech of the training voice is known from cross-validation; another
        voice is mapped differently, so the longer this speech is, the more its own distribution counts.
        """
        predicted = opening(shapes.decode(codes))
        seconds = spoken.sum() / FRAME_RATE
        usual = self.open_predicted
        if seconds >= 1:
            share = seconds / (seconds + OWN_DISTRIBUTION_SECONDS)
            usual = usual + share * (np.quantile(predicted[spoken], QUANTILES) - usual)
        wanted = np.interp(predicted, usual, shapes.open_quantiles)
        step = np.clip(wanted - predicted, -MATCH_DOWN, MATCH_UP) * MATCH_STRENGTH
        return np.asarray(codes + step[:, None] * shapes.open_direction)

    def to_arrays(self) -> dict[str, Any]:
        """Flat arrays for an npz."""
        arrays: dict[str, Any] = {f"space.{name}": value for name, value in vars(self.space).items()}
        arrays |= {f"kernel.{name}": value for name, value in vars(self.kernel).items()}
        for number, weights in enumerate(self.networks):
            arrays |= {f"network{number}.{name}": value for name, value in weights.items()}
        for label, statistics in (("whisper_home", self.whisper_home), ("mel_home", self.mel_home)):
            arrays |= {f"{label}.{name}": value for name, value in vars(statistics).items()}
        for name in ("input_mean", "input_deviation", "code_mean", "code_scale", "open_predicted"):
            arrays[f"own.{name}"] = getattr(self, name)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SpeechToShape:
        """What ``to_arrays`` gave."""

        def group(label: str) -> dict[str, Any]:
            start = f"{label}."
            return {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}

        return cls(
            space=InputSpace(**group("space")),
            kernel=KernelRegression(**group("kernel")),
            networks=tuple(group(f"network{number}") for number in range(len(SEEDS))),
            whisper_home=Statistics(**group("whisper_home")),
            mel_home=Statistics(**group("mel_home")),
            **group("own"),
        )
