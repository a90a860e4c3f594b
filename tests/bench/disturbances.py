"""What a room adds to a recording, made from a seed: pink noise, and music of chords and drums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Semitones above A3 (220 Hz) of a common progression: I, V, vi, IV.
CHORDS = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))
BEAT_SECONDS = 0.5
BEATS_A_CHORD = 4
OVERTONES = 6


def pink_noise(samples: int, seed: int) -> Floats:
    """Noise whose power falls by 3 dB an octave, RMS 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), samples)
    return (noise / np.sqrt((noise**2).mean())).astype(np.float32)


def music(samples: int, rate: int, seed: int) -> Floats:
    """Chords that swell and fade, a bass, a drum on every beat and a hi-hat between, RMS 1."""
    chance = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    beat = time / BEAT_SECONDS
    chord = (beat // BEATS_A_CHORD).astype(int) % len(CHORDS)
    since_beat, since_chord = (beat % 1) * BEAT_SECONDS, (beat % BEATS_A_CHORD) * BEAT_SECONDS
    sound = np.zeros(samples)
    for voice in range(3):
        hz = 220.0 * 2 ** (np.array([notes[voice] for notes in CHORDS])[chord] / 12)
        turns = np.cumsum(hz) / rate + chance.random()
        for overtone in range(1, OVERTONES + 1):
            sound += np.sin(2 * np.pi * overtone * turns) / overtone * np.exp(-since_chord) * 0.3
    bass = 55.0 * 2 ** (np.array([notes[0] for notes in CHORDS])[chord] / 12)
    sound += np.sin(2 * np.pi * np.cumsum(bass) / rate) * np.exp(-3 * since_beat)
    sound += np.sin(2 * np.pi * 60 * since_beat * np.exp(-8 * since_beat)) * np.exp(-12 * since_beat) * 1.5
    sound += chance.standard_normal(samples) * np.exp(-60 * ((since_beat + BEAT_SECONDS / 2) % BEAT_SECONDS)) * 0.5
    return (sound / np.sqrt((sound**2).mean())).astype(np.float32)


def disturbed(sound: Floats, speech_power: float, disturbance: Floats, db: float) -> Floats:
    """``sound`` with a disturbance of RMS 1 added, ``db`` below speech of mean square ``speech_power``."""
    mixed = sound + disturbance * np.float32(np.sqrt(speech_power) * 10 ** (-db / 20))
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), np.float32)
