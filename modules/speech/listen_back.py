"""Listening back: is what an engine spoke what it was asked to say, and is it sound?

A short look first: Whisper's network sees no more than the sentence, at a tenth of the usual cost. Only
what seems wrong then is heard again with the window that the network was trained on, and the better of
both counts: a listener who understood the sentence once has heard it. English words in Chinese are made out
by nothing less than the whole window and a wider search.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules import media, weights
from modules.errors import StudioError
from modules.media import AudioChunk
from modules.progress import Progress
from modules.speech import soundness, transcribe
from modules.speech.agreement import COMPARED, Agreement, Unit, compare, units
from modules.speech.transcribe import Heard

log = logging.getLogger("speech")

Floats = NDArray[np.float32]

# Silence behind the sentence in the short look.
SHORT_LOOK_SILENCE = 0.5
# Whisper writes a unit with less than three tokens on the average; more is going round in circles.
TOKENS_PER_UNIT = 3
SPARE_TOKENS = 12
# Seconds; a sentence that takes longer is heard in parts.
LONGEST_PART = 28.0
# A sentence agrees with its text from this score on ...
GOOD_SCORE = 0.8
# (of a very short one the recogniser often gets one sound wrong) ...
FORGIVEN_LETTERS = 3
# ... unless a stretch of so many letters of sound was left out or added: a word, but not "and" or 的.
MISSED_LETTERS = 4
ADDED_LETTERS = 5
# A token of Whisper takes at most this long at speed 1, and so much longer for each of its letters of sound.
TOKEN_SECONDS = 0.5
LETTER_SECONDS = 0.03
# What a Latin word heard in Chinese syllables costs among several tries, in scores of a sentence of such words.
LATIN_WEIGHT = 0.2
_SIGN = re.compile(r"[%‰°$€£¥+=&@#]")
_VOWELS = re.compile(r"[aeiouy]+")


@dataclass(frozen=True)
class Verdict:
    """What listening back to one sentence found.

    heard: as understood, or None when nobody could listen (no recogniser, or a language it cannot compare);
    score: agreement of heard and asked, 1 to 0; doubts: what is wrong, in the words of ``soundness.faults``
    and: missed, added, different, unexplained (sound that belongs to no word); missed, added: the stretches, as
    written; latin: share of the words in Latin letters that were heard as such, 0 to 1.
    """

    heard: str | None
    score: float
    doubts: tuple[str, ...]
    missed: str = ""
    added: str = ""
    latin: float = 1.0

    @property
    def doubtful(self) -> bool:
        """Whether a person should listen to it."""
        return bool(self.doubts)

    @property
    def rank(self) -> float:
        """Higher is better, to choose among several tries of one sentence."""
        return self.score - len(self.doubts) - LATIN_WEIGHT * (1 - self.latin)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "doubts": list(self.doubts)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Verdict:
        """From the JSON form."""
        return cls(**{**stored, "doubts": tuple(stored["doubts"])})


class Listener:
    """Listens with the recogniser if its weights are here, and looks at the signal in any case."""

    def __init__(self, models_dir: Path, threads: int) -> None:
        self._transcriber: transcribe.Transcriber | None = None
        if _has_weights(models_dir):
            self._transcriber = transcribe.Transcriber(models_dir, threads)

    def __call__(self, speech: AudioChunk, text: str, language: str, speed: float, progress: Progress) -> Verdict:
        """Judge the speech of one sentence. speed: the speed that was asked for; progress: a way to cancel."""
        asked = units(text, language) if language in COMPARED else []
        wrong = soundness.faults(speech.samples, speech.sample_rate, syllables(asked), speed)
        silent = "silent" in wrong
        if self._transcriber is not None and asked and not silent:
            try:
                heard = _understood(self._transcriber, speech, text, language, speed, progress)
                return replace(heard, doubts=(*heard.doubts, *wrong))
            except StudioError as error:
                # Broken weights: speech that nobody could check is better than none.
                log.warning("nobody listens back: %s %s", error.code, error.values)
                self._transcriber = None
        return Verdict(None, 0.0 if silent else 1.0, wrong)

    def close(self) -> None:
        """Give the recogniser's memory back; the next sentence opens it again."""
        if self._transcriber is not None:
            self._transcriber.close()


