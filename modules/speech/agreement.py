"""How well what was heard agrees with what should have been said, whatever the writing.

Both sides become sounds first: numbers are read out, Chinese becomes syllables without tones (pinyin),
other words small Latin letters. Then the two rows of units are aligned with the fewest wrong letters
(edit distance), so that a near miss (zhi for zi, their for there) costs little and a word that was left
out or said twice stands out as a whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from modules.speech.normalise import HAN, english_numbers, normalise

COMPARED = ("zh", "en", "mixed")
# A Latin word may be heard as several Chinese syllables (派森 for Python) or cut into other words.
MOST_MERGED = 4
# So that of two equal readings the one with a whole unit left out wins over two units heard as one.
MERGE_COST = 0.5
# The recogniser is poor at Latin words inside Chinese: a letter that it writes for another counts half.
MISHEARD_LATIN = 0.5

_UNIT = re.compile(rf"[{HAN}]|[a-z]+(?:'[a-z]+)*")


@dataclass(frozen=True)
class Unit:
    """One Chinese syllable or one word in Latin letters: as written, and its sound in letters."""

    written: str
    sound: str

    @property
    def latin(self) -> bool:
        """Whether it is a word in Latin letters."""
        return self.written.isascii()


@dataclass(frozen=True)
class Agreement:
    """score: from 1, all heard as asked, to 0, nothing; wrong_letters: how many letters of sound cost it that.

    missed, added: what most was asked and not heard, or heard and not asked, in one place, as written;
    missed_letters, added_letters: by how many letters of sound that place is too short, or too long.
    """

    score: float
    wrong_letters: float = 0.0
    missed: str = ""
    added: str = ""
    missed_letters: int = 0
    added_letters: int = 0


class _Step(NamedTuple):
    """Units [asked, asked_stop) were heard as units [heard, heard_stop); either may be empty."""

    asked: int
    asked_stop: int
    heard: int
    heard_stop: int


@dataclass(frozen=True)
class _Place:
    """Neighbouring units that were not heard as asked; left_out and put_in: those that stand against nothing."""

    asked: list[Unit] = field(default_factory=list)
    heard: list[Unit] = field(default_factory=list)
    left_out: list[Unit] = field(default_factory=list)
    put_in: list[Unit] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Letters of sound that are missing here; less than 0 where there are too many."""
        return len(_sound(self.asked)) - len(_sound(self.heard))


def units(text: str, language: str) -> list[Unit]:
    """The units of ``text`` as it is spoken. language: 'zh', 'mixed' or 'en'."""
    spoken = english_numbers(text) if language == "en" else normalise(text, "mixed")
    written: list[str] = _UNIT.findall(spoken.lower().replace("’", "'"))
    found: list[Unit] = []
    for latin, run in groupby(written, str.isascii):
        pieces = list(run)
        sounds = [piece.replace("'", "") for piece in pieces] if latin else _pinyin(pieces)
        found += map(Unit, pieces, sounds)
    return found


def _pinyin(characters: Sequence[str]) -> list[str]:
    """Syllables without tones of neighbouring characters."""
    from pypinyin import Style, lazy_pinyin

    # A character without a known reading stays itself, one by one (the stubs know of single strings only).
    return lazy_pinyin("".join(characters), style=Style.NORMAL, errors=list)  # type: ignore[arg-type]


