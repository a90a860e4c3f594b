"""Remake modules/avatar/builtin/data/speech_sounds.npz: what Whisper's states say of the sounds that are spoken.

    python tools/make_speech_sounds.py [--spoken FOLDER] [--out FILE]

Twenty published voices speak English, Chinese and nonsense words (to hear every sound before and after every
other), the voice engine tells when each phone sounds, and a ridge regression learns from the states to the groups of
phones; every stretch is learnt clean and again in an echoing, noisy room. Needs the weights kokoro-82m and whisper-base
in models/. About eight processor minutes, most of them for speaking; --spoken keeps what was spoken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules import media  # noqa: E402
from modules.avatar.builtin.features import SAMPLE_RATE, WHISPER_RATE, WhisperEncoder  # noqa: E402
from modules.avatar.builtin.sounds import FILE, GROUPS, in_context  # noqa: E402
from modules.voice_clone.builtin import synthesis  # noqa: E402
from modules.voice_clone.builtin.packs import voice_packs  # noqa: E402
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes  # noqa: E402
from modules.voice_clone.builtin.timing import phones_of  # noqa: E402

VOICES = (
    *("af_heart", "am_michael", "zf_xiaobei", "zm_yunxi", "bf_emma", "bm_george", "pf_dora", "pm_alex", "ff_siwis"),
    *("em_alex", "jf_alpha", "hm_omega", "if_sara", "im_nicola", "af_bella", "am_fenrir", "zf_xiaoyi", "zm_yunyang"),
    *("hf_beta", "jm_kumo"),
)
TEXTS = {
    "en": (
        "The big boy bought a purple balloon at the village market before supper.",
        "My mother makes warm apple pie with fresh butter and brown sugar every Sunday.",
        "We would never have found the river without the old fisherman's map.",
        "Five people from France visited the famous museum above the harbour.",
        "She thought the weather was rather bad, but they went swimming anyway.",
        "You should choose a comfortable chair and put your feet up for a while.",
        "Please remember to charge your phone before the long journey tomorrow.",
        "How are you? I am fine, thank you. Perhaps we may meet again in April.",
    ),
    "zh": (
        "爸爸妈妈买了一本白色的笔记本，非常漂亮。",
        "我们明天早上八点半在北门口见面，不要迟到。",
        "他把苹果和葡萄放在冰箱里面，然后去跑步。",
        "春天到了，鸟儿在树上唱歌，花园里开满了五颜六色的花。",
        "请问附近有没有安静一点的咖啡馆？我想坐下来慢慢写报告。",
        "语言是人类最重要的交流工具，也是文化的一部分。",
        "吃饭以前先洗手，玩手机不要超过半个小时。",
        "雨下得很大，路上没有人，只有一只猫从屋子旁边跑过去。",
    ),
}
CONSONANTS, VOWELS = "pbmfvtdnszlkɡʃʤʧɹwjhðθŋxɾ", "iɪeɛaɑæʌəoɔuʊOAIW"
ENDS = "pbmfvtdnszlkɡʃʤʧɹ"
SPEEDS = (0.9, 1.0, 1.1)
STREAM_SECONDS = 28.0
GAPS = (0.15, 0.8)
SILENCE = GROUPS[0]
# Strong: the map is for voices and rooms that it has not heard.
RIDGE = 300.0


@dataclass(frozen=True)
class Line:
    """One line to speak: phonemes, by which voice, how fast."""

    voice: str
    phonemes: str
    speed: float


def nonsense(seed: int) -> str:
    """Phonemes of seven words that no language has."""
    dice = random.Random(seed)
    words = []
    for _ in range(7):
        count = dice.choice((1, 2, 2, 3))
        stressed = dice.randrange(count)
        word = ""
        for place in range(count):
            end = dice.choice(ENDS) if dice.random() < 0.25 else ""
            word += ("ˈ" if place == stressed else "") + dice.choice(CONSONANTS) + dice.choice(VOWELS) + end
        words.append(word)
    return " ".join(words[:4]) + ", " + " ".join(words[4:]) + "."


def lines() -> Iterator[Line]:
    """Five lines for each voice: two in its language, one in the other, two of nonsense."""
    speeds = (SPEEDS[number % len(SPEEDS)] for number in range(10**6))
    for number, voice in enumerate(VOICES):
        own, other = ("zh", "en") if voice.startswith("z") else ("en", "zh")
        texts = ((own, 2 * number), (own, 2 * number + 1), (other, number))
        for language, place in texts:
            text = TEXTS[language][place % len(TEXTS[language])]
            yield Line(voice, to_phonemes(text, language), next(speeds))
        for seed in (100 * number, 100 * number + 1):
            yield Line(voice, nonsense(seed), next(speeds))


def speak(models: Path, folder: Path) -> list[media.AudioChunk]:
    """All lines as sound with phones; what lies in ``folder`` already is taken from there."""
    synthesiser, vocabulary = synthesis.Synthesiser(models / "kokoro-82m", 1), Vocabulary(models / "kokoro-82m")
    spoken = []
    for number, line in enumerate(lines()):
        file = folder / f"{number:03d}.npz"
        if not file.exists():
            tokens = vocabulary.tokens(line.phonemes)
            said = synthesiser.say(tokens, voice_packs().style(line.voice, len(tokens)), line.speed)
            sound = synthesis.finish(said.sound, phones_of(vocabulary.letters(tokens), said.frames, said.sound))
            letters = [phone.symbol for phone in sound.phones or ()]
            times = [(phone.start, phone.stop) for phone in sound.phones or ()]
            samples = media.resample(sound.samples, sound.sample_rate, SAMPLE_RATE)
            np.savez(file, samples=samples, letters=np.array(letters), times=np.array(times))
        with np.load(file, allow_pickle=False) as data:
            phones = [
                media.Phone(str(letter), *times.tolist())
                for letter, times in zip(data["letters"], data["times"], strict=True)
            ]
            spoken.append(media.AudioChunk(data["samples"], SAMPLE_RATE, tuple(phones)))
    return spoken


def streams(spoken: list[media.AudioChunk], dice: np.random.Generator) -> Iterator[media.AudioChunk]:
    """Lines in random order with pauses, together as long as one Whisper window."""
    held: list[media.AudioChunk] = []
    length = 0.0
    for number in dice.permutation(len(spoken)):
        seconds = dice.uniform(*GAPS)
        gap = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        line = spoken[number]
        louder = media.AudioChunk(line.samples * np.float32(dice.uniform(0.5, 1.5)), SAMPLE_RATE, line.phones)
        more = [media.AudioChunk(gap, SAMPLE_RATE, (media.Phone(SILENCE, 0.0, seconds),)), louder]
        added = sum(len(chunk.samples) for chunk in more) / SAMPLE_RATE
        if held and length + added > STREAM_SECONDS:
            yield media.collect(held)
            held, length = [], 0.0
        held += more
        length += added
    yield media.collect(held)


def in_a_room(sound: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """``sound`` with an echo (0.15 to 0.6 s) and pink noise (8 to 30 dB below)."""
    decay = int(dice.uniform(0.15, 0.6) * SAMPLE_RATE)
    answer = dice.standard_normal(decay) * np.exp(-6.9 * np.arange(decay) / decay)
    answer *= dice.uniform(0.2, 0.8) / np.linalg.norm(answer)
    answer[0] += 1
    size = len(sound) + decay
    echoing = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(answer, size), size)[: len(sound)]
    spectrum = np.fft.rfft(dice.standard_normal(len(sound)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 10)), len(sound))
    level = echoing.std() * 10 ** (-dice.uniform(8, 30) / 20)
    return np.asarray(echoing + noise * level / noise.std(), np.float32)


def truth(stream: media.AudioChunk, count: int) -> np.ndarray:
    """(count, 14) share of each group of sounds in the 20 ms around each state."""
    times = np.arange(count) / WHISPER_RATE
    group = {letter: number for number, letters in enumerate(GROUPS) for letter in letters}
    half = 0.5 / WHISPER_RATE
    shares = np.zeros((count, len(GROUPS)), np.float32)
    for phone in stream.phones or ():
        inside = np.minimum(phone.stop, times + half) - np.maximum(phone.start, times - half)
        shares[:, group[phone.symbol]] += np.clip(inside / (2 * half), 0, 1)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--spoken", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.spoken or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        spoken = speak(given.models, folder)
    encoder = WhisperEncoder(given.models / "whisper-base", 1)
    dice = np.random.default_rng(0)
    heard: list[tuple[np.ndarray, np.ndarray]] = []
    for stream in streams(spoken, dice):
        for sound in (stream.samples, in_a_room(stream.samples, dice)):
            states = encoder.states(sound)
            heard.append((in_context(states), truth(stream, len(states))))
    kept_back = heard[-4:]
    known = ridge(heard[:-4])
    right = [(states @ known).argmax(1) == shares.argmax(1) for states, shares in kept_back]
    print(f"{sum(map(len, right)) / WHISPER_RATE:.0f} s kept back: {np.concatenate(right).mean():.3f} of states right")
    np.savez_compressed(given.out, map=ridge(heard).astype(np.float16))
    print(f"{given.out}: {given.out.stat().st_size} bytes")


def ridge(heard: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(1537, 14) the linear map with the least squared error."""
    size = heard[0][0].shape[1]
    square = sum((states.T @ states for states, _ in heard), RIDGE * len(heard) * np.eye(size))
    cross = sum(states.T @ shares for states, shares in heard)
    return np.linalg.solve(square, cross)


if __name__ == "__main__":
    main()
