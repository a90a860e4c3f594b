"""Voice activity, noise, pitch and the choice of the reference passage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modules import media
from modules.errors import StudioError
from modules.progress import Progress
from modules.settings import ROOT
from modules.speech.denoise import _rnnoise, denoise, signal_to_noise
from modules.speech.extract import extract
from modules.speech.passage import Likeness, best_passage, likeness
from modules.speech.pitch import median_pitch, melody, pitch_track
from modules.speech.transcribe import TimedWord, simplified
from modules.speech.vad import Span, cut, find_speech


def buzz(seconds: float, hz: float, rate: int) -> np.ndarray:
    """A voiced sound: harmonics that fall off like a glottis's."""
    time = np.arange(round(seconds * rate)) / rate
    return sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 20)).astype(np.float32) * 0.1


def test_silence_and_noise_are_no_speech() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 32000).astype(np.float32)
    assert find_speech(np.zeros(32000, np.float32)) == []
    assert find_speech(noise) == []


def test_cut_joins_spans() -> None:
    sound = np.arange(100, dtype=np.float32)
    assert cut(sound, 10, [Span(1.0, 1.5), Span(9.0, 9.2)]).tolist() == [10, 11, 12, 13, 14, 90, 91]
    assert len(cut(sound, 10, [])) == 0


@pytest.mark.parametrize("hz", [80.0, 120.0, 210.0, 330.0])
def test_pitch_of_a_voice(hz: float) -> None:
    assert median_pitch(buzz(1.0, hz, 24000), 24000) == pytest.approx(hz, rel=0.01)


def test_melody_forgets_octave_errors() -> None:
    low, high = buzz(2.0, 110.0, 24000), buzz(0.3, 400.0, 24000)
    found = melody(np.concatenate([low, high]), 24000)
    assert found is not None
    assert found.pitch == pytest.approx(110.0, rel=0.01)
    assert found.spread < 0.02
    assert melody(np.zeros(24000, np.float32), 24000) is None


def test_pitch_of_noise_is_unvoiced() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32)
    assert (pitch_track(noise, 24000) > 0).mean() < 0.1
    assert median_pitch(np.zeros(24000, np.float32), 24000) == 0
    assert median_pitch(np.zeros(10, np.float32), 24000) == 0


@pytest.mark.parametrize("db", [5.0, 20.0, 35.0])
def test_signal_to_noise_is_what_was_mixed(db: float) -> None:
    voice = np.zeros(48000 * 4, np.float32)
    voice[48000:144000] = buzz(2.0, 150, 48000)
    level = np.sqrt((voice[48000:144000] ** 2).mean()) / 10 ** (db / 20)
    noise = np.random.default_rng(1).normal(0, level, len(voice)).astype(np.float32)
    assert signal_to_noise(voice + noise, 48000, [Span(1.0, 3.0)]) == pytest.approx(db, abs=1.0)


def test_denoise_keeps_length_and_lowers_noise() -> None:
    noise = np.random.default_rng(2).normal(0, 0.02, 48000 * 2 + 123).astype(np.float32)
    cleaned = denoise(noise, [])
    assert cleaned.shape == noise.shape
    assert np.sqrt((cleaned[24000:] ** 2).mean()) < 0.3 * np.sqrt((noise[24000:] ** 2).mean())


def test_denoise_stays_in_step(shared_media: Path | None) -> None:
    if shared_media is None:
        pytest.skip("needs a clip of real speech")
    sound = media.read_sound(shared_media / "speech_zh_man_10s.wav", 48000, duration=4.0)
    cleaned = denoise(sound, [Span(0.0, 4.0)])
    middle = slice(48000, 48000 * 3)
    best = max(range(-960, 961, 40), key=lambda lag: float(np.dot(sound[middle], np.roll(cleaned, lag)[middle])))
    assert abs(best) <= 80


def test_denoise_keeps_more_of_the_echo_of_a_room_than_rnnoise_alone(shared_media: Path | None) -> None:
    if shared_media is None:
        pytest.skip("needs a clip of real speech")
    voice = media.read_sound(shared_media / "speech_zh_man_10s.wav", 48000, duration=5.0)
    time = np.arange(24000) / 48000
    echo = np.random.default_rng(3).standard_normal(24000) * 10 ** (-3 * time / 0.5)
    echo = np.concatenate([[1.0], np.zeros(240), echo / np.sqrt((echo**2).sum())])
    voice = np.concatenate([np.zeros(48000), np.convolve(voice, echo)]).astype(np.float32)
    noise = np.random.default_rng(4).normal(0, np.sqrt((voice**2).mean()) / 10 ** (10 / 20), len(voice))
    mixed = (voice + noise).astype(np.float32)
    cleaned, alone = denoise(mixed, [Span(1.0, len(voice) / 48000)]), _rnnoise(mixed)
    assert 10 * np.log10((noise[4800:38400] ** 2).mean() / (cleaned[4800:38400] ** 2).mean()) > 20
    assert 10 * np.log10((cleaned[48000:] ** 2).mean() / (alone[48000:] ** 2).mean()) > 1


def words(*timed: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(text, start, stop, 0.9) for text, start, stop in timed]


def test_passage_is_the_whole_sentence_of_the_main_speaker() -> None:
    spoken = words(
        ("Hm", 0.0, 0.8),
        (" one", 2.0, 3.0), (" two", 3.0, 4.5), (" three", 4.5, 6.0), (" four.", 6.0, 7.5),
        (" five", 9.0, 10.0), (" six", 10.0, 12.0), (" seven.", 12.0, 14.0),
    )  # fmt: skip
    alike = Likeness(np.array([1, 4, 6, 10, 12], np.float32), np.array([0.8, 0.95, 0.95, 0.6, 0.6], np.float32))
    passage = best_passage(spoken, [Span(0.0, 14.5)], alike)
    assert passage.text == "one two three four."
    assert passage.span.start == pytest.approx(1.88)
    assert 3 <= passage.span.seconds <= 10