@lru_cache(maxsize=20000)
def distance(asked: str, heard: str) -> int:
    """Fewest letters to change, add or remove to make one from the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for letter in asked:
        above, row[0] = row[0], row[0] + 1
        for column, other in enumerate(heard, start=1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (letter != other))
    return row[-1]


def compare(asked: str, heard: str, language: str) -> Agreement:
    """How well ``heard`` agrees with ``asked``. language: of what was asked, one of COMPARED."""
    wanted, got = units(asked, language), units(heard, language)
    letters = sum(len(unit.sound) for unit in wanted)
    if not letters:
        return Agreement(1.0)
    # Every unit of English is Latin: nothing to be lenient about.
    cost, steps = _align(wanted, got, 1.0 if language == "en" else MISHEARD_LATIN)
    places = [*_misheard(steps, wanted, got)]
    short = max(places, key=lambda place: place.lost, default=_Place())
    long = min(places, key=lambda place: place.lost, default=_Place())
    missed = (short.left_out or short.asked) if short.lost > 0 else []
    added = (long.put_in or long.heard) if long.lost < 0 else []
    return Agreement(
        score=max(0.0, 1.0 - cost / letters),
        wrong_letters=cost,
        missed=_written(missed),
        added=_written(added),
        missed_letters=max(0, short.lost),
        added_letters=max(0, -long.lost),
    )


def _align(wanted: Sequence[Unit], got: Sequence[Unit], latin: float) -> tuple[float, list[_Step]]:
    """The fewest wrong letters (mistaken ones in asked Latin words count ``latin``) and the alignment that has them."""
    best = [[0.0] * (len(got) + 1) for _ in range(len(wanted) + 1)]
    came: list[list[_Step | None]] = [[None] * (len(got) + 1) for _ in range(len(wanted) + 1)]
    for stop in range(len(wanted) + 1):
        for heard_stop in range(len(got) + 1):
            if stop or heard_stop:
                ways = ((best[s.asked][s.heard] + _cost(s, wanted, got, latin), s) for s in _ways(stop, heard_stop))
                best[stop][heard_stop], came[stop][heard_stop] = min(ways, key=lambda way: way[0])
    steps: list[_Step] = []
    step = came[-1][-1]
    while step is not None:
        steps.append(step)
        step = came[step.asked][step.heard]
    return best[-1][-1], steps[::-1]


def _ways(stop: int, heard_stop: int) -> Iterator[_Step]:
    """Every step that can end at ``stop`` and ``heard_stop``: left out, added, one for one, one for several."""
    if stop:
        yield _Step(stop - 1, stop, heard_stop, heard_stop)
    if heard_stop:
        yield _Step(stop, stop, heard_stop - 1, heard_stop)
    if stop and heard_stop:
        yield _Step(stop - 1, stop, heard_stop - 1, heard_stop)
        for merged in range(2, MOST_MERGED + 1):
            if merged <= heard_stop:
                yield _Step(stop - 1, stop, heard_stop - merged, heard_stop)
            if merged <= stop:
                yield _Step(stop - merged, stop, heard_stop - 1, heard_stop)


def _cost(step: _Step, wanted: Sequence[Unit], got: Sequence[Unit], latin: float) -> float:
    asked, heard = wanted[step.asked : step.asked_stop], got[step.heard : step.heard_stop]
    merged = len(asked) + len(heard) - 2 if asked and heard else 0
    # Syllable stands against syllable; only words in Latin letters may be cut differently.
    if merged and not any(unit.latin for unit in (*asked, *heard)):
        return math.inf
    wrong = distance(_sound(asked), _sound(heard))
    if asked and heard and any(unit.latin for unit in asked):
        # What is too short or too long was not misheard but left out or added.
        uneven = abs(len(_sound(asked)) - len(_sound(heard)))
        return uneven + latin * (wrong - uneven) + MERGE_COST * merged
    return wrong + MERGE_COST * merged


def _misheard(steps: Iterable[_Step], wanted: Sequence[Unit], got: Sequence[Unit]) -> Iterator[_Place]:
    """The places between steps that were heard exactly as asked."""

    def exact(step: _Step) -> bool:
        return _sound(wanted[step.asked : step.asked_stop]) == _sound(got[step.heard : step.heard_stop])

    for agrees, run in groupby(steps, key=exact):
        if not agrees:
            place = _Place()
            for step in run:
                asked, heard = wanted[step.asked : step.asked_stop], got[step.heard : step.heard_stop]
                place.asked.extend(asked)
                place.heard.extend(heard)
                place.left_out.extend([] if heard else asked)
                place.put_in.extend([] if asked else heard)
            yield place


def _sound(row: Sequence[Unit]) -> str:
    return "".join(unit.sound for unit in row)


def _written(row: Sequence[Unit]) -> str:
    """Units as a user reads them: a space only beside a word in Latin letters."""
    text = ""
    for before, unit in zip([None, *row], row, strict=False):
        text += " " * (before is not None and (before.latin or unit.latin)) + unit.written
    return text
