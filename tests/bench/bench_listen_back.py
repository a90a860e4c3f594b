"""How well listening back tells good speech from damaged speech, and what it costs.

    python -m tests.bench.bench_listen_back [--work FOLDER] [--report docs/quality/listening_back.md]

Two persons are cloned from the shared clips and speak the sentences of tests/data/listen_back.json in turn.
Every sentence is judged as it is (an alarm is a false alarm, unless the speech is really bad), and after
damage: a piece left out, a piece said twice, a burst of noise, the end cut off, other words, another
language. ``--work`` keeps voices and speech for the next run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules import media
from modules.media import AudioChunk
from modules.progress import Progress
from modules.settings import ROOT
from modules.speech import soundness
from modules.speech.extract import CLIP, TIMBRE, extract
from modules.speech.listen_back import Listener, Verdict
from modules.voice_clone.base import EnrolledVoice, Reference
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine
from tests.bench.common import threads

Floats = NDArray[np.float32]

PERSONS = {"man": "talk_man_20s.mp4", "woman": "talk_woman_10s.mp4"}
WRITTEN: dict[str, list[str]] = json.loads((ROOT / "tests/data/listen_back.json").read_text(encoding="utf-8"))
SENTENCES = {language: WRITTEN[language] for language in ("zh", "en", "mixed")}
FALSE_ALARM_BAR = 0.05
HIT_BAR = 0.85
COST_BAR = 0.2
LEFT_OUT_SECONDS = 0.45
TWICE_SECONDS = 0.8
CUT_SECONDS = 0.4
BURST_SECONDS = 0.3
HOLE_SECONDS = 0.06


@dataclass
class Tally:
    """How many were judged, how many of these were doubted, and what that cost."""

    judged: int = 0
    doubted: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)


def enrolled(engine: BuiltinVoiceEngine, name: str, shared: Path, models: Path, folder: Path) -> EnrolledVoice:
    """The clone of a person of the shared clips."""
    voice = folder / name
    if not voice.exists():
        material = folder / f"{name}_material"
        material.mkdir(parents=True, exist_ok=True)
        found = extract(shared / "media" / PERSONS[name], material, models, threads(), Progress())
        reference = Reference(material / TIMBRE, material / CLIP, found.transcript, found.language)
        engine.enrol(reference, voice, Progress())
    return EnrolledVoice(engine.info.id, voice)


def spoken(engine: BuiltinVoiceEngine, voice: EnrolledVoice, text: str, language: str, file: Path) -> AudioChunk:
    """The sentence, from ``file`` when it is there."""
    if not file.exists():
        chunk = media.collect(engine.speak(voice, text, language, {}))
        media.write_wav(file, chunk.samples, chunk.sample_rate)
    return media.read_wav(file)


def damages(sound: Floats, rate: int, random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """The sound with one fault each. Cuts are made where it is quietest nearby, as a stumbling voice does."""

    def quiet(seconds: float) -> int:
        """The quietest sample within 80 ms."""
        middle, reach = round(seconds * rate), round(0.08 * rate)
        low = max(0, middle - reach)
        energy = np.convolve(sound[low : middle + reach] ** 2, np.ones(240), "same")
        return low + int(energy.argmin())

    total = len(sound) / rate
    start = quiet(float(random.uniform(0.2, 0.5)) * total)
    left_out = quiet(start / rate + LEFT_OUT_SECONDS)
    yield "a piece left out", np.concatenate([sound[:start], sound[left_out:]])
    twice = quiet(start / rate + TWICE_SECONDS)
    yield "a piece said twice", np.concatenate([sound[:twice], sound[start:]])
    # Back from the end of the body of speech: a clone may have a long tail.
    spoken = np.flatnonzero(soundness.loud_frames(sound, rate))[-1] * soundness.FRAME_SECONDS
    end = round((spoken - CUT_SECONDS) * rate)
    yield "end cut off", sound[:end]
    faded = sound[:end].copy()
    faded[-round(0.03 * rate) :] *= np.linspace(1, 0, round(0.03 * rate), dtype=np.float32)
    yield "end cut off softly", faded
    burst = sound.copy()
    noise = random.normal(0, np.sqrt((sound**2).mean()) * 2, round(BURST_SECONDS * rate))
    burst[start : start + len(noise)] += noise[: len(burst) - start].astype(np.float32)
    yield "burst of noise", burst
    loudest = int(np.convolve(sound**2, np.ones(round(0.05 * rate)), "same").argmax())
    hole = sound.copy()
    hole[loudest : loudest + round(HOLE_SECONDS * rate)] = 0
    yield "hole", hole


def judge(listener: Listener, sound: Floats, rate: int, text: str, language: str, tally: Tally) -> Verdict:
    """Listen to one sentence and count it."""
    began = time.process_time()
    verdict = listener(AudioChunk(sound, rate), text, language, 1.0, Progress())
    tally.cpu += time.process_time() - began
    tally.seconds += len(sound) / rate
    tally.judged += 1
    if verdict.doubtful:
        tally.doubted += 1
        tally.notes.append(f"{text} | {'/'.join(verdict.doubts)} {verdict.score:.2f} | {verdict.heard}")
    else:
        tally.passed.append(f"{text} | {verdict.score:.2f} | {verdict.heard}")
    return verdict


def bench(listener: Listener, speech: dict[tuple[str, str, int], AudioChunk]) -> dict[str, Tally]:
    """Tallies by what was judged: good speech by language, then each kind of damage."""
    tallies: dict[str, Tally] = {}

    def tally(name: str) -> Tally:
        return tallies.setdefault(name, Tally())

    for place, ((person, language, number), chunk) in enumerate(speech.items()):
        text, rate = SENTENCES[language][number], chunk.sample_rate
        judge(listener, chunk.samples, rate, text, language, tally(f"good {language}"))
        wrong = dict(damages(chunk.samples, rate, np.random.default_rng(place)))
        others = SENTENCES[language]
        wrong["other words"] = speech[person, language, (number + len(PERSONS)) % len(others)].samples
        wrong["another language"] = speech[person, "zh" if language == "en" else "en", number].samples
        # Each sentence has one fault, in turn.
        name = [*wrong][place % len(wrong)]
        judge(listener, wrong[name], rate, text, language, tally(name))
    return tallies


def table(tallies: dict[str, Tally]) -> list[str]:
    """Rows of the report."""
    rows = ["| judged | doubted | of | share | CPU-s a second |", "|---|---|---|---|---|"]
    for name, tally in tallies.items():
        share = tally.doubted / tally.judged
        rows.append(f"| {name} | {tally.doubted} | {tally.judged} | {share:.1%} | {tally.cpu / tally.seconds:.3f} |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--report", type=Path, default=ROOT / "docs/quality/listening_back.md")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        engine = BuiltinVoiceEngine(given.models, threads())
        voices = {name: enrolled(engine, name, given.shared, given.models, work) for name in PERSONS}
        speech = {
            (name, language, number): spoken(engine, voice, text, language, work / f"{name}_{language}{number:02d}.wav")
            for first, (name, voice) in enumerate(voices.items())
            for language, sentences in SENTENCES.items()
            for number, text in [*enumerate(sentences)][first :: len(voices)]
        }
        listener = Listener(given.models, threads())
        tallies = bench(listener, speech)
        listener.close()
    good = [tally for name, tally in tallies.items() if name.startswith("good")]
    bad = [tally for name, tally in tallies.items() if not name.startswith("good")]
    figures = {
        "false alarms": (sum(t.doubted for t in good) / sum(t.judged for t in good), FALSE_ALARM_BAR, True),
        "hits": (sum(t.doubted for t in bad) / sum(t.judged for t in bad), HIT_BAR, False),
        "CPU-s a second of good speech": (sum(t.cpu for t in good) / sum(t.seconds for t in good), COST_BAR, True),
    }
    lines = [
        "# Listening back",
        "",
        f"`python -m tests.bench.bench_listen_back`, {time.strftime('%Y-%m-%d')}, {threads()} cores. "
        f"{len(speech)} sentences in {len(PERSONS)} cloned voices, each as it is and with one damage.",
        "",
        *(
            f"- {name}: {value:.3f} (bar {bar:g}, {'met' if (value <= bar) == at_most else 'MISSED'})"
            for name, (value, bar, at_most) in figures.items()
        ),
        "",
        *table(tallies),
        "",
        "## Alarms in speech as it is",
        "Asked | why, agreement | heard.",
        "",
        *(f"- {note}" for tally in good for note in tally.notes),
        "",
        "## Damage that passed",
        "Kind | asked | agreement | heard.",
        "",
        *(f"- {name} | {note}" for name, tally in tallies.items() if tally in bad for note in tally.passed),
        "",
    ]
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    return 0 if all((value <= bar) == at_most for value, bar, at_most in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
