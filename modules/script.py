"""The script: its small grammar, its utterances and an estimate of its length.

Plain text. A sentence ends at 。！？!?；; … or a line's end, and at a full stop
that is not part of a number, an address or an abbreviation. ``[1.5s]``,
``[1.5秒]`` or ``[停1.5秒]`` is a pause; an empty line is a longer one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from modules.errors import StudioError

SENTENCE_PAUSE = 0.3
PARAGRAPH_PAUSE = 0.8
# After a semicolon, an ellipsis, and a piece of a sentence that was too long for one.
CLAUSE_PAUSE, TRAILING_PAUSE, BREATH_PAUSE = 0.22, 0.5, 0.15
MIN_PAUSE, MAX_PAUSE = 0.1, 10.0
MIN_SPEED, MAX_SPEED = 0.6, 1.6
# A sentence longer than this is cut, so that a listener waits for less and a repair costs less.
MAX_SENTENCE = 120
# A cut piece is at least this long, if a good place is there.
MIN_PIECE = 40
# Seconds a syllable of Chinese and a word of English take at speed 1, pauses at commas included.
SECONDS_PER_SYLLABLE = 0.25
SECONDS_PER_WORD = 0.4

PAUSE = re.compile(r"\[\s*停?\s*(\d+(?:\.\d+)?)\s*(?:s|秒|sec)\s*\]", re.IGNORECASE)
CHINESE = re.compile(r"[\u3400-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+")
SPEAKABLE = re.compile(r"[A-Za-z0-9\u3040-\u30ff\u3400-\u9fff]")
# Closing quotes and brackets belong to the sentence before them.
# A full stop ends one only before a new beginning: not in "3.14", "a.m. today", "J. Smith" or "Dr. Smith".
FULL_STOP = r"(?<!\b[A-Z])(?<!\b[DMS]r)(?<!\bMrs)(?<!\bvs)\.(?=[”’\"')]*(?:\s+[^a-z\s]|\s*$))"
SENTENCE = re.compile(rf"(?:[。！？!?；;…]+|{FULL_STOP})[”’」』）)\"']*")
# Where a sentence that is too long is cut, the best places first; the last are before a conjunction.
PLACES = tuple(
    re.compile(place)
    for place in (
        r"[：—][”’」』）]*\s*",
        r"(?:，|,(?!\d))[”’」』）]*\s*",
        r"、\s*",
        r"(?=但是|可是|所以|因为|而且|然后|如果|并且|不过|以及|或者|同时|于是|因此|虽然|从而|否则|甚至)",
        r"\s+",
    )
)


@dataclass(frozen=True)
class Utterance:
    """One sentence to speak, and the silence after it in seconds."""

    text: str
    language: str
    pause: float


def language_of(text: str) -> str:
    """'zh', 'en', 'ja' or 'mixed' (Chinese with English words in it)."""
    if KANA.search(text):
        return "ja"
    if not CHINESE.search(text):
        return "en"
    return "mixed" if re.search(r"[A-Za-z]{2,}", text) else "zh"


def _cut_long(sentence: str) -> list[str]:
    """Cut a sentence that is too long at its marks, else before a conjunction, at a space, or anywhere."""
    pieces: list[str] = []
    rest = sentence
    while len(rest) > MAX_SENTENCE:
        cut = _place_to_cut(rest)
        pieces.append(rest[:cut])
        rest = rest[cut:]
    return [*pieces, rest]


def _place_to_cut(text: str) -> int:
    for shortest in (MIN_PIECE, 1):
        for place in PLACES:
            ends = [match.end() for match in place.finditer(text, 0, MAX_SENTENCE) if match.end() >= shortest]
            if ends:
                return ends[-1]
    return MAX_SENTENCE


def _sentences(line: str) -> list[tuple[str, float]]:
    """The sentences of a line, and the silence after each in seconds."""
    cuts = [match.end() for match in SENTENCE.finditer(line)]
    found: list[tuple[str, float]] = []
    for start, stop in pairwise([0, *cuts, len(line)]):
        pieces = [piece.strip() for piece in _cut_long(line[start:stop].strip()) if SPEAKABLE.search(piece)]
        found += [(piece, BREATH_PAUSE) for piece in pieces[:-1]]
        found += [(piece, _pause_after(piece)) for piece in pieces[-1:]]
    return found


def _pause_after(sentence: str) -> float:
    end = sentence.rstrip("”’」』）)\"'")
    if end.endswith(("；", ";")):
        return CLAUSE_PAUSE
    return TRAILING_PAUSE if end.endswith("…") else SENTENCE_PAUSE


def parse(script: str, max_characters: int) -> list[Utterance]:
    """The utterances of a script, in order.

    Raises StudioError('script_empty') when nothing in it can be spoken and
    StudioError('script_too_long') beyond ``max_characters``.
    """
    if len(script) > max_characters:
        raise StudioError("script_too_long", characters=len(script), limit=max_characters)
    utterances: list[Utterance] = []

    def pause_at_least(seconds: float) -> None:
        if utterances:
            last = utterances[-1]
            utterances[-1] = Utterance(last.text, last.language, max(last.pause, seconds))

    for line in script.splitlines():
        if not line.strip():
            pause_at_least(PARAGRAPH_PAUSE)
            continue
        # split() with one group: text, seconds, text, seconds, ..., text
        parts = PAUSE.split(line)
        for index, part in enumerate(parts):
            if index % 2:
                pause_at_least(min(max(float(part), MIN_PAUSE), MAX_PAUSE))
            else:
                utterances += [Utterance(s, language_of(s), pause) for s, pause in _sentences(part)]
    if not utterances:
        raise StudioError("script_empty")
    return utterances


def estimate_seconds(utterances: list[Utterance], speed: float = 1.0) -> float:
    """About how long the script will take to speak at ``speed`` (0.6 to 1.6)."""
    seconds = 0.0
    for utterance in utterances:
        syllables = len(CHINESE.findall(utterance.text)) + 0.6 * len(KANA.findall(utterance.text))
        words = len(WORD.findall(utterance.text))
        seconds += (syllables * SECONDS_PER_SYLLABLE + words * SECONDS_PER_WORD) / speed + utterance.pause
    return seconds