def _understood(
    transcriber: transcribe.Transcriber, speech: AudioChunk, text: str, language: str, speed: float, progress: Progress
) -> Verdict:
    """The better of a short look and, where that leaves a doubt, a whole one."""
    parts = _parts(media.resample(speech.samples, speech.sample_rate, transcribe.SAMPLE_RATE))
    most = TOKENS_PER_UNIT * len(units(text, language)) + SPARE_TOKENS
    looks: list[Verdict] = []
    mixed = language == "mixed"
    for silence in (transcribe.WINDOW,) if mixed else (SHORT_LOOK_SILENCE, transcribe.WINDOW):
        heard: list[Heard] = []
        for part in parts:
            progress.at(0.0)
            window = len(part) / transcribe.SAMPLE_RATE + silence
            heard.append(transcriber.hear(part, "en" if language == "en" else "zh", window, most, mixed))
        looks.append(_judged(text, language, speed, parts, heard))
        if not looks[-1].doubtful:
            break
    return max(looks, key=lambda look: look.rank)


def differences(agreement: Agreement) -> tuple[str, ...]:
    """Why an agreement is not good enough: any of missed, added, different."""
    found = {
        "missed": agreement.missed_letters >= MISSED_LETTERS,
        "added": agreement.added_letters >= ADDED_LETTERS,
        "different": agreement.score < GOOD_SCORE and agreement.wrong_letters > FORGIVEN_LETTERS,
    }
    return tuple(name for name, wrong in found.items() if wrong)


def _judged(text: str, language: str, speed: float, parts: list[Floats], heard: list[Heard]) -> Verdict:
    """What one look at all parts of a sentence found."""
    understood = " ".join(one.text for one in heard)
    agreement = compare(text, understood, language)
    unexplained = any(_is_unexplained(one, part, language, speed) for one, part in zip(heard, parts, strict=True))
    doubts = (*differences(agreement), *(["unexplained"] * unexplained))
    latin = latin_heard(text, understood, language)
    return Verdict(understood, agreement.score, doubts, agreement.missed, agreement.added, latin)


def latin_heard(text: str, heard: str, language: str) -> float:
    """Share of the words of ``text`` in Latin letters whose letters stand in ``heard``: 1 where there are none."""
    wanted = [unit.sound for unit in units(text, language) if unit.latin]
    letters = "".join(unit.sound for unit in units(heard, language) if unit.latin)
    return sum(word in letters for word in wanted) / len(wanted) if wanted else 1.0


def _is_unexplained(heard: Heard, sound: Floats, language: str, speed: float) -> bool:
    """Whether a token stands for far more speech than its letters can take.

    Whisper likes to write once what was said twice, and to pass over what it cannot make out; but its
    attention then has to stay somewhere while that is spoken.
    """
    loud = soundness.loud_frames(sound, transcribe.SAMPLE_RATE)
    for token in heard.tokens:
        span = slice(round(token.start / soundness.FRAME_SECONDS), round(token.stop / soundness.FRAME_SECONDS))
        seconds = float(loud[span].sum()) * soundness.FRAME_SECONDS * speed
        # A sign such as % is read as a word of unknown length.
        if seconds > TOKEN_SECONDS and not _SIGN.search(token.text):
            letters = sum(len(unit.sound) for unit in units(token.text, language))
            if seconds > TOKEN_SECONDS + letters * LETTER_SECONDS:
                return True
    return False


def _parts(sound: Floats) -> list[Floats]:
    """The sound, cut where it is quietest if it is longer than the recogniser's window."""
    longest, block = round(LONGEST_PART * transcribe.SAMPLE_RATE), transcribe.SAMPLE_RATE // 10
    parts: list[Floats] = []
    while len(sound) > longest:
        half = sound[longest // 2 : longest]
        energy = (half[: len(half) // block * block].reshape(-1, block) ** 2).sum(axis=1)
        cut = longest // 2 + int(energy.argmin()) * block + block // 2
        parts.append(sound[:cut])
        sound = sound[cut:]
    return [*parts, sound]


def syllables(asked: list[Unit]) -> int:
    """About how many syllables the units have: one a Chinese character, one a group of vowels."""
    return sum(max(1, len(_VOWELS.findall(unit.sound))) if unit.latin else 1 for unit in asked)


def _has_weights(models_dir: Path) -> bool:
    try:
        weights.folder(models_dir, transcribe.WEIGHTS)
    except StudioError:
        return False
    return True
