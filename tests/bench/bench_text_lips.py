"""Lips of the built-in voice: python -m tests.bench.bench_text_lips [--cache FOLDER]

A prepared man and a prepared woman speak, in their own cloned voices, four Chinese and four English sentences full of
b p m and pauses, through the shipping way (pipeline.speak, pipeline.render). The finished video is looked at anew,
and what its lips do is held against what the voice says when. The control is the beginning made without phones.
Writes docs/quality/text_lips.md and a sheet of mouths for each person; exit status 1 when a bar is missed.
--cache: keeps the tracks, avatars and voices there (about 4 CPU minutes the first time). --keep: keeps the videos; a
bench that was stopped goes on there. About 6 CPU minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from modules import media, pipeline, script, settings
from modules.avatar.base import PreparedAvatar
from modules.avatar.builtin.engine import BuiltinEngine
from modules.avatar.builtin.shapes import CLOSED, LOWER, face_shapes, opening
from modules.face import landmarks as at
from modules.face.track import FaceTracker, Track, track_footage
from modules.media import FRAME_RATE, PAUSE, Phone
from modules.progress import Progress
from modules.speech.extract import CLIP, TIMBRE, extract
from modules.voice_clone.base import EnrolledVoice, Reference
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine
from tests.bench.common import MEDIA
from tests.bench.mouths import mouth, sheet

QUALITY = Path(__file__).resolve().parents[2] / "docs" / "quality"
PEOPLE = {"man": "talk_man_20s.mp4", "woman": "talk_woman_10s.mp4"}
# Written for this test.
SCRIPT = """爸爸买了八本皮面的笔记本，妈妈摸了摸苹果。
明白吗？我们不怕麻烦，慢慢排练，把每个步骤都摆好。[0.6s]
放心，部门办公费用不多，包括门票和房租。
普通朋友陪我跑步，朋友的猫咪在旁边，喵喵叫。
Bob's mum, a happy people person, keeps a map of Paris.
Maybe my baby brother bumped the big blue paper lamp. [0.8s]
Five famous families from above the valley moved home before May.
Please bring both boxes, put them by the pump, and stop.
"""
CLOSED_BAR, REST_BAR = 0.90, 0.98
REST_SECONDS = 0.3
CONTROL_SECONDS = 14.0
ROWS = ("b", "p", "m", "f", "u", "a")
TILES = 6
KINDS = {"a": "aɑæ", "i": "iɪ", "u": "uʊ"}


@dataclass(frozen=True)
class Talker:
    """A person who can be shown and heard."""

    name: str
    avatar: PreparedAvatar
    voice: EnrolledVoice


@dataclass(frozen=True)
class Mouths:
    """Opening and width of the lips in each frame of a video, (N,) in eye distances; landmarks (N, 478, 3)."""

    opening: np.ndarray
    width: np.ndarray
    landmarks: np.ndarray

    @classmethod
    def seen(cls, footage: media.Footage) -> Mouths:
        """All frames of ``footage``, in which a face must be; RuntimeError where it is lost.

        Each is looked at twice: the first look is where the face was a frame ago, and sees a mouth that has just shut
        as still closing.
        """
        tracker, found = FaceTracker(), []
        for frame in media.read_frames(footage):
            picture = media.to_bgr(frame)
            tracker.follow(picture)
            points, _ = tracker.follow(picture)
            if points is None:
                raise RuntimeError("a face was lost")
            found.append(points)
        landmarks = np.array(found)
        lower = face_shapes(landmarks, np.arange(len(landmarks))).lower
        left, right = (LOWER.index(corner) for corner in (at.MOUTH_LEFT, at.MOUTH_RIGHT))
        width = np.linalg.norm(lower[:, left, :2] - lower[:, right, :2], axis=1)
        return cls(opening(lower), width, landmarks)


@dataclass(frozen=True)
class Video:
    """A rendered video as it is seen, and what is said in it."""

    path: Path
    mouths: Mouths
    phones: tuple[Phone, ...]

    def frames(self, symbols: str, least_seconds: float = 0.0) -> np.ndarray:
        """(N,) bool: frames whose middle lies inside a phone of ``symbols`` of at least that length."""
        middles = (np.arange(len(self.mouths.opening)) + 0.5) / FRAME_RATE
        inside = np.zeros(len(middles), bool)
        for phone in joined(self.phones):
            if phone.symbol in symbols and phone.stop - phone.start > least_seconds:
                inside |= (middles >= phone.start) & (middles < phone.stop)
        return inside


def joined(phones: tuple[Phone, ...]) -> Iterator[Phone]:
    """Phones, with pauses that follow each other as one."""
    pause: Phone | None = None
    for phone in phones:
        if pause is not None and phone.symbol == PAUSE:
            pause = Phone(PAUSE, pause.start, phone.stop)
        else:
            if pause is not None:
                yield pause
            pause = phone if phone.symbol == PAUSE else None
            if pause is None:
                yield phone
    if pause is not None:
        yield pause


class Studio:
    """Both engines, and where what they learn is kept."""

    def __init__(self, folder: Path) -> None:
        config = settings.load()
        self._models, self._threads = config.models_dir, config.cpu_threads
        self._lips = BuiltinEngine(config.models_dir, config.cpu_threads)
        self._voice = BuiltinVoiceEngine(config.models_dir, config.cpu_threads)
        self._folder = folder

    def talker(self, name: str) -> Talker:
        """A person of PEOPLE, learnt or from the cache."""
        footage = media.probe(MEDIA / PEOPLE[name])
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        tracked = folder / "track.npz"
        if not tracked.exists():
            track_footage(footage, None, Progress()).save(tracked)
        avatar = self._lips.prepare(footage, Track.load(tracked), folder / "lips", {}, Progress())
        return Talker(name, avatar, self._enrolled(footage, folder))

    def _enrolled(self, footage: media.Footage, folder: Path) -> EnrolledVoice:
        voice = folder / "voice"
        if voice.exists():
            return EnrolledVoice("builtin", voice)
        material = folder / "material"
        shutil.rmtree(material, ignore_errors=True)
        material.mkdir()
        found = extract(footage.path, material, self._models, self._threads, Progress())
        reference = Reference(material / TIMBRE, material / CLIP, found.transcript, found.language)
        return self._voice.enrol(reference, voice, Progress())

    def say(self, talker: Talker, folder: Path, limit: float | None = None) -> pipeline.Timeline:
        """SCRIPT in the talker's voice, or its first ``limit`` seconds."""
        folder.mkdir(parents=True, exist_ok=True)
        return pipeline.speak(script.parse(SCRIPT, 2000), self._voice, talker.voice, {}, folder, Progress(), limit)

    def show(self, talker: Talker, said: pipeline.Timeline, told: bool, folder: Path) -> Video:
        """The talker saying it; ``told``: the lips know the phones."""
        folder.mkdir(parents=True, exist_ok=True)
        sound = Path(shutil.copy(said.sound, folder / "said.wav"))
        timeline = dataclasses.replace(said, sound=sound, phones=said.phones if told else None)
        made = pipeline.render(
            *(timeline, self._lips, talker.avatar, {}, None, "bench", folder, folder / "out", Progress(), self._threads)
        )
        if said.phones is None:
            raise RuntimeError("the voice told nothing")
        return Video(made.video, Mouths.seen(media.probe(made.video)), said.phones)


