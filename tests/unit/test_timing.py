"""When phones sound: the network's frames, the lead of its sound, and silence where there is a pause."""

from __future__ import annotations

import numpy as np
import pytest

from modules.media import PAUSE
from modules.settings import ROOT
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes
from modules.voice_clone.builtin.synthesis import Said, Synthesiser, finish
from modules.voice_clone.builtin.timing import FRAME_SECONDS, LEAD_SECONDS, SAMPLE_RATE, phones_of

FOLDER = ROOT / "models" / "kokoro-82m"
HISSING = set("sʃʂɕtkpʧʤʨꭧʦʈzʒfθh" + PAUSE)


def noise(seconds: float, level: float) -> np.ndarray:
    values = np.random.default_rng(3).normal(0, level, round(seconds * SAMPLE_RATE))
    return values.astype(np.float32)


def test_marks_and_gaps_belong_to_phones_and_the_whole_is_covered() -> None:
    letters = ["", "h", "ə", "l", "ˈ", "O", " ", "m", "a", "↓", ".", ""]
    frames = np.array([8, 2, 2, 2, 2, 4, 2, 2, 4, 2, 8, 2], np.float32)
    sound = noise(frames.sum() * FRAME_SECONDS, 0.1)
    phones = phones_of(letters, frames, sound)
    assert [p.symbol for p in phones] == [PAUSE, "h", "ə", "l", "O", "m", "a"]
    assert [p.stop for p in phones[:-1]] == [p.start for p in phones[1:]]
    assert (phones[0].start, phones[-1].stop) == (0.0, pytest.approx(len(sound) / SAMPLE_RATE))
    by_symbol = {p.symbol: (p.start + LEAD_SECONDS) / FRAME_SECONDS for p in phones}
    assert by_symbol["h"] == pytest.approx(8)
    assert by_symbol["O"] == pytest.approx(14)  # the stress before it is its own
    assert by_symbol["m"] == pytest.approx(21)  # half of the gap between the words


def test_a_pause_is_where_the_sound_is_silent() -> None:
    letters = ["", "a", ",", " ", "b", ""]
    frames = np.array([8, 20, 4, 4, 8, 8], np.float32)
    sound = np.concatenate([noise(0.4, 0.1), noise(0.5, 0.001), noise(0.4, 0.1)])
    phones = phones_of(letters, frames, sound)
    assert [p.symbol for p in phones] == [PAUSE, "a", PAUSE, "b"]
    pause = phones[2]
    assert (pause.start, pause.stop) == (pytest.approx(0.4, abs=0.03), pytest.approx(36 * 0.025 - LEAD_SECONDS))
    loud = phones_of(letters, frames, noise(1.3, 0.1))
    assert [p.symbol for p in loud] == [PAUSE, "a", "b"]  # a comma that nobody hears


def test_trimming_moves_the_phones() -> None:
    letters, frames = ["", "a", ""], np.array([20, 20, 20], np.float32)
    sound = np.concatenate([noise(0.45, 0.0), noise(0.5, 0.1), noise(0.55, 0.0)])
    whole = phones_of(letters, frames, sound)
    kept = finish(sound, whole)
    assert kept.phones is not None
    trimmed = 0.45 - 0.03
    assert kept.phones[1].start == pytest.approx(whole[1].start - trimmed, abs=1e-3)
    assert (kept.phones[0].start, kept.phones[-1].stop) == (0.0, pytest.approx(len(kept.samples) / SAMPLE_RATE))


@pytest.fixture(scope="module")
def said() -> list[tuple[list[str], Said]]:
    """Two sentences full of stops and hisses, each in a low and a high voice, and one of them fast and slow."""
    if not FOLDER.is_dir():
        pytest.skip("no weights")
    vocabulary, speaker, packs = Vocabulary(FOLDER), Synthesiser(FOLDER, 1), voice_packs()
    wanted = [
        ("zm_yunxi", "zh", "他们昨天下午去图书馆看书，四十四只石狮子在山上。", 1.0),
        ("zf_xiaoxiao", "zh", "他们昨天下午去图书馆看书，四十四只石狮子在山上。", 1.0),
        ("am_adam", "en", "I took a cup of coffee to the office, and she sells sea shells on a summer morning.", 1.0),
        ("af_heart", "en", "I took a cup of coffee to the office, and she sells sea shells on a summer morning.", 0.75),
        ("af_heart", "en", "I took a cup of coffee to the office, and she sells sea shells on a summer morning.", 1.3),
    ]
    spoken = []
    for pack, language, text, speed in wanted:
        tokens = vocabulary.tokens(to_phonemes(text, language))
        spoken.append((vocabulary.letters(tokens), speaker.say(tokens, packs.style(pack, len(tokens)), speed)))
    return spoken


@pytest.mark.slow
def test_frames_of_the_network_are_as_long_as_its_sound(said: list[tuple[list[str], Said]]) -> None:
    for letters, one in said:
        assert len(one.sound) == round(one.frames.sum() * FRAME_SECONDS * SAMPLE_RATE)
        phones = phones_of(letters, one.frames, one.sound)
        assert phones[-1].stop == pytest.approx(len(one.sound) / SAMPLE_RATE)


def hiss(sound: np.ndarray) -> np.ndarray:
    """(200 a second,) dB by which the sound above 4 kHz is louder than its middle."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, 240), 480)[::120] * np.hanning(480)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    return np.asarray(10 * np.log10((power[:, 80:220].sum(1) + 1e-6) / (power[:, 14:70].sum(1) + 1e-6)))


@pytest.mark.slow
def test_phones_are_where_they_are_heard(said: list[tuple[list[str], Said]]) -> None:
    """Hissing sounds hiss from their first to their last moment, and neither before nor after."""
    around = []
    for letters, one in said:
        heard = hiss(one.sound)
        phones = phones_of(letters, one.frames, one.sound)
        for before, phone, after in zip(phones, phones[1:], phones[2:], strict=False):
            if phone.symbol in "sʃʂɕ" and not {before.symbol, after.symbol} & HISSING:
                start, stop = (round(moment * 200) for moment in (phone.start, phone.stop))
                around.append(np.concatenate([heard[start - 8 : start + 6], heard[stop - 6 : stop + 8]]))
    mean = np.mean(around, axis=0)
    middle = (mean.max() + mean.min()) / 2
    assert len(around) >= 15
    rises, falls = np.flatnonzero(mean[:14] > middle)[0] - 8, np.flatnonzero(mean[14:] > middle)[-1] - 6
    assert abs(rises * 5) <= 15
    assert abs(falls * 5) <= 15
