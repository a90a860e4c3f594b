"""The room that a person was recorded in: found by how slowly their sounds die away, and added to the clone's.

A room belongs to how a recording sounds. A dry clone beside it sounds like another microphone, and a clone that is
taught to sound alike without it puts the room into the timbre. The room is white noise that dies away exponentially
(Moorer 1979) behind the direct sound; which one it is, is tried out on spoken phrases (docs/quality/voice_recipe.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

SAMPLE_RATE = 24000
# Seconds until an echo has died away by 60 dB, and level of the direct sound over the whole echo in dB.
REVERBERATIONS = (0.15, 0.2, 0.3, 0.4, 0.55, 0.75)
DIRECT_DB = (12.0, 9.0, 6.0, 3.0, 0.0, -3.0)
# What is below was found for every dry recording: the network's own voices are drier than any microphone's.
# Adding so little made clones no more alike.
LEAST_REVERBERATION, MOST_DIRECT_DB = 0.3, 6.0
# The echo begins after this; what is softer than its beginning by more than AUDIBLE_DB is not kept.
FIRST_ECHO_SECONDS = 0.005
AUDIBLE_DB = 36.0
SEED = 0
# Transforms of such lengths are quick.
GRAIN = 240

FFT, HOP = 1200, 300
# Mel bands of 80 from 100 Hz to 7 kHz, and how many of them are taken together.
BANDS, GROUP = slice(5, 60), 5
# Falls of a band within 25, 50 and 100 ms, from where it is at most so far below the loudest moment in dB.
FALL_HOPS = (2, 4, 8)
LOUD_DB = 35.0
QUANTILES = (0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Room:
    """reverberation: seconds until an echo has fallen by 60 dB; direct: dB of the direct sound over the echo."""

    reverberation: float
    direct: float

    @property
    def is_heard(self) -> bool:
        """Whether it is more than what any microphone near a mouth takes up."""
        return self.reverberation >= LEAST_REVERBERATION and self.direct <= MOST_DIRECT_DB

    def response(self, share: float = 1.0) -> Floats:
        """Impulse response at 24 kHz, the direct sound first and 1. share: of the echo's amplitude."""
        time = np.arange(round(self.reverberation * AUDIBLE_DB / 60 * SAMPLE_RATE)) / SAMPLE_RATE
        echo = np.random.default_rng(SEED).standard_normal(len(time)) * 10 ** (-3 * time / self.reverberation)
        echo[time < FIRST_ECHO_SECONDS] = 0
        echo *= share * 10 ** (-self.direct / 20) / np.sqrt((echo**2).sum())
        echo[0] = 1.0
        return echo.astype(np.float32)


def echoed(sound: Tensor, response: Tensor) -> Tensor:
    """The sound (samples,) in a room, longer by what dies away after it: samples + response - 1; differentiable."""
    import torch

    length = len(sound) + len(response) - 1
    quick = -(-length // GRAIN) * GRAIN
    return torch.fft.irfft(torch.fft.rfft(sound, quick) * torch.fft.rfft(response, quick), quick)[:length]


def find_room(speech: Tensor, dry: Sequence[Tensor]) -> Room | None:
    """The room that ``speech`` was recorded in, None where none can be heard. dry: phrases without a room.

    All (samples,) at 24 kHz.
    """
    import torch

    meter = FallMeter()
    wanted = np.log(meter(speech))

    def distance(room: Room) -> float:
        response = torch.from_numpy(room.response())
        there = np.mean([meter(echoed(phrase, response)[: len(phrase)]) for phrase in dry], axis=0)
        return float(np.abs(np.log(there) - wanted).mean())

    nearest = min((Room(*one) for one in product(REVERBERATIONS, DIRECT_DB)), key=distance)
    return nearest if nearest.is_heard else None


class FallMeter:
    """How fast a sound dies away at its fastest."""

    def __init__(self) -> None:
        import torch

        from modules.speech.speaker import mel_filters

        self._filters = mel_filters(SAMPLE_RATE, FFT, 80, SAMPLE_RATE / 2)[BANDS]
        self._window = torch.hann_window(FFT)

    def __call__(self, sound: Tensor) -> NDArray[np.float64]:
        """The sound (samples,) -> dB that bands fall within each of FALL_HOPS, at each of QUANTILES."""
        import torch

        power = torch.stft(sound, FFT, HOP, window=self._window, return_complex=True).abs().square()
        levels = 10 * np.log10((self._filters @ power).numpy() + 1e-8)
        levels = (levels - levels.max()).reshape(-1, GROUP, levels.shape[1]).mean(1)
        found = []
        for hops in FALL_HOPS:
            change = levels[:, hops:] - levels[:, :-hops]
            found.append(-np.quantile(change[levels[:, :-hops] > -LOUD_DB], QUANTILES))
        return np.maximum(np.concatenate(found), 1e-3)
