"""How well Chinese text is read: syllables of sentences whose right pinyin is known.

    python -m tests.bench.bench_reading

tests/data/reading_60.tsv was written before the rules were made and is what they were made with;
tests/data/reading_held_out.tsv was written afterwards and is scored, never tuned on. Writes
docs/quality/reading_score.md; exit status 1 when the bar of either is missed.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from modules.settings import ROOT
from modules.speech.normalise import normalise
from modules.voice_clone.builtin.phonemes import pieces
from tests.bench.common import line

DATA = ROOT / "tests" / "data"
SETS = {"60 sentences": DATA / "reading_60.tsv", "held out": DATA / "reading_held_out.tsv"}
REPORT = ROOT / "docs" / "quality" / "reading_score.md"
BAR = 97.0

Expected = list[frozenset[str]]


@dataclass
class Score:
    """Syllables and spelt letters of a set, how many were read wrongly, and the sentences with errors."""

    syllables: int = 0
    errors: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def right(self) -> float:
        """Percent of syllables read rightly."""
        return 100 * (1 - self.errors / self.syllables)


def spoken(text: str) -> list[str]:
    """Syllables (own tones), Latin words and spelt letters of ``text`` as the studio would say them."""
    said = pieces(normalise(text, "mixed"))
    return [part for piece in said for part in (piece.pinyin or (piece.latin.words if piece.latin else ()))]


def readings(line_of_key: str) -> list[Expected]:
    """Every right reading of a line of the key: 'a|b' is a choice, 'a+b' two syllables in one, '-' nothing."""
    choices: list[list[Expected]] = []
    for token in line_of_key.split():
        either = token.split("|")
        if any("+" in choice or choice == "-" for choice in either):
            choices.append([[frozenset([s.lower()]) for s in c.split("+") if s != "-"] for c in either])
        else:
            choices.append([[frozenset(choice.lower() for choice in either)]])
    return [list(itertools.chain(*choice)) for choice in itertools.product(*choices)]


def differences(expected: Expected, found: list[str]) -> list[str]:
    """The fewest changes (edit distance) that make ``found`` right, as 'right≠found'."""
    rows = [[(j, tuple(f"∅≠{f}" for f in found[:j])) for j in range(len(found) + 1)]]
    for right in expected:
        name = "|".join(sorted(right))
        above = rows[-1]
        row: list[tuple[int, tuple[str, ...]]] = [(above[0][0] + 1, (*above[0][1], f"{name}≠∅"))]
        for j, said in enumerate(found):
            wrong = said.lower() not in right
            row.append(
                min(
                    (above[j][0] + wrong, above[j][1] + ((f"{name}≠{said}",) if wrong else ())),
                    (above[j + 1][0] + 1, (*above[j + 1][1], f"{name}≠∅")),
                    (row[j][0] + 1, (*row[j][1], f"∅≠{said}")),
                    key=lambda step: step[0],
                )
            )
        rows.append(row)
    return list(rows[-1][-1][1])


def score_of(path: Path) -> Score:
    """Read and judge every sentence of a file."""
    spoken("一")
    score = Score()
    for entry in path.read_text(encoding="utf-8").splitlines():
        if entry.startswith("#"):
            continue
        sentence, key = entry.split("\t")
        began = time.process_time()
        found = spoken(sentence)
        score.seconds += time.process_time() - began
        tried = [(differences(expected, found), len(expected)) for expected in readings(key)]
        wrong, length = min(tried, key=lambda one: len(one[0]))
        score.syllables += length
        score.errors += len(wrong)
        if wrong:
            score.wrong.append(f"- {sentence} {' '.join(f'`{w}`' for w in wrong)}")
    return score


def main() -> int:
    scores = {name: score_of(path) for name, path in SETS.items()}
    lines = ["# Readings: score", "", f"`python -m tests.bench.bench_reading`, {time.strftime('%F')}", "", "```"]
    for name, score in scores.items():
        lines.append(line(f"{name}: {score.syllables} syllables, right", score.right, "%", BAR, at_most=False))
    lines.append("```")
    for name, score in scores.items():
        lines += ["", f"## {name}: what is wrong ({score.seconds:.2f} CPU-s in all)", "", *(score.wrong or ["nothing"])]
    print("\n".join(lines))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all(score.right >= BAR for score in scores.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
