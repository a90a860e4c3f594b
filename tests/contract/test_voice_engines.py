"""What every voice engine must do. Slow: real weights, which are in models/ once the studio has run."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from modules import media, options, translate
from modules.errors import Cancelled, StudioError
from modules.progress import Progress
from modules.settings import ROOT
from modules.voice_clone import registry
from modules.voice_clone.base import EnrolledVoice, Reference, VoiceEngine, VoiceEngineInfo

MODELS = ROOT / "models"
THREADS = 2
TEXTS = {
    "zh": "今天天气很好。",
    "en": "The weather is fine today.",
    "mixed": "我喜欢Windows系统。",
    "ja": "こんにちは。",
}

needs_weights = [
    pytest.mark.slow,
    pytest.mark.skipif(not (MODELS / "kokoro-82m").is_dir(), reason="the engines' weights are not in models/"),
]


@pytest.mark.parametrize("info", registry.infos(), ids=lambda info: info.id)
def test_info_can_be_drawn(info: VoiceEngineInfo) -> None:
    assert info.sample_rate >= 16000
    assert {"zh", "en"} <= set(info.languages)
    assert options.resolve(info.options, {})
    for option in info.options:
        for language in ("zh-CN", "en"):
            assert translate.text(option.key, language) != option.key
            assert translate.text(f"{option.key}.help", language) != f"{option.key}.help"


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(StudioError, match="engine_unknown"):
        registry.create("no_such_engine", MODELS, 1)


@pytest.mark.parametrize("info", registry.infos(), ids=lambda info: info.id)
def test_missing_weights_are_named(info: VoiceEngineInfo, tmp_path: Path) -> None:
    engine = registry.create(info.id, tmp_path / "models", 1)
    with pytest.raises(StudioError) as caught:
        list(engine.speak(EnrolledVoice(info.id, tmp_path), TEXTS["en"], "en", {}))
    assert caught.value.code == "weights_missing"


def buzz(folder: Path) -> Reference:
    """A reference that any engine must be able to learn something from: five seconds of a vowel-like sound."""
    time = np.arange(5 * 24000) / 24000
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / 24000
    sound = sum(np.sin(k * phase) / k for k in range(1, 30)) * (0.06 + 0.03 * np.sin(2 * np.pi * 3 * time))
    media.write_wav(folder / "timbre.wav", sound.astype(np.float32), 24000)
    shutil.copyfile(folder / "timbre.wav", folder / "clip.wav")
    return Reference(folder / "timbre.wav", folder / "clip.wav", "啊", "zh")


@pytest.fixture(scope="module", params=[info.id for info in registry.infos()])
def enrolled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[VoiceEngine, EnrolledVoice]:
    """Each engine with one voice; the engines' networks are shared by the tests of this module."""
    folder = tmp_path_factory.mktemp("voice")
    engine = registry.create(request.param, MODELS, THREADS)
    seen: list[float] = []
    voice = engine.enrol(buzz(folder), folder / "engine", Progress(lambda share, _: seen.append(share)))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 20
    return engine, voice


