"""Noise: how much there is, and two ways against it that make up for each other. Clean sound is better left alone.

RNNoise (Valin 2018) hears what is speech, but takes the echo of a room for noise, and 4 to 6 dB of the voice with it.
The log-spectral amplitude estimator (Ephraim and Malah 1985) keeps the echo, but knows only steady noise, whose
spectrum it takes from the pauses, and rustles. Parts of both gains multiplied leave the voice most like itself
(docs/quality/voice_recipe.md).
"""

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

# The power of each gain that is applied.
HEARD_SHARE, STEADY_SHARE = 0.5, 0.4
WINDOW, HOP = 1920, 480
# The pauses begin and end this far from speech.
MARGIN_SECONDS = 0.1
# How much the last moment's speech counts in the expected one, and the least ratio and gain, in power and amplitude.
MEMORY = 0.98
LEAST_RATIO, LEAST_GAIN = 10**-2.5, 10**-1.25
SMOOTHED_BINS = 11


def signal_to_noise(sound: Floats, sample_rate: int, speech: list[Span]) -> float:
    """Ratio of speech to noise in dB, at most 60.

    The noise is the usual level outside ``speech``: the median, because echoes of the voice and breaths are
    there too. Where there is hardly anything outside, it is the quietest moments of all.
    """
    outside = _outside(len(sound), sample_rate, speech)
    voice = float((cut(sound, sample_rate, speech) ** 2).mean())
    if outside.sum() >= LEAST_SILENCE_SECONDS * sample_rate:
        noise = float(np.median(_powers(sound[outside], sample_rate)))
    else:
        noise = float(np.percentile(_powers(sound, sample_rate), QUIETEST_SHARE))
    return float(min(HIGHEST_DB, 10 * np.log10(max(voice - noise, 1e-12) / max(noise, 1e-12))))


def _outside(length: int, sample_rate: int, speech: list[Span], margin: float = 0.0) -> NDArray[np.bool_]:
    """Which samples are further than ``margin`` seconds from speech."""
    outside = np.ones(length, bool)
    for span in speech:
        outside[max(0, round((span.start - margin) * sample_rate)) : round((span.stop + margin) * sample_rate)] = False
    return outside


def _powers(sound: Floats, sample_rate: int) -> Floats:
    """Mean square of every 20 ms."""
    frame = sample_rate // 50
    return np.asarray((sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2).mean(1), np.float32)


def denoise(sound: Floats, speech: list[Span]) -> Floats:
    """The sound with less noise, same length, in step with the original. sound: mono at 48 kHz, speech: where in it."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(np.sqrt(hann(WINDOW, sym=False)), HOP, SAMPLE_RATE)
    noisy = transform.stft(sound).astype(np.complex64)
    heard = np.abs(transform.stft(_rnnoise(sound))).astype(np.float32)
    gain = np.minimum(heard / (np.abs(noisy) + 1e-9), 1) ** HEARD_SHARE
    # Frame k of the transform is centred on sample (k + p_min) * HOP.
    outside = _outside(len(sound), SAMPLE_RATE, speech, MARGIN_SECONDS + WINDOW / 2 / SAMPLE_RATE)
    centres = (np.arange(noisy.shape[1]) + transform.p_min) * HOP
    pauses = outside[np.clip(centres, 0, len(sound) - 1)] & (centres >= 0) & (centres < len(sound))
    gain *= _steady_gain(np.abs(noisy) ** 2, pauses) ** STEADY_SHARE
    return np.asarray(transform.istft(noisy * gain, k1=len(sound)), np.float32)


def _rnnoise(sound: Floats) -> Floats:
    from pyrnnoise import RNNoise

    padded = np.concatenate([sound, np.zeros(DELAY, np.float32)])
    whole = (np.clip(padded, -1, 1) * 32767).astype(np.int16)
    frames = [frame[0] for _, frame in RNNoise(SAMPLE_RATE).denoise_chunk(whole[None], partial=True)]
    cleaned = np.concatenate(frames)[DELAY : DELAY + len(sound)].astype(np.float32) / 32768
    return np.pad(cleaned, (0, len(sound) - len(cleaned)))


def _steady_gain(power: Floats, pauses: NDArray[np.bool_]) -> Floats:
    """Gains (bins, frames) of the log-spectral amplitude estimator with decision-directed ratio, for the same shape.

    pauses: (frames,), where only the noise is heard; where that is hardly ever, the quietest frames stand for it.
    """
    from scipy.ndimage import convolve1d
    from scipy.special import exp1

    least = int(LEAST_SILENCE_SECONDS * SAMPLE_RATE / HOP)
    if pauses.sum() < least:
        level = power.sum(0)
        pauses = level <= np.sort(level)[min(max(least, len(level) * QUIETEST_SHARE // 100), len(level) - 1)]
    weights = np.hanning(SMOOTHED_BINS + 2)[1:-1]
    noise = convolve1d(power[:, pauses].mean(1), weights / weights.sum(), mode="nearest") + 1e-12
    gains = np.empty_like(power)
    kept = np.zeros(len(power), np.float32)
    for frame in range(power.shape[1]):
        ratio = np.minimum(power[:, frame] / noise, 1e4)
        expected = np.maximum(MEMORY * kept / noise + (1 - MEMORY) * np.maximum(ratio - 1, 0), LEAST_RATIO)
        speech = expected / (1 + expected)
        gains[:, frame] = np.minimum(speech * np.exp(0.5 * exp1(np.maximum(speech * ratio, 1e-3))), 1)
        kept = gains[:, frame] ** 2 * power[:, frame]
    return np.maximum(gains, LEAST_GAIN)
