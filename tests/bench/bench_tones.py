"""Does the voice change tones by itself? Minimal pairs: the same words written with plain and with changed tones.

    python -m tests.bench.bench_tones [--words 8]

Each word is spoken inside 他说 … 这个词 by two voice packs as published; the F0 of the syllable in question
comes from the sound (modules.speech.pitch) and its place from the network's own durations. If the contour
of the plain writing is that of the changed one, and not that of the reference, the voice has learnt the change
and must not be told twice. Writes docs/quality/tones.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.settings import ROOT
from modules.speech.pitch import HOP_SECONDS, WINDOW_SECONDS, pitch_track
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, _syllable
from modules.voice_clone.builtin.synthesis import SAMPLE_RATE, Synthesiser

REPORT = ROOT / "docs" / "quality" / "tones.md"
PACKS = ("zf_xiaoxiao", "zm_yunxi")
POINTS = 5
LOW_THEN_LOW = "ni-hao lao-ban yu-san shui-guo shou-biao yong-gan ke-yi zhan-lan xiao-niao li-xiang bao-xian yun-xu"
FALLING = ("ge4", "yang4", "ding4", "ban4", "qie4", "dao4", "lü4", "zhi4", "ci4", "bian4", "pian4", "kuai4")
OTHERS = ("tian1", "zhang1", "ban1", "xie1", "nian2", "tiao2", "ben3", "qi3", "bei1", "tou2", "zhong3", "kou3")
DENIED = ("shi4", "yao4", "hui4", "dui4", "qu4", "kan4", "yong4", "gou4", "zai4", "mai4", "zuo4", "pa4")
DENIED_OTHERS = ("duo1", "he1", "gao1", "xin1", "lai2", "xing2", "hao3", "xiang3", "chi1", "tong2", "xiao3", "neng2")


@dataclass(frozen=True)
class Case:
    """A question and the writings of it to compare: (name, first syllables); seconds are what follows."""

    question: str
    writings: tuple[tuple[str, tuple[str, ...]], ...]
    seconds: tuple[str, ...]


def cases(count: int) -> Iterator[Case]:
    """What is asked."""
    pairs = [pair.split("-") for pair in LOW_THEN_LOW.split()][:count]
    first = [one for one, _ in pairs]

    def all_of(tone: str) -> tuple[str, ...]:
        return tuple(f"{syllable}{tone}" for syllable in first)

    both = (("plain 3", all_of("3")), ("changed 2", all_of("2")))
    yield Case("third tone before third", both, tuple(f"{two}3" for _, two in pairs))
    yield Case("reference: before fourth", both, tuple(f"{two}4" for _, two in pairs))
    for question, own, changed, following in (
        ("一 before fourth", "yi1", "yi2", FALLING),
        ("一 before others", "yi1", "yi4", OTHERS),
        ("不 before fourth", "bu4", "bu2", DENIED),
        ("不 before others (must not change)", "bu4", "bu2", DENIED_OTHERS),
    ):
        writings = ((f"plain {own}", (own,) * count), (f"changed {changed}", (changed,) * count))
        yield Case(question, writings, following[:count])


class Speaker:
    """A published voice, and where its syllables are."""

    def __init__(self, models: Path) -> None:
        folder = models / "kokoro-82m"
        self._vocabulary = Vocabulary(folder)
        self._synthesiser = Synthesiser(folder, int(os.environ.get("OMP_NUM_THREADS", "2")))

    def contour(self, pack: str, first: str, second: str) -> np.ndarray | None:
        """(POINTS,) F0 of ``first`` in semitones above the median of 他说 first second 这个词; None if unvoiced."""
        words = (("ta1",), ("shuo1",), (first, second), ("zhe4", "ge5"), ("ci2",))
        letters = " ".join("".join(_syllable(syllable) for syllable in word) for word in words) + "."
        place = len(" ".join(_syllable(word[0]) for word in words[:2])) + 1
        tokens = self._vocabulary.tokens(letters)
        said = self._synthesiser.say(tokens, voice_packs().style(pack, len(tokens)))
        ends = np.concatenate([[0.0], np.cumsum(said.frames)])
        ends *= len(said.sound) / SAMPLE_RATE / ends[-1]
        # The first token is an end mark.
        start, stop = ends[place + 1], ends[place + 1 + len(_syllable(first))]
        pitch = pitch_track(said.sound, SAMPLE_RATE)
        times = np.arange(len(pitch)) * HOP_SECONDS + WINDOW_SECONDS / 2
        inside = (times >= start) & (times <= stop) & (pitch > 0)
        if inside.sum() < POINTS - 1:
            return None
        semitones = 12 * np.log2(pitch[inside] / np.median(pitch[pitch > 0]))
        return np.interp(np.linspace(times[inside][0], times[inside][-1], POINTS), times[inside], semitones)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--words", type=int, default=8)
    given: Any = parser.parse_args()
    speaker = Speaker(given.models)
    lines = ["# Tones that change: what the voice does by itself", ""]
    lines += [f"`python -m tests.bench.bench_tones --words {given.words}`, {time.strftime('%F')}", ""]
    lines += ["Mean F0 contour of the syllable, semitones above the sentence's median, at five places.", ""]
    lines += ["| question | pack | written | contour | mean | rise |", "|---|---|---|---|---|---|"]
    for case in cases(given.words):
        for pack in PACKS:
            for name, firsts in case.writings:
                spoken = (speaker.contour(pack, one, two) for one, two in zip(firsts, case.seconds, strict=True))
                mean = np.mean([contour for contour in spoken if contour is not None], axis=0)
                points = " ".join(f"{point:+.1f}" for point in mean)
                rise = mean[-1] - mean[1]
                lines.append(f"| {case.question} | {pack} | {name} | {points} | {mean.mean():+.1f} | {rise:+.1f} |")
                print(lines[-1], flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
