"""The built-in voice engine: Kokoro-82M speaking in a timbre learnt from the person's own clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modules import media, weights
from modules.errors import StudioError
from modules.media import PAUSE, AudioChunk, Phone
from modules.options import Option, resolve
from modules.progress import Progress
from modules.speech.normalise import normalise
from modules.voice_clone.base import EnrolledVoice, Reference, VoiceEngineInfo
from modules.voice_clone.builtin import breath
from modules.voice_clone.builtin.child import enrol_in_child
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes
from modules.voice_clone.builtin.reading import Reading, english_words, spliced
from modules.voice_clone.builtin.synthesis import SAMPLE_RATE, Synthesiser, finish
from modules.voice_clone.builtin.timing import phones_of
from modules.voice_clone.builtin.voice import FILE, LearntVoice

PAUSE_SECONDS = 0.3
# Between two pieces of one sentence.
BREATH_SECONDS = 0.18
# Languages are understood better beside each other when they are not hurried (docs/quality/mixed_tried.md).
MIXED_SPEED = {"zh": 0.95, "en": 0.9, "mixed": 0.9}

_SENTENCE = re.compile(r"[^。！？!?；;…\n]*[。！？!?；;…\n]+[”’」』）)\"']*|[^。！？!?；;…\n]+$")
_SPEAKABLE = re.compile(r"\w")


class BuiltinVoiceEngine:
    """Runs everywhere: learns on two cores in about a minute, speaks faster than real time."""

    info = VoiceEngineInfo(
        id="builtin",
        title="Kokoro-82M",
        licence="Apache-2.0",
        commercial_use=True,
        languages=("zh", "en", "mixed", "ja"),
        sample_rate=SAMPLE_RATE,
        streams=True,
        fine_tunes=False,
        memory_mb=1700,
        weights=("kokoro-82m", "resemblyzer"),
        options=(
            Option("speed", "option.voice.speed", "number", 1.0, 0.6, 1.6, 0.05),
            Option("pitch", "option.voice.pitch", "number", 0.0, -4.0, 4.0, 0.5),
            Option("leaning", "option.voice.leaning", "choice", "usual", choices=("usual", "english", "chinese")),
            Option("room", "option.voice.room", "number", 1.0, 0.0, 1.0, 0.1),
        ),
    )

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._vocabulary: Vocabulary | None = None
        self._synthesiser: Synthesiser | None = None

    def enrol(self, reference: Reference, folder: Path, progress: Progress) -> EnrolledVoice:
        """Learn the timbre and the pitch of the reference into ``folder``."""
        if not (folder / FILE).is_file():
            for name in self.info.weights:
                weights.folder(self._models_dir, name)
            folder.mkdir(parents=True, exist_ok=True)
            enrol_in_child(reference.timbre, self._models_dir, folder, self._threads, progress)
        progress.at(1.0)
        return EnrolledVoice(self.info.id, folder)

    def speak(self, voice: EnrolledVoice, text: str, language: str, options: Mapping[str, Any]) -> Iterator[AudioChunk]:
        """One chunk a sentence, with a short silence between two."""
        chosen = resolve(self.info.options, options)
        if language not in self.info.languages:
            raise StudioError("language_not_spoken", language=language)
        vocabulary, synthesiser = self._load()
        person = LearntVoice.load(voice.folder)
        room = person.room.response(chosen["room"]) if person.room and chosen["room"] else None
        rest = 0.0
        for place, (pause, tokens) in enumerate(_sentences(normalise(text, language), language, vocabulary)):
            letters = vocabulary.letters(tokens)
            reading = self._read(person, tokens, letters, language, chosen)
            said = synthesiser.sound(reading, np.array(person.timbre, np.float32))
            sentence = finish(said.sound, phones_of(letters, said.frames, said.sound), room)
            pause = pause - rest if place else 0.0
            yield media.collect([_silence(pause), sentence]) if pause > 0 else sentence
            rest = sentence.rest

    def _read(
        self, person: LearntVoice, tokens: list[int], letters: list[str], language: str, chosen: Mapping[str, Any]
    ) -> Reading:
        """One sentence with the melody and rhythm of its language; chosen: all options."""
        _, synthesiser = self._load()
        speed, pitch = chosen["speed"], 2 ** (chosen["pitch"] / 12)

        def read(one: str, pace: float) -> Reading:
            reading = synthesiser.read(tokens, person.style(voice_packs(), one, len(tokens)), speed * pace)
            return replace(reading, pitch=person.tuned(reading.pitch, one, pitch))

        if language != "mixed":
            return read(language, 1.0)
        words = english_words(letters)
        own, other = person.mixed(chosen["leaning"])
        chinese = read(own, MIXED_SPEED[own])
        if other == own or not words:
            return chinese
        return spliced(chinese, read(other, MIXED_SPEED[other]), words)

    def unload(self) -> None:
        """Close the network; the next sentence opens it again."""
        if self._synthesiser is not None:
            self._synthesiser.close()
        self._synthesiser = None
        self._vocabulary = None

    def _load(self) -> tuple[Vocabulary, Synthesiser]:
        if self._vocabulary is None or self._synthesiser is None:
            folder = weights.folder(self._models_dir, "kokoro-82m")
            self._vocabulary = Vocabulary(folder)
            self._synthesiser = Synthesiser(folder, self._threads)
        return self._vocabulary, self._synthesiser


def _silence(seconds: float) -> AudioChunk:
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    return AudioChunk(samples, SAMPLE_RATE, (Phone(PAUSE, 0.0, seconds),))


def _sentences(text: str, language: str, vocabulary: Vocabulary) -> Iterator[tuple[float, list[int]]]:
    """Seconds of silence before, and tokens, of one sentence after another; long ones come in pieces."""
    for sentence in _SENTENCE.findall(text):
        pause = PAUSE_SECONDS
        for piece in breath.pieces(breath.with_breaths(sentence), lambda part: len(to_phonemes(part, language))):
            if not _SPEAKABLE.search(piece):
                continue
            tokens = vocabulary.tokens(to_phonemes(piece, language))
            # Foreign scripts leave nothing but the end marks.
            if len(tokens) > 2:
                yield pause, tokens
                pause = BREATH_SECONDS
