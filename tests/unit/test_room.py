"""The room of a recording: its echo, how it is found, and that a clone speaks in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modules.media import PAUSE, Phone
from modules.voice_clone.builtin.room import AUDIBLE_DB, SAMPLE_RATE, FallMeter, Room, echoed, find_room
from modules.voice_clone.builtin.synthesis import finish
from modules.voice_clone.builtin.voice import FILE, LearntVoice


def syllables(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Vowel-like tones of changing pitch that end at once, five a second."""
    chance = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    time = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    for start in range(0, len(sound) - len(time), SAMPLE_RATE // 5):
        pitch = chance.uniform(90, 160)
        tone = sum(np.sin(2 * np.pi * pitch * k * time + chance.uniform(0, 6)) / k for k in range(1, 50))
        sound[start : start + len(time)] = 0.05 * tone * np.minimum(1, (time[-1] - time) / 0.004)
    return sound


def other_room(reverberation: float, direct: float) -> np.ndarray:
    """An echo that is not the studio's own: another noise, duller, whole."""
    time = np.arange(round(reverberation * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(99).standard_normal(len(time) + 1)
    echo = (noise[1:] + 0.5 * noise[:-1]) * 10 ** (-3 * time / reverberation)
    echo[: SAMPLE_RATE // 200] = 0
    echo *= 10 ** (-direct / 20) / np.sqrt((echo**2).sum())
    echo[0] = 1
    return echo.astype(np.float32)


def test_an_echo_has_the_asked_level_and_dies_away_in_the_asked_time() -> None:
    room = Room(0.5, 3.0)
    echo = room.response()
    assert echo[0] == 1.0
    assert len(echo) == round(0.5 * AUDIBLE_DB / 60 * SAMPLE_RATE)
    assert 10 * np.log10(1 / (echo[1:] ** 2).sum()) == pytest.approx(3.0, abs=1e-3)
    early, late = (float((part**2).mean()) for part in np.split(echo[240 : 240 + 2 * 2400], 2))
    assert 10 * np.log10(early / late) == pytest.approx(0.1 / 0.5 * 60, abs=1.0)
    assert 10 * np.log10((echo[1:] ** 2).sum() / (room.response(0.5)[1:] ** 2).sum()) == pytest.approx(6.02, abs=0.01)


def test_a_sound_in_a_room_is_its_convolution_and_can_be_learnt_through() -> None:
    import torch

    sound, echo = syllables(0, 1.0), Room(0.4, 0.0).response()
    heard = torch.from_numpy(sound).requires_grad_(True)
    there = echoed(heard, torch.from_numpy(echo))
    assert there.detach().numpy() == pytest.approx(np.convolve(sound, echo), abs=1e-5)
    torch.autograd.backward(there[len(sound) - 1])
    assert heard.grad is not None
    assert heard.grad[-1] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("reverberation", [0.4, 0.7])
def test_a_room_is_found_in_other_words_and_none_in_a_dry_recording(reverberation: float) -> None:
    import torch

    dry = [torch.from_numpy(syllables(seed, 2.0)) for seed in (1, 2)]
    speech = syllables(3)

    def heard_in(response: np.ndarray) -> torch.Tensor:
        return echoed(torch.from_numpy(speech), torch.from_numpy(response))

    assert find_room(torch.from_numpy(speech), dry) is None
    assert find_room(heard_in(Room(0.2, 9.0).response()), dry) is None
    there = heard_in(other_room(reverberation, 0.0))
    found = find_room(there, dry)
    assert found is not None
    assert found.is_heard
    falls, response = FallMeter(), torch.from_numpy(found.response())
    ours = np.mean([falls(echoed(phrase, response)[: len(phrase)]) for phrase in dry], axis=0)
    assert np.abs(np.log(ours / falls(there))).mean() < 0.2


def test_a_sentence_dies_away_in_a_pause_at_its_usual_level() -> None:
    tone = np.sin(np.arange(24000) / 10).astype(np.float32) * 0.3
    phones = (Phone("a", 0.0, 1.0),)
    dry, there = finish(tone, phones), finish(tone, phones, Room(0.4, 3.0).response())
    assert dry.phones == phones
    assert there.phones is not None
    assert there.phones[:-1] == phones
    assert there.phones[-1] == Phone(PAUSE, 1.0, len(there.samples) / 24000)
    assert there.phones[-1].stop == pytest.approx(1.0 + 0.4 * AUDIBLE_DB / 60, abs=1e-3)
    assert np.sqrt((there.samples[:24000] ** 2).mean()) == pytest.approx(0.06, rel=1e-3)
    # The end is not cut off, and there is something before it.
    assert np.abs(there.samples[-240:]).max() < 0.1 * np.abs(there.samples[:24000]).max()
    assert np.abs(there.samples[24000:25200]).max() > 0.1 * np.abs(there.samples[:24000]).max()


def test_a_voice_keeps_its_room_and_older_ones_have_none(tmp_path: Path) -> None:
    voice = LearntVoice((0.5,) * 128, 123.4, 0.2, Room(0.4, 3.0))
    voice.save(tmp_path)
    assert LearntVoice.load(tmp_path) == voice
    (tmp_path / FILE).write_text(json.dumps({"timbre": [0.0] * 128, "pitch": 120.0}), encoding="utf-8")
    assert LearntVoice.load(tmp_path).room is None
