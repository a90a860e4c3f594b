"""Chinese sentences with English words in them, spoken by cloned voices and judged by Whisper.

    python -m tests.bench.bench_mixed --voice low=FOLDER --voice high=FOLDER [--shared ../shared]

FOLDER holds what the built-in engine learnt of a person (kokoro_voice.json). The sentences are
tests/data/mixed_15.txt, spoken as in a render: listened back to, and doubtful ones spoken again. The judge,
which is the listener's own recogniser, listens in Chinese mode with Whisper's standard decoding (beam of five,
falling back to higher temperatures) and without a prompt: the one of ``probes/eval_voice.py`` of the shared
folder, which only asks for simplified characters, now and then makes Whisper write the prompt itself or a row of
brackets. Both totals are reported.
A Latin word counts as heard when its letters stand in what was heard (so 派森 for Python is a miss). Writes
docs/quality/mixed.md; exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from modules.progress import Progress
from modules.settings import ROOT
from modules.speech.listen_back import Listener
from modules.voice_clone import careful
from modules.voice_clone.base import EnrolledVoice
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine
from modules.voice_clone.builtin.voice import LearntVoice
from tests.bench.common import judge_of, line, threads

SENTENCES = ROOT / "tests" / "data" / "mixed_15.txt"
REPORT = ROOT / "docs" / "quality" / "mixed.md"
ERROR_BAR, HEARD_BAR = 14.0, 80.0
# Words that Whisper writes in Chinese when it hears them in Chinese speech.
LOANS = {"咖啡": "coffee", "酷": "cool", "爵士": "jazz"}


@dataclass
class Score:
    """Syllables (a Latin word counts as one) and Latin words of all sentences of a voice, and what was heard.

    cpu: of speaking and listening back to ``seconds`` of speech; prompted: the same by the judge with its prompt.
    """

    errors: int = 0
    syllables: int = 0
    heard: int = 0
    words: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)
    prompted: Score | None = None

    @property
    def error_rate(self) -> float:
        """Percent of syllables heard wrongly."""
        return 100 * self.errors / self.syllables

    @property
    def heard_rate(self) -> float:
        """Percent of the Latin words that were heard."""
        return 100 * self.heard / self.words

    def add(self, text: str, heard: str, judge: ModuleType) -> None:
        """Count one sentence."""
        for chinese, english in LOANS.items():
            heard = heard.replace(chinese, english)
        found = judge.text_score(heard.replace("-", ""), text, "zh")
        self.errors += found["syl_err"]
        self.syllables += found["syl_n"]
        letters = "".join(latin_words(heard))
        missing = [word for word in latin_words(text) if word not in letters]
        self.words += len(latin_words(text))
        self.heard += len(latin_words(text)) - len(missing)
        self.lines.append(f"| {text} | {heard} | {found['syl_err']}/{found['syl_n']} | {' '.join(missing)} |")


def latin_words(text: str) -> list[str]:
    """Latin words of ``text`` in small letters."""
    return re.findall(r"[a-z]+", text.lower().replace("-", ""))


def judge_voice(engine: BuiltinVoiceEngine, folder: Path, judge: ModuleType, listener: Listener) -> Score:
    """Speak every sentence in one voice as a render does, and judge it."""
    score = Score(prompted=Score())
    assert score.prompted is not None
    for text in SENTENCES.read_text(encoding="utf-8").split():
        voice = EnrolledVoice("builtin", folder)
        began = time.process_time()
        speech, _ = careful.speak(engine, voice, text, "mixed", {}, listener, Progress())
        score.cpu += time.process_time() - began
        score.seconds += len(speech.samples) / speech.sample_rate
        sound = judge.load(speech.samples, src_sr=engine.info.sample_rate)
        # Opens the recogniser, too.
        score.prompted.add(text, judge.asr(sound, "zh")[0], judge)
        segments, _ = judge._wm.transcribe(sound, language="zh", beam_size=5, condition_on_previous_text=False)
        score.add(text, "".join(segment.text for segment in segments).strip(), judge)
        print(score.lines[-1], flush=True)
    return score


def report(scores: dict[str, Score], pitches: dict[str, float]) -> str:
    """The page of docs/quality."""
    lines = [
        "# Mixed text: Chinese with English words",
        "",
        f"`{' '.join(['python', *sys.argv])}`, {time.strftime('%F')}",
    ]
    for name, score in scores.items():
        lines += ["", f"## {name} voice ({pitches[name]:.0f} Hz)", "", "```"]
        lines.append(line("syllables heard wrongly", score.error_rate, "%", ERROR_BAR))
        lines.append(line("Latin words heard", score.heard_rate, "%", HEARD_BAR, at_most=False))
        lines.append(f"speaking and listening back: {score.cpu / score.seconds:.1f} CPU-s a second")
        if score.prompted is not None:
            both = f"{score.prompted.error_rate:.2f} % and {score.prompted.heard_rate:.2f} %"
            lines.append(f"the judge with its prompt: {both}")
        lines += ["```", "", "| said | heard | errors | Latin words missed |", "|---|---|---|---|", *score.lines]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    given: Any = parser.parse_args()
    judge = judge_of(given.shared, given.models)
    engine = BuiltinVoiceEngine(given.models, threads())
    listener = Listener(given.models, threads())
    scores: dict[str, Score] = {}
    pitches: dict[str, float] = {}
    for voice in given.voice:
        name, _, folder = voice.partition("=")
        pitches[name] = LearntVoice.load(Path(folder)).pitch
        scores[name] = judge_voice(engine, Path(folder), judge, listener)
        print(f"{name}: {scores[name].error_rate:.1f} % errors, {scores[name].heard_rate:.0f} % heard", flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report(scores, pitches), encoding="utf-8")
    met = all(score.error_rate <= ERROR_BAR and score.heard_rate >= HEARD_BAR for score in scores.values())
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
