"""The built-in voice engine's own mathematics: packs, start, style, network blocks, sentences, sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modules.errors import StudioError
from modules.progress import Progress
from modules.speech.listen_back import Verdict
from modules.voice_clone.builtin import engine
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary
from modules.voice_clone.builtin.synthesis import finish
from modules.voice_clone.builtin.voice import FILE, HIGH, LOW, LearntVoice


def test_packs_hold_54_voices_of_256_numbers() -> None:
    packs = voice_packs()
    assert len(packs.names) == len(set(packs.names)) == 54
    assert {name for p in (*LOW.values(), *HIGH.values()) for name in p.packs} <= set(packs.names)
    assert packs.style("af_heart", 30).shape == (256,)
    assert packs.timbres().shape == (54, 128)
    for pitch in (90.0, 220.0):
        norms = np.linalg.norm(packs.embeddings(pitch), axis=1)
        assert norms == pytest.approx(np.ones(54), abs=1e-2)


def test_style_follows_the_sentence_length_and_stops_at_the_longest() -> None:
    packs = voice_packs()
    assert np.abs(packs.style("zf_xiaoxiao", 5) - packs.style("zf_xiaoxiao", 200)).max() > 0.01
    assert (packs.style("zf_xiaoxiao", 511) == packs.style("zf_xiaoxiao", 5000)).all()
    assert (packs.style("zf_xiaoxiao", 2) == packs.style("zf_xiaoxiao", 0)).all()


@pytest.mark.parametrize("pitch", [110.0, 210.0])
def test_convex_start_finds_a_known_mix(pitch: float) -> None:
    from modules.voice_clone.builtin.enrolment import convex_start, mixed_timbre

    packs = voice_packs()
    table = packs.embeddings(pitch)
    wanted = {"am_adam": 0.6, "zf_xiaoxiao": 0.4}
    mix = sum(share * table[packs.names.index(name)] for name, share in wanted.items())
    shares = convex_start(mix / np.linalg.norm(mix), packs, pitch)
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.01)
    assert len(shares) <= 5
    assert set(wanted) <= set(shares)
    timbre = mixed_timbre({"am_adam": 0.5, "af_sky": 0.5}, packs)
    both = [packs.timbres()[packs.names.index(name)] for name in ("am_adam", "af_sky")]
    assert timbre == pytest.approx(np.mean(both, axis=0), abs=1e-6)


def test_prosody_follows_language_and_pitch() -> None:
    low, high = LearntVoice((0.5,) * 128, 120.0), LearntVoice((0.5,) * 128, 220.0)
    assert low.prosody("zh") == LOW["zh"]
    assert high.prosody("en") == HIGH["en"]
    assert high.mixed() == ("zh", "en")
    both = low.style(voice_packs(), low.mixed()[0], 40)[128:]
    alone = [low.style(voice_packs(), language, 40)[128:] for language in ("zh", "en")]
    assert both == pytest.approx(np.mean(alone, axis=0), abs=1e-6)
    packs = voice_packs()
    style = low.style(packs, "zh", 40)
    assert (style[:128] == 0.5).all()
    assert style[128:] == pytest.approx(packs.prosody(LOW["zh"].packs[0], 40), abs=1e-6)
    assert low.tuned(np.array([LOW["en"].pitch]), "en") == pytest.approx([120.0])
    assert low.tuned(np.array([LOW["en"].pitch]), "en", factor=2.0) == pytest.approx([240.0])


def test_learnt_voice_survives_the_disk(tmp_path: Path) -> None:
    voice = LearntVoice(tuple(np.linspace(-1, 1, 128).tolist()), 123.4, 0.2)
    voice.save(tmp_path)
    assert LearntVoice.load(tmp_path) == voice
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_a_voice_from_before_melodies_were_measured_keeps_the_lent_one(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"timbre": [0.0] * 128, "pitch": 120.0}), encoding="utf-8")
    lent = LOW["zh"].pitch * np.array([0.5, 1.0, 2.0])
    assert LearntVoice.load(tmp_path).tuned(lent, "zh") == pytest.approx([60.0, 120.0, 240.0])


@pytest.mark.parametrize(("spread", "reach"), [(0.01, 0.8), (0.21, 1.0), (0.9, 1.25)])
def test_melody_reaches_as_far_as_the_person_within_limits(spread: float, reach: float) -> None:
    voice = LearntVoice((0.0,) * 128, 120.0, spread)
    lent = LOW["en"].pitch * np.array([0.5, 1.0, 2.0])
    assert voice.tuned(lent, "en") == pytest.approx(120.0 * np.array([0.5, 1.0, 2.0]) ** reach)


def test_views_are_what_they_say() -> None:
    import torch

    from modules.voice_clone.builtin.views import band, played, views

    low, high = (torch.sin(2 * torch.pi * hz * torch.arange(24000) / 24000) for hz in (200.0, 2000.0))
    assert len(list(views(low + high))) == 9
    kept = band(low + high, 900.0, 12000.0)
    assert float(kept @ high) / 12000 > 0.9 and abs(float(kept @ low)) / 12000 < 0.1
    fast = played(low, 1.2).numpy()
    assert len(fast) == pytest.approx(20000, abs=30)
    assert np.abs(np.fft.rfft(fast)).argmax() * 24000 / len(fast) == pytest.approx(240.0, abs=2.0)
    assert np.abs(fast).max() == pytest.approx(1.0, abs=0.05)


def test_a_voice_that_is_not_understood_is_not_kept() -> None:
    from modules.voice_clone.builtin.enrolment import accepted

    start, early, last = (np.full(128, value, np.float32) for value in (0.0, 1.0, 2.0))
    distances = {0.0: 0.9, 1.0: 0.5, 2.0: 0.4}

    class Learner:
        def say(self, timbre: np.ndarray, phrase: object) -> tuple[np.ndarray, float]:
            return np.sin(np.arange(2400, dtype=np.float32)), distances[float(timbre[0])]

    def listener(clear: list[float]) -> object:
        heard = iter(clear)
        return lambda *_: Verdict(None, next(heard), ())

    def chosen(clear: list[float]) -> float:
        return float(accepted(Learner(), [last, early, start], [None, None], listener(clear), None, Progress())[0])

    assert chosen([1.0, 0.9]) == 2.0
    assert chosen([1.0, 0.3, 0.8, 0.8]) == 1.0
    assert chosen([0.3, 0.2]) == 0.0
    distances[2.0] = 0.95
    assert chosen([1.0, 1.0]) == 1.0


def test_snake_block_has_the_gradient_that_autograd_finds() -> None:
    import torch

    from modules.voice_clone.builtin.decoder import NORM_EPSILON, _StyledSnake

    torch.manual_seed(0)
    x = torch.randn(2, 3, 1, 11, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(2, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(2, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    alpha = torch.rand(1, 3, 1, 1, dtype=torch.float64) + 0.5
    y = torch.nn.functional.instance_norm(x, eps=NORM_EPSILON) * scale + shift
    plain = y + torch.sin(alpha * y).square() / alpha
    assert torch.allclose(_StyledSnake.apply(x, scale, shift, alpha), plain)
    assert torch.autograd.gradcheck(lambda *given: _StyledSnake.apply(*given, alpha), (x, scale, shift))


def test_flat_convolutions_take_the_weights_of_plain_ones_and_give_the_same() -> None:
    import torch
    from torch import nn

    from modules.voice_clone.builtin.decoder import FlatConv, FlatTranspose

    torch.manual_seed(0)
    sound = torch.randn(2, 3, 40)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (nn.Conv1d(3, 5, 7, 2, padding=9, dilation=3), FlatConv(3, 5, 7, 2, padding=9, dilation=3)),
        (nn.ConvTranspose1d(3, 5, 8, 4, padding=2), FlatTranspose(3, 5, 8, 4, padding=2)),
    ]
    for plain, flat in pairs:
        flat.load_state_dict(plain.state_dict())
        assert torch.allclose(flat(sound.unsqueeze(2)).squeeze(2), plain(sound), atol=1e-5)


def test_mel_filters_are_slaneys() -> None:
    import librosa

    from modules.speech.speaker import mel_filters

    ours = mel_filters(24000, 600, 40, 8000.0).numpy()
    assert np.abs(ours - librosa.filters.mel(sr=24000, n_fft=600, n_mels=40, fmax=8000)).max() < 1e-6


def test_spectrum_ignores_the_level_and_missing_bands() -> None:
    import torch

    from modules.voice_clone.builtin.enrolment import SpectrumMeter, recorded_bands

    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, 0.1, 24000).astype(np.float32))
    meter = SpectrumMeter()
    full = meter(noise)
    bands = recorded_bands(full)
    assert bands.all()
    assert float(full.distance(meter(noise * 0.1), bands)) < 1e-3
    spectrum = torch.fft.rfft(noise)
    spectrum[len(spectrum) // 2 :] = 0
    narrow = recorded_bands(meter(torch.fft.irfft(spectrum, len(noise))))
    assert narrow[:50].all()
    assert not narrow[70:].any()


def test_sound_is_trimmed_and_level() -> None:
    tone = np.sin(np.arange(24000) / 10).astype(np.float32) * 0.3
    sound = finish(np.concatenate([np.zeros(12000, np.float32), tone, np.zeros(24000, np.float32)])).samples
    assert 24000 <= len(sound) <= 24000 + 2 * 720
    assert np.sqrt((sound**2).mean()) == pytest.approx(0.06, rel=1e-3)
    click = np.full(48000, 0.005, np.float32) * np.sign(np.sin(np.arange(48000))).astype(np.float32)
    click[100] = 1.0
    assert np.abs(finish(click).samples).max() <= 0.97 + 1e-6
    assert len(finish(np.zeros(1000, np.float32)).samples) == 0


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    letters = "abcdefghijklmnopqrstuvwxyz ,.;!?ˈˌəɪʊɛæɹðŋʃʤʧθʌɔɑɜᵊᵻAIOQWY→↗↘↓ʨɕꭧʦʰɤ"
    (tmp_path / "vocab.json").write_text(json.dumps({"vocab": {c: k + 1 for k, c in enumerate(letters)}}))
    return Vocabulary(tmp_path)


def test_tokens_stand_between_end_marks(vocabulary: Vocabulary) -> None:
    assert vocabulary.tokens("a☃b") == [0, 1, 2, 0]
    assert len(vocabulary.tokens("a" * 900)) == 512


def test_broken_vocabulary_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("not json")
    with pytest.raises(StudioError) as caught:
        Vocabulary(tmp_path)
    assert caught.value.code == "weights_broken"
    assert "vocab.json" in str(caught.value.values["file"])


def test_sentences_are_cut_at_their_ends_and_long_ones_at_commas(vocabulary: Vocabulary) -> None:
    assert len(list(engine._sentences("One is here! Two? Three.", "en", vocabulary))) == 3
    assert len(list(engine._sentences("今天天气很好。我们去公园！", "zh", vocabulary))) == 2
    assert list(engine._sentences("。。。 ……", "zh", vocabulary)) == []
    assert list(engine._sentences("🙂 안녕", "zh", vocabulary)) == []
    assert len(list(engine._sentences("It costs 3.5 dollars at Dr. Smith.", "en", vocabulary))) == 1
    long = "，".join(["我们今天一起去公园里散步"] * 30) + "。"
    pieces = list(engine._sentences(long, "zh", vocabulary))
    assert len(pieces) > 1
    assert all(len(piece) <= 512 for piece in pieces)
