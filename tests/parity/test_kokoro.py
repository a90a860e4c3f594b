"""Our torch Kokoro against the published int8 ONNX: they differ by no more than int8 itself does."""

from __future__ import annotations

import numpy as np
import pytest

from modules.settings import ROOT
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes
from modules.voice_clone.builtin.synthesis import Synthesiser

FOLDER = ROOT / "models" / "kokoro-82m"
SENTENCES = [
    ("af_heart", "en", "Hello everyone, and welcome back to my channel."),
    ("zm_yunxi", "zh", "人工智能正在改变我们学习和工作的方式。"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="Kokoro's weights are not in models/"),
]


def log_mel(sound: np.ndarray) -> np.ndarray:
    """(80, T) in dB of a sound brought to one level."""
    import librosa

    level = sound / np.sqrt((sound**2).mean())
    mel = librosa.feature.melspectrogram(y=level, sr=24000, n_fft=1024, hop_length=256, n_mels=80)
    return np.asarray(10 * np.log10(mel + 1e-5))


@pytest.mark.parametrize(("pack", "language", "text"), SENTENCES)
def test_torch_speaks_like_the_published_graph(pack: str, language: str, text: str) -> None:
    import torch

    from modules.voice_clone.builtin.checkpoint import load_network

    tokens = Vocabulary(FOLDER).tokens(to_phonemes(text, language))
    style = voice_packs().style(pack, len(tokens))
    published = Synthesiser(FOLDER, 2).say(tokens, style, 1.0, 1.0)
    network = load_network(FOLDER)
    with torch.no_grad():
        ours = network(torch.tensor([tokens]), torch.from_numpy(style)[None])[0].numpy()
    # Durations are rounded to 25 ms frames, and int8 moves a few of them by one.
    assert abs(len(ours) - len(published)) <= 6 * 600
    if len(ours) == len(published):
        difference = np.abs(log_mel(ours) - log_mel(published)).mean()
        assert difference < 2.0
    mean_ours, mean_published = (log_mel(sound).mean(1) for sound in (ours, published))
    assert np.abs(mean_ours - mean_published).mean() < 1.0


def test_pitch_input_moves_the_pitch() -> None:
    from modules.speech.pitch import median_pitch

    pack, language, text = SENTENCES[0]
    tokens = Vocabulary(FOLDER).tokens(to_phonemes(text, language))
    style = voice_packs().style(pack, len(tokens))
    speaker = Synthesiser(FOLDER, 2)
    plain, raised = (median_pitch(speaker.say(tokens, style, scale, 1.0), 24000) for scale in (1.0, 1.25))
    assert raised / plain == pytest.approx(1.25, rel=0.04)
