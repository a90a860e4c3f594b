"""What is said, in which language, and when each word is: Whisper base on CTranslate2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules import weights
from modules.errors import StudioError
from modules.speech.normalise import simplified

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

Floats = NDArray[np.float32]

SAMPLE_RATE = 16000
WEIGHTS = "whisper-base"
BEAM = 5
WINDOW = 30.0
_FRAMES_PER_SECOND, _FEWEST_FRAMES = 100, 10
_ATTENTION_SECONDS = 0.02
# Makes Whisper write simplified characters and punctuation.
_CHINESE_PROMPT = "以下是普通话的句子，使用简体中文。"
_CHINESE = ("zh", "yue")


@dataclass(frozen=True)
class TimedWord:
    """A word as written, with its punctuation; seconds; how sure Whisper is, 0 to 1."""

    text: str
    start: float
    stop: float
    probability: float


@dataclass(frozen=True)
class Transcript:
    """text: on one line; language: ISO 639-1; certainty of the language, 0 to 1; words in order."""

    text: str
    language: str
    certainty: float
    words: tuple[TimedWord, ...]


@dataclass(frozen=True)
class Heard:
    """One sentence as understood, and its tokens: pieces of words, which may be pieces of one character, in order."""

    text: str
    tokens: tuple[TimedWord, ...]


class Transcriber:
    """Whisper, opened at first use; ``close`` gives its memory back."""

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._model: WhisperModel | None = None

    def __call__(self, sound: Floats, language: str | None = None) -> Transcript:
        """Transcript of mono sound at 16 kHz; the language is found out unless given."""
        model = self._open()
        certainty = 1.0
        if language is None:
            language, certainty, _ = model.detect_language(sound)
        if language in _CHINESE:
            language = "zh"
        segments, _ = model.transcribe(
            sound,
            language=language,
            beam_size=BEAM,
            word_timestamps=True,
            condition_on_previous_text=False,
            initial_prompt=_CHINESE_PROMPT if language == "zh" else None,
        )
        words = [
            TimedWord(simplified(w.word) if language == "zh" else w.word, w.start, w.end, w.probability)
            for segment in segments
            for w in segment.words or ()
        ]
        return Transcript("".join(w.text for w in words).strip(), language, float(certainty), tuple(words))

    def hear(self, sound: Floats, language: str, window: float, most_tokens: int, mixed: bool = False) -> Heard:
        """One sentence, at most a window long. sound: mono at 16 kHz; mixed: it has English words in Chinese.

        window: seconds that the network looks at, silence behind the sound included. WINDOW is what
        it was trained on; the cost falls with the window, and so does the certainty. most_tokens:
        where to stop, should it hear the same thing again and again.
        """
        from faster_whisper.tokenizer import Tokenizer

        model = self._open()
        tokenizer = Tokenizer(model.hf_tokenizer, True, task="transcribe", language=language)
        size = round(min(window, WINDOW) * SAMPLE_RATE)
        # Silence goes into the sound itself: as features it would not look like silence.
        features = model.feature_extractor(np.pad(sound[:size], (0, max(0, size - len(sound)))), padding=0)
        # The prompt is all Chinese, and Latin words behind it are written in Chinese, too.
        before = tokenizer.encode(" " + _CHINESE_PROMPT) if language == "zh" and not mixed else []
        prompt = model.get_prompt(tokenizer, before, without_timestamps=True)
        length = min(len(prompt) + most_tokens, model.max_length)
        encoded = model.encode(features)
        beam = BEAM if mixed else 1
        found = model.model.generate(encoded, [prompt], beam_size=beam, max_length=length)[0].sequences_ids[0]
        tokens = [token for token in found if token < tokenizer.eot]
        text = tokenizer.decode(tokens).strip()
        frames = max(_FEWEST_FRAMES, round(min(len(sound), size) / SAMPLE_RATE * _FRAMES_PER_SECOND))
        return Heard(simplified(text) if language == "zh" else text, self._timed(tokens, encoded, tokenizer, frames))

    def _timed(self, tokens: list[int], encoded: Any, tokenizer: Any, frames: int) -> tuple[TimedWord, ...]:
        """When each token was spoken, by where the network attends to: one follows the other without a gap."""
        if not tokens:
            return ()
        [found] = self._open().model.align(encoded, tokenizer.sot_sequence, [tokens], frames)
        starts: dict[int, float] = {}
        for token, place in found.alignments:
            starts.setdefault(token, place * _ATTENTION_SECONDS)
        borders = [0.0, *(starts[token] for token in range(1, len(tokens))), frames / _FRAMES_PER_SECOND]
        texts = (tokenizer.decode([token]) for token in tokens)
        return tuple(map(TimedWord, texts, borders, borders[1:], found.text_token_probs))

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = None

    def _open(self) -> WhisperModel:
        if self._model is None:
            from faster_whisper import WhisperModel

            folder = weights.folder(self._models_dir, WEIGHTS)
            try:
                self._model = WhisperModel(
                    str(folder), device="cpu", compute_type="int8", cpu_threads=self._threads, local_files_only=True
                )
            except (RuntimeError, ValueError, OSError) as error:
                raise StudioError("weights_broken", name="Whisper base", file=str(folder / "model.bin")) from error
        return self._model
