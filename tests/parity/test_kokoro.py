"""Our torch Kokoro against the published int8 ONNX: each half differs by no more than int8 itself does.

The halves are compared on the graph's own inner tensors, because a phoneme that int8 makes one frame
longer would shift everything after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from modules.settings import ROOT
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes
from modules.voice_clone.builtin.reading import tuned
from modules.voice_clone.builtin.synthesis import Synthesiser

FOLDER = ROOT / "models" / "kokoro-82m"
SENTENCES = [
    ("af_heart", "en", "Hello everyone, and welcome back to my channel."),
    ("zm_yunxi", "zh", "人工智能正在改变我们学习和工作的方式。"),
]
INNER = {
    "read": "/encoder/bert_encoder/Add_output_0",
    "frames": "/encoder/Div_output_0",
    "letters": "/encoder/text_encoder/Transpose_2_output_0",
    "text": "/encoder/MatMul_1_output_0",
    "pitch": "/encoder/Reshape_output_0",
    "energy": "/encoder/Reshape_1_output_0",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="Kokoro's weights are not in models/"),
]


@dataclass(frozen=True)
class Published:
    """What the published graph makes of one sentence, inside and out."""

    tokens: list[int]
    style: np.ndarray
    sound: np.ndarray
    inner: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=SENTENCES, ids=lambda sentence: sentence[1])
def published(request: pytest.FixtureRequest) -> Published:
    import onnx
    import onnxruntime

    pack, language, text = request.param
    tokens = Vocabulary(FOLDER).tokens(to_phonemes(text, language))
    style = voice_packs().style(pack, len(tokens))[None]
    model = onnx.load(str(FOLDER / "kokoro.int8.onnx"))
    for name in INNER.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"tokens": np.array([tokens]), "style": style, "speed": np.ones(1, np.float32)}
    sound, *inner = session.run(None, feeds)
    return Published(tokens, style, sound.ravel(), dict(zip(INNER, inner, strict=True)))


@pytest.fixture(scope="module")
def network() -> object:
    from modules.voice_clone.builtin.checkpoint import load_network

    return load_network(FOLDER)


def log_mel(sound: np.ndarray) -> np.ndarray:
    """(80, T) in dB of a sound brought to one level."""
    import librosa

    level = 0.06 * sound / np.sqrt((sound**2).mean())
    mel = librosa.feature.melspectrogram(y=level, sr=24000, n_fft=1024, hop_length=256, n_mels=80)
    return np.asarray(10 * np.log10(mel + 1e-6))


def correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])


def test_the_text_half_reads_alike(network, published: Published) -> None:
    import torch

    tokens = torch.tensor([published.tokens])
    prosody = torch.from_numpy(published.style[:, 128:])
    with torch.no_grad():
        read = network.bert_encoder(network.bert(tokens))
        letters = network.text_encoder(tokens)
        features = network.predictor.text_encoder(torch.from_numpy(published.inner["read"]), prosody)
        spoken = network.read(tokens, prosody)
        frames = network.predictor.durations(features).numpy()
    assert correlation(read.numpy(), published.inner["read"]) > 0.98
    assert correlation(letters.numpy(), published.inner["letters"]) > 0.995
    theirs = published.inner["frames"].ravel()
    assert np.abs(frames - np.maximum(np.round(theirs), 1)).max() <= 1
    assert abs(spoken.text.shape[2] - published.inner["text"].shape[2]) <= 4
    voiced = published.inner["pitch"] > 30
    median, their_median = np.median(spoken.pitch[spoken.pitch > 30]), np.median(published.inner["pitch"][voiced])
    assert median == pytest.approx(their_median, rel=0.02)


def test_the_decoder_sounds_alike(network, published: Published) -> None:
    import torch

    text, pitch, energy = (torch.from_numpy(published.inner[name]) for name in ("text", "pitch", "energy"))
    with torch.no_grad():
        ours = network.decoder(text, pitch, energy, torch.from_numpy(published.style[:, :128]))[0].numpy()
    assert len(ours) == len(published.sound)
    # Two voices differ by 8 dB and more in this measure; int8 alone by 0.5 to 1.4.
    assert np.abs(log_mel(ours) - log_mel(published.sound)).mean() < 1.4


def test_pitch_input_moves_the_pitch() -> None:
    from modules.speech.pitch import median_pitch

    pack, language, text = SENTENCES[0]
    tokens = Vocabulary(FOLDER).tokens(to_phonemes(text, language))
    style = voice_packs().style(pack, len(tokens))
    speaker = Synthesiser(FOLDER, 2)
    reading = speaker.read(tokens, style, 1.0)
    plain, raised = (
        median_pitch(
            speaker.sound(replace(reading, pitch=tuned(reading.pitch, scale, 1.0, 150.0)), style[:128]).sound, 24000
        )
        for scale in (1.0, 1.25)
    )
    assert raised / plain == pytest.approx(1.25, rel=0.04)


def test_a_flatter_melody_keeps_its_middle() -> None:
    from modules.speech.pitch import melody

    pack, language, text = SENTENCES[0]
    tokens = Vocabulary(FOLDER).tokens(to_phonemes(text, language))
    style = voice_packs().style(pack, len(tokens))
    speaker = Synthesiser(FOLDER, 2)
    reading = speaker.read(tokens, style, 1.0)
    plain = melody(speaker.sound(reading, style[:128]).sound, 24000)
    assert plain is not None
    flat = melody(
        speaker.sound(replace(reading, pitch=tuned(reading.pitch, 1.0, 0.6, plain.pitch)), style[:128]).sound, 24000
    )
    assert flat is not None
    assert flat.pitch == pytest.approx(plain.pitch, rel=0.05)
    assert flat.spread < 0.8 * plain.spread