def test_passage_without_words_is_a_stretch_of_speech() -> None:
    alike = Likeness(np.array([2.0], np.float32), np.array([1.0], np.float32))
    passage = best_passage([], [Span(1.0, 30.0)], alike)
    assert passage.text == ""
    assert passage.span.seconds <= 10.5


def test_two_speakers_are_noticed() -> None:
    # A constant sound of 1 is one person, of -1 another.
    def embed(sound: np.ndarray) -> np.ndarray:
        return np.array([1.0, 0.0]) if sound.mean() > 0 else np.array([0.4, np.sqrt(1 - 0.16)])

    one = np.ones(240, np.float32)
    both = np.concatenate([np.ones(160, np.float32), -np.ones(80, np.float32)])
    spans = [Span(0.0, 10.0), Span(12.0, 26.0)]
    assert likeness(one, 10, spans, embed).one_speaker
    found = likeness(both, 10, spans, embed)
    assert not found.one_speaker
    assert found.over(Span(0.0, 8.0)) > found.over(Span(22.0, 26.0))
    # The second half of the joined speech lies after the pause in the clip.
    assert found.centres.max() > 20


@pytest.mark.parametrize(
    ("clips", "alone"),
    [
        (("talk_man_20s.mp4",), True),
        (("talk_woman_10s.mp4",), True),
        (("speech_zh_man_10s.wav",), True),
        (("speech_en_a.wav",), True),
        (("talk_man_20s.mp4", "talk_woman_10s.mp4"), False),
        (("speech_zh_man_10s.wav", "talk_man_20s.mp4"), False),
    ],
)
@pytest.mark.slow
def test_two_people_in_a_clip_are_told_from_a_lively_one(
    shared_media: Path | None, clips: tuple[str, ...], alone: bool
) -> None:
    if shared_media is None or not (ROOT / "models" / "resemblyzer").is_dir():
        pytest.skip("needs the shared clips and the weights")
    import torch

    from modules.speech.speaker import load_speaker_encoder
    from modules.speech.vad import cut, find_speech

    encoder = load_speaker_encoder(ROOT / "models" / "resemblyzer")

    def embed(sound: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return encoder(torch.from_numpy(np.ascontiguousarray(sound))).numpy()

    sound = np.concatenate([media.read_sound(shared_media / clip, 24000, duration=10.0) for clip in clips])
    speech = find_speech(media.resample(sound, 24000, 16000))
    assert likeness(cut(sound, 24000, speech), 24000, speech, embed).one_speaker == alone


def test_echoes_in_the_pauses_are_no_noise() -> None:
    # Speech, then its echo dying away, then quiet: the usual pause counts, not its loudest moment.
    chance = np.random.default_rng(0)
    fading = np.exp(-np.arange(96000) / 6000)
    sound = np.concatenate([np.ones(96000), fading]) * chance.standard_normal(192000) * 0.1
    sound += 0.001 * chance.standard_normal(192000)
    assert signal_to_noise(sound.astype(np.float32), 48000, [Span(0.0, 2.0)]) > 35


def test_traditional_becomes_simplified() -> None:
    assert simplified("後來還有頭髮") == "后来还有头发"


def test_silence_has_no_speech(tmp_path: Path) -> None:
    media.write_wav(tmp_path / "silence.wav", np.zeros(48000, np.float32), 48000)
    with pytest.raises(StudioError, match="no_speech"):
        extract(tmp_path / "silence.wav", tmp_path, ROOT / "models", 1, Progress())


def test_a_mute_film_has_no_sound(tmp_path: Path) -> None:
    with media.VideoWriter(tmp_path / "mute.mp4", 64, 64, media.ColorTags()) as film:
        for _ in range(50):
            film.write(np.full((96, 64), 128, np.uint8))
    with pytest.raises(StudioError, match="no_sound"):
        extract(tmp_path / "mute.mp4", tmp_path, ROOT / "models", 1, Progress())


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "models" / "whisper-base").is_dir(), reason="Whisper is not in models/")
@pytest.mark.parametrize("noisy", [False, True])
def test_extraction_of_a_real_clip(tmp_path: Path, shared_media: Path | None, noisy: bool) -> None:
    if shared_media is None:
        pytest.skip("needs a clip of real speech")
    sound = media.read_sound(shared_media / "speech_zh_man_10s.wav", 48000)
    if noisy:
        level = np.sqrt((sound**2).mean()) / 10 ** (8 / 20)
        sound = sound + np.random.default_rng(0).normal(0, level, len(sound)).astype(np.float32)
    media.write_wav(tmp_path / "clip in.wav", sound, 48000)
    found = extract(tmp_path / "clip in.wav", tmp_path, ROOT / "models", 2, Progress())
    assert found.language == "zh"
    assert found.denoised == noisy
    assert (found.noise_db < 20) == noisy
    assert 6 < found.speech_seconds < 10
    assert "苹果" in found.transcript
    clip, timbre = media.read_wav(tmp_path / found.clip), media.read_wav(tmp_path / found.cleaned)
    assert 3 <= len(clip.samples) / clip.sample_rate <= 10
    assert len(clip.samples) / clip.sample_rate == pytest.approx(found.clip_stop - found.clip_start, abs=0.02)
    assert len(timbre.samples) / timbre.sample_rate == pytest.approx(found.speech_seconds, abs=0.1)
    keys = {finding["key"] for finding in found.to_dict()["findings"]}
    assert keys == {"check.voice.noisy" if noisy else "check.voice.good"}