@dataclass(frozen=True)
class Figures:
    """What a video shows: shares of frames, and mean openings and widths by vowel."""

    closed: float
    closed_frames: int
    tightly: float
    rest: float
    rest_frames: int
    openings: dict[str, float]
    widths: dict[str, float]

    @classmethod
    def of(cls, video: Video) -> Figures:
        lips, mouths = video.frames("bpm"), video.mouths
        pauses = video.frames(PAUSE, REST_SECONDS)
        kinds = {kind: video.frames(symbols) for kind, symbols in KINDS.items()}
        return cls(
            float((mouths.opening[lips] < CLOSED).mean()),
            int(lips.sum()),
            float((mouths.opening[lips] < CLOSED / 2).mean()),
            float((mouths.opening[pauses] < CLOSED).mean()),
            int(pauses.sum()),
            {kind: float(mouths.opening[frames].mean()) for kind, frames in kinds.items()},
            {kind: float(mouths.width[frames].mean()) for kind, frames in kinds.items()},
        )

    @property
    def met(self) -> bool:
        """All bars; an a must be wider open than an i, and an i wider than a u."""
        vowels = self.openings["a"] > self.openings["i"] and self.widths["i"] > self.widths["u"]
        return self.closed >= CLOSED_BAR and self.rest >= REST_BAR and vowels


