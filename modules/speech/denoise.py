"""Noise: how much there is, and RNNoise (Valin 2018) against it. Clean sound is better left alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modules.speech.vad import Span, cut

Floats = NDArray[np.float32]

SAMPLE_RATE = 48000
# Two frames of RNNoise, measured.
DELAY = 960
HELPS_BELOW_DB = 20.0
HIGHEST_DB = 60.0
LEAST_SILENCE_SECONDS = 0.2
QUIETEST_SHARE = 5


def signal_to_noise(sound: Floats, sample_rate: int, speech: list[Span]) -> float:
    """Ratio of speech to noise in dB, at most 60.

    The noise is the usual level outside ``speech``: the median, because echoes of the voice and breaths are
    there too. Where there is hardly anything outside, it is the quietest moments of all.
    """
    outside = np.ones(len(sound), bool)
    for span in speech:
        outside[round(span.start * sample_rate) : round(span.stop * sample_rate)] = False
    voice = float((cut(sound, sample_rate, speech) ** 2).mean())
    if outside.sum() >= LEAST_SILENCE_SECONDS * sample_rate:
        noise = float(np.median(_powers(sound[outside], sample_rate)))
    else:
        noise = float(np.percentile(_powers(sound, sample_rate), QUIETEST_SHARE))
    return float(min(HIGHEST_DB, 10 * np.log10(max(voice - noise, 1e-12) / max(noise, 1e-12))))


def _powers(sound: Floats, sample_rate: int) -> Floats:
    """Mean square of every 20 ms."""
    frame = sample_rate // 50
    return np.asarray((sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2).mean(1), np.float32)


def denoise(sound: Floats) -> Floats:
    """The sound without its noise, same length, in step with the original. sound: mono at 48 kHz."""
    from pyrnnoise import RNNoise

    padded = np.concatenate([sound, np.zeros(DELAY, np.float32)])
    whole = (np.clip(padded, -1, 1) * 32767).astype(np.int16)
    frames = [frame[0] for _, frame in RNNoise(SAMPLE_RATE).denoise_chunk(whole[None], partial=True)]
    cleaned = np.concatenate(frames)[DELAY : DELAY + len(sound)].astype(np.float32) / 32768
    return np.pad(cleaned, (0, len(sound) - len(cleaned)))