class TestWithWeights:
    pytestmark = needs_weights

    def test_enrolling_again_returns_at_once(self, enrolled: tuple[VoiceEngine, EnrolledVoice], tmp_path: Path) -> None:
        engine, voice = enrolled
        before = {path: path.stat().st_mtime_ns for path in voice.folder.rglob("*")}
        assert engine.enrol(buzz(tmp_path), voice.folder, Progress()) == voice
        assert {path: path.stat().st_mtime_ns for path in voice.folder.rglob("*")} == before

    @pytest.mark.parametrize("language", TEXTS)
    def test_speaks_at_its_rate(self, enrolled: tuple[VoiceEngine, EnrolledVoice], language: str) -> None:
        engine, voice = enrolled
        try:
            chunks = list(engine.speak(voice, TEXTS[language], language, {}))
        except StudioError as error:
            assert error.code == "language_not_spoken"
            assert language not in ("zh", "en", "mixed")
            return
        assert chunks
        for chunk in chunks:
            assert chunk.sample_rate == engine.info.sample_rate
            assert chunk.samples.dtype == np.float32
            assert chunk.samples.ndim == 1
            assert np.isfinite(chunk.samples).all()
            assert np.abs(chunk.samples).max() <= 1.0
        seconds = sum(len(chunk.samples) for chunk in chunks) / engine.info.sample_rate
        assert 0.4 < seconds < 6.0
        for chunk in chunks:
            phones = chunk.phones
            if phones is None:  # an engine need not know
                continue
            assert [phone.start for phone in phones[1:]] == pytest.approx([phone.stop for phone in phones[:-1]])
            length = len(chunk.samples) / chunk.sample_rate
            assert (phones[0].start, phones[-1].stop) == (0.0, pytest.approx(length, abs=1e-3))
            assert sum(phone.symbol != media.PAUSE for phone in phones) >= 5

    def test_same_text_same_sound(self, enrolled: tuple[VoiceEngine, EnrolledVoice]) -> None:
        engine, voice = enrolled
        first, second = (media.collect(engine.speak(voice, TEXTS["zh"], "zh", {})).samples for _ in range(2))
        assert np.array_equal(first, second)

    def test_options_are_heard_and_checked(self, enrolled: tuple[VoiceEngine, EnrolledVoice]) -> None:
        engine, voice = enrolled
        slow, fast = (
            len(media.collect(engine.speak(voice, TEXTS["en"], "en", {"speed": speed})).samples) for speed in (0.7, 1.5)
        )
        assert slow > 1.5 * fast
        with pytest.raises(StudioError, match="option_out_of_range"):
            list(engine.speak(voice, TEXTS["en"], "en", {"speed": 9.0}))
        with pytest.raises(StudioError, match="language_not_spoken"):
            list(engine.speak(voice, TEXTS["en"], "tlh", {}))

    def test_closing_the_stream_stops_it_and_unload_is_safe(self, enrolled: tuple[VoiceEngine, EnrolledVoice]) -> None:
        engine, voice = enrolled
        stream = engine.speak(voice, "第一句话。第二句话。第三句话。", "zh", {})
        assert len(next(stream).samples)
        stream.close()
        with pytest.raises(StopIteration):
            next(stream)
        engine.unload()
        engine.unload()
        assert list(engine.speak(voice, TEXTS["zh"], "zh", {}))

    def test_a_cancel_stops_enrolment_and_leaves_nothing(
        self, enrolled: tuple[VoiceEngine, EnrolledVoice], tmp_path: Path
    ) -> None:
        engine, _ = enrolled
        reports: list[float] = []
        folder = tmp_path / "engine"
        progress = Progress(lambda share, _: reports.append(share), lambda: len(reports) > 4)
        with pytest.raises(Cancelled):
            engine.enrol(buzz(tmp_path), folder, progress)
        assert list(folder.rglob("*.json")) == []

    def test_a_broken_weights_file_is_named(self, enrolled: tuple[VoiceEngine, EnrolledVoice], tmp_path: Path) -> None:
        engine, voice = enrolled
        for name in engine.info.weights:
            shutil.copytree(MODELS / name, tmp_path / name, ignore=shutil.ignore_patterns("kokoro.int8.*.onnx"))
        # Same size, other content: what a damaged disk leaves.
        largest = max((tmp_path / engine.info.weights[0]).iterdir(), key=lambda path: path.stat().st_size)
        with largest.open("r+b") as file:
            file.write(b"\xff" * 4096)
        other = registry.create(engine.info.id, tmp_path, THREADS)
        with pytest.raises(StudioError) as caught:
            list(other.speak(voice, TEXTS["en"], "en", {}))
        assert caught.value.code == "weights_broken"
        assert largest.name in str(caught.value.values["file"])

    def test_too_short_a_reference_is_refused(
        self, enrolled: tuple[VoiceEngine, EnrolledVoice], tmp_path: Path
    ) -> None:
        engine, _ = enrolled
        reference = buzz(tmp_path)
        media.write_wav(reference.timbre, media.read_wav(reference.timbre).samples[:12000], 24000)
        with pytest.raises(StudioError) as caught:
            engine.enrol(dataclasses.replace(reference), tmp_path / "engine", Progress())
        assert caught.value.code == "speech_too_short"
