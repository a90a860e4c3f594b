"""Ten minutes of text, with repeated phrases, spoken and listened back to through the pipeline.

    python -m tests.bench.bench_long_speech [--work FOLDER] [--report docs/quality/long_speech.md]

Memory must stay level, the last quarter must be as good as the first, and what is doubtful after all
tries is listed. ``--work`` keeps the voice and the speech for the next run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from modules import pipeline
from modules.progress import Progress
from modules.script import estimate_seconds, parse
from modules.settings import ROOT
from modules.speech.listen_back import Listener
from modules.voice_clone.base import EnrolledVoice
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine
from tests.bench.bench_listen_back import SENTENCES, WRITTEN, enrolled
from tests.bench.common import threads

# By the estimate, which is on the long side: ten minutes of speech.
LONG_SECONDS = 750.0
GROWTH_BAR = 1.05


def long_script() -> str:
    """About ten minutes: the sentences of all languages in turn, a repeated phrase after each ten, over again."""
    in_turn = [sentence for three in zip(*SENTENCES.values(), strict=True) for sentence in three]
    lines: list[str] = []
    while estimate_seconds(parse("\n".join(lines) or "。一", 100_000)) < LONG_SECONDS:
        number = len(lines) // 11
        lines += [in_turn[(10 * number + place) % len(in_turn)] for place in range(10)]
        lines.append(WRITTEN["repeated"][number % len(WRITTEN["repeated"])])
    return "\n".join(lines)


def bench_long(engine: BuiltinVoiceEngine, voice: EnrolledVoice, models: Path, work: Path) -> tuple[list[str], float]:
    """Speak it all; lines of the report, and the memory of the last quarter over that of the first."""
    utterances = parse(long_script(), 100_000)
    listener = Listener(models, threads())
    process = psutil.Process()
    memory: list[int] = []

    def report(fraction: float, stage: str) -> None:
        memory.append(process.memory_info().rss)

    began, cpu = time.monotonic(), time.process_time()
    timeline = pipeline.speak(utterances, engine, voice, {}, work, Progress(report), listener=listener)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    listener.close()
    after = process.memory_info().rss
    verdicts = [(one.text, one.verdict) for one in timeline.spoken if one.verdict is not None]
    quarters = [max(quarter) / 1e9 for quarter in np.array_split(np.array(memory[len(memory) // 10 :]), 4)]
    doubtful = [f"{text} | {'/'.join(v.doubts)} {v.score:.2f} | {v.heard}" for text, v in verdicts if v.doubtful]
    repeated = [v for text, v in verdicts if text in WRITTEN["repeated"]]
    rates = [float(np.mean([v.score for _, v in part])) for part in np.array_split(np.array(verdicts, object), 4)]
    lines = [
        f"- {timeline.seconds:.0f} s of speech, {len(verdicts)} sentences; {wall:.0f} s wall, "
        f"{cpu / timeline.seconds:.2f} CPU-s a second, speaking and listening together",
        "- greatest memory in each quarter (the first tenth left out): "
        + ", ".join(f"{q:.2f} GB" for q in quarters)
        + f"; {after / 1e9:.2f} GB when the recogniser is closed",
        "- mean agreement in each quarter: "
        + ", ".join(f"{rate:.3f}" for rate in rates)
        + f"; in repeated phrases {np.mean([v.score for v in repeated]):.3f}",
        f"- doubtful after all tries: {len(doubtful)} of {len(verdicts)}",
        *(f"  - {line}" for line in doubtful),
    ]
    return lines, quarters[-1] / quarters[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--report", type=Path, default=ROOT / "docs/quality/long_speech.md")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        engine = BuiltinVoiceEngine(given.models, threads())
        voice = enrolled(engine, "man", given.shared, given.models, work)
        found, growth = bench_long(engine, voice, given.models, work / "long")
    lines = [
        "# Ten minutes of speech",
        "",
        f"`python -m tests.bench.bench_long_speech`, {time.strftime('%Y-%m-%d')}, {threads()} cores, a cloned voice.",
        "",
        *found,
        "",
    ]
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    return 0 if growth <= GROWTH_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
