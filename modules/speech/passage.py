"""Which 3 to 10 seconds of a clip stand for the person best: clean, one voice, whole sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.speech.transcribe import TimedWord
from modules.speech.vad import Span

Floats = NDArray[np.float32]

SHORTEST = 3.0
LONGEST = 10.0
IDEAL = 6.5
BREATH_SECONDS = 0.35
EDGE_SECONDS = 0.12
WINDOW_SECONDS = 3.0
WINDOW_STEP = 1.5
ENDS_SENTENCE = tuple("。！？.!?…")
# What a passage loses in likeness (cosine) for a sentence cut short, and for being shorter than ideal.
CUT_COSTS = 0.05
SECOND_COSTS = 0.01
# The windows of one person, parted in two, have centres at least this much alike (0.87 to 0.95 seen with six
# clips); those of two people, spliced, 0.55 to 0.78.
SAME_SPEAKER = 0.82
# A second speaker has at least two windows to say something in: one alone is a cough or a laugh.
FEWEST_WINDOWS = 2
ROUNDS = 10


@dataclass(frozen=True)
class Passage:
    """A stretch of the clip and what is said in it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Likeness:
    """How alike to the clip's main speaker each window of speech is: centres in s, cosines, both (N,).

    halves: how alike the two groups are into which the windows part best, 1 where there is but one group.
    """

    centres: Floats
    cosines: Floats
    halves: float = 1.0

    def over(self, span: Span) -> float:
        """Mean cosine of the windows in ``span``; of the nearest one where none lies inside."""
        inside = (self.centres >= span.start) & (self.centres <= span.stop)
        if not inside.any():
            inside = self.centres == self.centres[np.argmin(np.abs(self.centres - (span.start + span.stop) / 2))]
        return float(self.cosines[inside].mean())

    @property
    def one_speaker(self) -> bool:
        """Whether all of the speech seems to be one person's."""
        return self.halves >= SAME_SPEAKER


def likeness(voice: Floats, rate: int, speech: Sequence[Span], embed: Callable[[Floats], Floats]) -> Likeness:
    """Windows of 3 s against their medoid. voice: the sound of ``speech`` joined; embed: sound to a unit vector.

    Windows run across pauses, because shorter ones swing too much to tell people apart.
    """
    size, step = round(WINDOW_SECONDS * rate), round(WINDOW_STEP * rate)
    starts = range(0, max(1, len(voice) - size + step // 2), step)
    vectors = np.stack([embed(voice[start : start + size]) for start in starts])
    centres = [_time_in_clip((start + size / 2) / rate, speech) for start in starts]
    cosines = vectors @ vectors.T
    medoid = int(np.argmax(np.median(cosines, axis=1)))
    return Likeness(np.array(centres, np.float32), cosines[medoid].astype(np.float32), _halves(vectors, cosines))


def _halves(vectors: Floats, cosines: Floats) -> float:
    """Cosine of the centres of two groups of unit ``vectors`` (N, D), begun at the least alike two (2-means)."""
    ends = np.unravel_index(np.argmin(cosines), cosines.shape)
    centres = vectors[list(ends)]
    for _ in range(ROUNDS):
        second = vectors @ centres[1] > vectors @ centres[0]
        if min(second.sum(), (~second).sum()) < FEWEST_WINDOWS:
            return 1.0
        centres = np.stack([vectors[group].mean(0) for group in (~second, second)])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return float(centres[0] @ centres[1])


def _time_in_clip(seconds: float, speech: Sequence[Span]) -> float:
    """When in the clip the moment ``seconds`` into the joined speech was."""
    for span in speech:
        if seconds <= span.seconds:
            return span.start + seconds
        seconds -= span.seconds
    return speech[-1].stop


def best_passage(words: Sequence[TimedWord], speech: Sequence[Span], alike: Likeness) -> Passage:
    """The best run of words between two breaths; without words, the best stretch of speech."""
    candidates = _between_breaths(words) or [Passage(_at_most(span), "") for span in speech]
    best = max(candidates, key=lambda passage: _merit(passage, alike))
    start = max(0.0, best.span.start - EDGE_SECONDS)
    return Passage(Span(start, min(best.span.stop + EDGE_SECONDS, speech[-1].stop)), best.text)


def _merit(passage: Passage, alike: Likeness) -> float:
    whole = not passage.text or passage.text.rstrip().endswith(ENDS_SENTENCE)
    missing = abs(min(passage.span.seconds, IDEAL) - IDEAL)
    return alike.over(passage.span) - (0 if whole else CUT_COSTS) - SECOND_COSTS * missing


def _at_most(span: Span) -> Span:
    return Span(span.start, min(span.stop, span.start + LONGEST))


def _between_breaths(words: Sequence[TimedWord]) -> list[Passage]:
    """Every run of words of 3 to 10 s that begins after a pause or a sentence and ends at one."""
    ends = [k for k in range(len(words)) if _ends_here(words, k)]
    starts = [0, *(k + 1 for k in ends[:-1])]
    found = []
    for first in starts:
        for last in ends:
            if last < first:
                continue
            span = Span(words[first].start, words[last].stop)
            if SHORTEST <= span.seconds <= LONGEST - 2 * EDGE_SECONDS:
                found.append(Passage(span, "".join(w.text for w in words[first : last + 1]).strip()))
    return found


def _ends_here(words: Sequence[TimedWord], place: int) -> bool:
    if place == len(words) - 1:
        return True
    pause = words[place + 1].start - words[place].stop
    return pause >= BREATH_SECONDS or words[place].text.rstrip().endswith((*ENDS_SENTENCE, ",", "，", "；", ";"))