def closed_in_life(real: Mouths) -> str:
    """How the tracker sees this person's own closed lips."""
    closed = real.opening[real.opening < CLOSED]
    between = float(((real.opening >= CLOSED / 2) & (real.opening < 1.5 * CLOSED)).mean())
    return (
        f"{len(closed)} of {len(real.opening)} real frames lie below; there the median is {np.median(closed):.3f} and "
        f"the 90th percentile {np.quantile(closed, 0.9):.3f}; {100 * between:.0f} % of all lie around the limit "
        f"({CLOSED / 2:g} to {1.5 * CLOSED:g})"
    )


def draw(path: Path, video: Video) -> None:
    """TILES mouths of each sound of ROWS: the middle frame of phones spread over the video."""
    footage = media.probe(video.path)
    rows = []
    for symbol in ROWS:
        middles = [(p.start + p.stop) / 2 for p in video.phones if p.symbol == symbol]
        chosen = [middles[place] for place in np.linspace(0, len(middles) - 1, TILES).round().astype(int)]
        numbers = sorted(int(middle * FRAME_RATE) for middle in chosen)
        pictures = media.read_order(footage, numbers)
        tiles = (media.to_bgr(picture) for picture in pictures)
        rows.append([mouth(tile, video.mouths.landmarks[n]) for tile, n in zip(tiles, numbers, strict=True)])
    sheet(path, rows)


def report(talker: Talker, real: Mouths, told: Figures, untold: Figures) -> list[str]:
    """Markdown lines about one person."""

    def row(label: str, bar: str, met: bool | None, value: str, control: str) -> str:
        return f"| {label} | {bar} | {value} | {'' if met is None else 'met' if met else '**missed**'} | {control} |"

    def each(values: dict[str, float]) -> str:
        return ", ".join(f"{kind} {value:.3f}" for kind, value in values.items())

    return [
        f"## {talker.name}",
        "",
        f"Closed is below {CLOSED:g} eye distances: {closed_in_life(real)}.",
        "So is rest: this person's own mouth at rest is closed.",
        "",
        "| what is seen in the finished video | bar | with phones | | without |",
        "|---|---|---|---|---|",
        row(
            f"frames of b p m with closed lips ({told.closed_frames})",
            f"{100 * CLOSED_BAR:.0f} %",
            told.closed >= CLOSED_BAR,
            f"{100 * told.closed:.1f} %",
            f"{100 * untold.closed:.1f} %",
        ),
        row(f"the same below {CLOSED / 2:g}", "", None, f"{100 * told.tightly:.1f} %", f"{100 * untold.tightly:.1f} %"),
        row(
            f"frames of pauses over {REST_SECONDS} s at rest ({told.rest_frames})",
            f"{100 * REST_BAR:.0f} %",
            told.rest >= REST_BAR,
            f"{100 * told.rest:.1f} %",
            f"{100 * untold.rest:.1f} %",
        ),
        row(
            "mean opening by vowel",
            "a > i",
            told.openings["a"] > told.openings["i"],
            each(told.openings),
            each(untold.openings),
        ),
        row(
            "mean width by vowel", "i > u", told.widths["i"] > told.widths["u"], each(told.widths), each(untold.widths)
        ),
        "",
        f"![mouths](text_lips_{talker.name}.jpg)",
        "",
        f"Rows: {', '.join(ROWS)}; each tile is the frame in the middle of one such phone.",
        "",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder to keep what is learnt of the people in")
    parser.add_argument("--keep", type=Path, help="folder to keep the videos in")
    given = parser.parse_args()
    lines = [
        "# Lips of the built-in voice",
        "",
        f"`python -m tests.bench.bench_text_lips`, {datetime.now(UTC):%Y-%m-%d}. Each frame is looked at twice.",
        "A frame belongs to a phone when its middle lies inside it. "
        f"Without phones: the first {CONTROL_SECONDS:g} s, where the engine hears what it can.",
        "",
    ]
    met = True
    with tempfile.TemporaryDirectory() as scratch:
        work = given.keep or Path(scratch)
        studio = Studio(given.cache or work / "cache")
        for name in PEOPLE:
            talker = studio.talker(name)
            video = studio.show(talker, studio.say(talker, work / name), True, work / name / "told")
            beginning = studio.say(talker, work / name, CONTROL_SECONDS)
            control = studio.show(talker, beginning, False, work / name / "untold")
            real = Mouths.seen(talker.avatar.footage)
            told, untold = Figures.of(video), Figures.of(control)
            met &= told.met
            lines += report(talker, real, told, untold)
            draw(QUALITY / f"text_lips_{name}.jpg", video)
    (QUALITY / "text_lips.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
