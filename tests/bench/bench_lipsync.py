"""Held-out lip sync: python -m tests.bench.bench_lipsync [--folds] [--keep FOLDER]

Prepares the built-in engine on the first 72 % of talk_man_20s.mp4, lets it speak the sound of the rest, and compares
the mouth with the true one (../shared/probes/eval_lipsync.py, which needs scikit-image): once over frames of the
learnt part, as the studio does, and once over the true frames' own heads, which alone can be compared pixel by pixel.
No mouth and no sound of the rest is ever learnt. Then: what training costs, what live costs, and contact sheets.
--folds: also how well openings are predicted when each quarter of a clip in turn is held out (5 CPU minutes).
Writes docs/quality/lips.md and its sheets.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules import media, settings
from modules.avatar.base import BaseLoop, PreparedAvatar
from modules.avatar.builtin.ears import Ears
from modules.avatar.builtin.engine import BuiltinEngine
from modules.avatar.builtin.footage import mouth_boxes
from modules.avatar.builtin.learn import attend, store_crops
from modules.avatar.builtin.perform import Drawn, PersonPerformance
from modules.avatar.builtin.person import LoadedPerson, PersonModel
from modules.avatar.builtin.plan import Drawing
from modules.avatar.builtin.shapes import face_shapes, opening
from modules.avatar.builtin.sounds import heard_phones
from modules.avatar.builtin.sync import USUAL_LAG
from modules.avatar.builtin.visemes import Mouth
from modules.avatar.silence import gate
from modules.face.track import Track, track_footage
from modules.progress import Progress
from tests.bench.common import MEDIA, line
from tests.bench.mouths import mouth, sheet, speak

PROBES = MEDIA.parent / "probes"
PROTOTYPES = MEDIA.parent / "prototypes" / "lipsync"
QUALITY = Path(__file__).resolve().parents[2] / "docs" / "quality"
TRAINING_SHARE = 0.72
SLOW_SECONDS = 0.4
RATE = 48000
SHEET_TILES = 24
FOLDS = 4
OUT_OF_REACH = 1e3


@dataclass(frozen=True)
class Clip:
    """A test clip, tracked; ``cut`` is the first frame that is held out."""

    footage: media.Footage
    track: Track
    cut: int

    @classmethod
    def named(cls, name: str) -> Clip:
        footage = media.probe(MEDIA / name)
        return cls(footage, track_footage(footage, None, Progress()), round(footage.frame_count * TRAINING_SHARE))

    @property
    def learnt(self) -> media.Footage:
        """The part that may be learnt."""
        return dataclasses.replace(self.footage, frame_count=self.cut, duration=self.cut / media.FRAME_RATE)

    @property
    def rest(self) -> media.AudioChunk:
        """The sound that is held out."""
        start = self.cut / media.FRAME_RATE
        return media.AudioChunk(media.read_sound(self.footage.path, RATE, start, self.footage.duration - start), RATE)


class Studio:
    """The engine, and the clips that it has learnt in ``folder``."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        config = settings.load()
        self.engine = BuiltinEngine(config.models_dir, threads or config.cpu_threads)
        self.folder = folder

    def prepared(self, clip: Clip) -> PreparedAvatar:
        """The avatar of the learnt part of ``clip``."""
        folder = self.folder / clip.footage.path.stem
        return self.engine.prepare(clip.learnt, clip.track.part(0, clip.cut), folder, {}, Progress())

    def on_true_heads(self, clip: Clip) -> PreparedAvatar:
        """The same, but carried by the frames of the rest, whose mouths cannot be chosen."""
        model = PersonModel.load(self.prepared(clip).folder)
        folder = self.folder / f"{clip.footage.path.stem}-heads"
        frames = np.arange(len(clip.track))
        known = np.isin(frames, model.frames)
        landmarks = clip.track.landmarks
        if not folder.exists():
            folder.mkdir()
            boxes = mouth_boxes(face_shapes(landmarks, frames, model.reference), *model.size.tolist())[1]
            store_crops(clip.footage, frames, boxes, folder, Progress())
        dataclasses.replace(model, frames=frames, landmarks=landmarks).save(folder)
        person = LoadedPerson(folder)
        vectors = np.where(known[:, None], person.units.vectors, OUT_OF_REACH)
        person.units = dataclasses.replace(person.units, vectors=vectors)
        self.engine._loaded = folder, person
        return PreparedAvatar("builtin", folder, clip.footage, clip.track, BaseLoop(clip.cut, len(frames)))

    def film(self, avatar: PreparedAvatar, sound: media.AudioChunk, video: Path) -> tuple[int, float, float]:
        """Write the whole picture; frames, seconds and processor seconds that it took."""
        began, worked, count = time.monotonic(), time.process_time(), 0
        with media.VideoWriter(video, avatar.footage.width, avatar.footage.height, avatar.footage.color) as writer:
            for spoken in speak(self.engine, avatar, sound):
                writer.write(spoken.picture)
                count += 1
        return count, time.monotonic() - began, time.process_time() - worked


@dataclass
class Report:
    """The lines of the report, printed as they come."""

    lines: list[str] = dataclasses.field(default_factory=list)

    def title(self, text: str) -> None:
        self._say(f"\n## {text}\n")

    def bar(self, what: str, value: float, unit: str, limit: float, at_most: bool = True) -> None:
        """One figure that has a bar."""
        self._say("    " + line(what, value, unit, limit, at_most))

    def figure(self, what: str, value: float, unit: str) -> None:
        """One figure without a bar."""
        self._say(f"          {what:58s} {value:9.2f} {unit}")

    def note(self, text: str) -> None:
        self._say(f"{text}\n")

    def picture(self, name: str, text: str) -> None:
        self._say(f"![{text}]({name})\n")

    def _say(self, text: str) -> None:
        print(text, flush=True)
        self.lines.append(text)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    @property
    def missed(self) -> int:
        return sum("MISS" in text for text in self.lines)


def high_pass(opened: np.ndarray) -> np.ndarray:
    """(N,) openings with slow changes removed."""
    return np.asarray(opened - gaussian_filter1d(opened, SLOW_SECONDS * media.FRAME_RATE))


def openings(track: Track) -> np.ndarray:
    """(N,) openings in a track in which every frame has a face."""
    return opening(face_shapes(track.landmarks, np.arange(len(track))).lower)


def wrong_time(generated: np.ndarray, true: np.ndarray, start: int) -> float:
    """95th percentile of the correlation of ``generated`` with stretches of ``true`` that are not its own."""
    others = [at for at in range(10, len(true) - len(generated) - 10, 3) if abs(at - start) >= 15]
    return float(np.quantile([np.corrcoef(generated, true[at : at + len(generated)])[0, 1] for at in others], 0.95))


def probed(clip: Clip, video: Path) -> dict[str, float]:
    """What the probe says, which tracks both videos itself."""
    report = video.with_suffix(".json")
    subprocess.run(
        [
            *(sys.executable, str(PROBES / "eval_lipsync.py"), str(clip.footage.path), str(video)),
            *("--ref-start", str(clip.cut / media.FRAME_RATE), "--json", str(report)),
        ],
        env={**os.environ, "PYTHONPATH": str(PROTOTYPES)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    figures: dict[str, float] = json.loads(report.read_text())
    return figures


def held_out(report: Report, studio: Studio, clip: Clip) -> None:
    """The man's rest, on learnt heads and on its own."""
    report.title(f"{clip.footage.path.stem}, last 28 % held out")
    for name, avatar in (("learnt heads", studio.prepared(clip)), ("true heads", studio.on_true_heads(clip))):
        video = studio.folder / f"{name.replace(' ', '-')}.mp4"
        count, seconds, work = studio.film(avatar, clip.rest, video)
        figures = probed(clip, video)
        report.bar(f"{name}: opening, high-pass correlation at lag 0", figures["open_r_hp"], "r", 0.55, at_most=False)
        if name == "learnt heads":
            generated, true = (
                high_pass(openings(track_footage(media.probe(video), None, Progress()))),
                openings(clip.track),
            )
            control = wrong_time(generated, high_pass(true), clip.cut)
            report.figure("the same with other times of the clip, 95 %", control, "r")
        report.bar(f"{name}: best lag", abs(figures["hp_best_lag"]), "frames", 1)
        report.bar(f"{name}: amplitude, not less", figures["amp"], "x", 0.8, at_most=False)
        report.bar(f"{name}: amplitude, not more", figures["amp"], "x", 1.25)
        report.bar(f"{name}: closed-mouth F1", figures["closed_F1"], "", 0.60, at_most=False)
        report.bar(
            f"{name}: lip jitter against real", figures["jitter_lips_gen"] / figures["jitter_lips_ref"], "x", 1.1
        )
        report.figure(
            f"{name}: jitter of the mouth's centre", figures["jitter_center_gen"] / figures["jitter_center_ref"], "x"
        )
        report.bar(f"{name}: flicker against real", figures["flicker_gen"] / figures["flicker_ref"], "x", 1.08)
        report.figure(f"{name}: width correlation", figures["width_r"], "r")
        if name == "true heads":
            report.bar(f"{name}: mouth PSNR", figures["psnr"], "dB", 24.5, at_most=False)
            report.bar(f"{name}: mouth SSIM", figures["ssim"], "", 0.76, at_most=False)
        else:
            # 15 fps on one core alone; two quiet ones are quicker, a busy machine says nothing by its clock.
            report.bar("render at 1080x1920, whole way: processor time a frame", 1000 * work / count, "ms", 1000 / 15)
            report.figure("the same by the clock", count / seconds, "fps")


def training(report: Report, studio: Studio, clip: Clip) -> None:
    """What it costs to learn 20 s and 60 s of footage, tracking included."""
    report.title("Training, tracking included")
    report.note(f"Load of the machine, which has two cores: {os.getloadavg()[0]:.0f}.")
    report.note("60 s: the clip three times over, its pictures backwards and its sound reversed the second time.")
    minute = studio.folder / "minute.mp4"
    _three_times(clip.footage, minute)
    for path, seconds, bar in ((clip.footage.path, 20, 45), (minute, 60, 100)):
        began, worked = time.monotonic(), time.process_time()
        footage = media.probe(path)
        track = track_footage(footage, None, Progress())
        tracked = time.process_time() - worked
        studio.engine.prepare(footage, track, studio.folder / f"training{seconds}", {}, Progress())
        work, clock = time.process_time() - worked, time.monotonic() - began
        report.bar(f"{seconds} s of footage: processor seconds, all threads together", work, "s", bar)
        report.figure("of them tracking", tracked, "s")
        report.figure("by the clock", clock, "s")


def _three_times(footage: media.Footage, path: Path) -> None:
    silent, wav = path.with_name("silent.mp4"), path.with_suffix(".wav")
    count = footage.frame_count
    order = [*range(count), *range(count - 1, -1, -1), *range(count)]
    with media.VideoWriter(silent, footage.width, footage.height, footage.color) as writer:
        for picture in media.read_order(footage, order):
            writer.write(picture)
    sound = media.read_sound(footage.path, RATE, 0.0, footage.duration)
    media.write_wav(wav, np.concatenate([sound, sound[::-1], sound]), RATE)
    media.join([silent], wav, path, {}, Progress())


def live(report: Report, studio: Studio, clip: Clip) -> None:
    """Processor time of one frame in live mode, on one thread, without decoding and encoding."""
    report.title("Live")
    alone = Studio(studio.folder, threads=1)
    avatar = alone.prepared(clip)
    list(alone.engine.animate(avatar, iter([media.AudioChunk(np.zeros(RATE, np.float32), RATE)]), {"live": True}))
    sound = media.read_wav(MEDIA / "speech_en_a.wav")
    worked = time.process_time()
    count = sum(1 for _ in alone.engine.animate(avatar, iter([sound]), {"live": True}))
    work = (time.process_time() - worked) / count
    report.bar("processor time of one frame (25 fps with 10 % to spare)", 1000 * work, "ms", 36)


def folds(report: Report, clip: Clip) -> None:
    """How well openings are predicted, each quarter of the clip held out in turn; nothing is drawn."""
    report.title(f"{clip.footage.path.stem}, each quarter held out in turn")
    config = settings.load()
    lesson = attend(clip.footage, np.flatnonzero(clip.track.usable), Ears(config.models_dir, 1), Progress())
    assert lesson is not None
    lower = face_shapes(clip.track.landmarks[lesson.frames], lesson.frames).lower
    true = opening(lower)
    fold = np.arange(len(true)) * FOLDS // len(true)
    correlations = []
    for number in range(FOLDS):
        held = fold == number
        space, speech = lesson.part(~held).learnt(lower[~held], Progress())
        unseen = lesson.part(held)
        codes = speech.predict(unseen.hearing, unseen.times, unseen.spoken, space)
        codes = space.rest + (codes - space.rest) * gate(unseen.spoken, space.closing)[:, None]
        phones = heard_phones(unseen.hearing.sounds)
        mouth_of = Mouth(space, lower[~held], lesson.frames[~held])
        codes = mouth_of.heed(codes, unseen.times - USUAL_LAG, phones).codes
        guess = opening(space.decode(codes))
        correlations.append(np.corrcoef(high_pass(guess), high_pass(true[held]))[0, 1])
    report.figure(f"mean high-pass correlation of {FOLDS} folds", np.mean(correlations), "r")
    report.figure("the worst fold", np.min(correlations), "r")


def _some(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, SHEET_TILES).round().astype(int)


def against_truth(path: Path, studio: Studio, clip: Clip) -> None:
    """Generated mouths above real ones, on the true heads."""
    avatar = studio.on_true_heads(clip)
    made = _mouths(studio, avatar, clip, clip.rest)
    real = [
        mouth(media.to_bgr(picture), clip.track.landmarks[clip.cut + number])
        for number, picture in enumerate(media.read_frames(clip.footage, clip.cut))
    ]
    chosen = _some(min(len(made), len(real)))
    sheet(path, [[made[n].picture for n in chosen], [real[n] for n in chosen]])


def other_sound(path: Path, studio: Studio, clip: Clip, sound: media.AudioChunk) -> None:
    """Mouths that speak somebody else's sound, above the footage's own frames that they were taken from."""
    made = _mouths(studio, studio.prepared(clip), clip, sound)
    chosen = [made[n] for n in _some(len(made))]
    sheet(path, [[one.picture for one in chosen], _footage(clip, chosen)])


def turned(path: Path, studio: Studio, clips: list[Clip], sound: media.AudioChunk) -> None:
    """For each clip the frames on which the head is turned furthest from where it mostly is; below, as above."""
    tiles, real = [], []
    for clip in clips:
        made = _mouths(studio, studio.prepared(clip), clip, sound)
        yaw = clip.track.pose[:, 0]
        away = np.array([abs(yaw[one.base] - np.median(yaw)) for one in made])
        far = np.sort(np.argsort(-away)[: 4 * SHEET_TILES // len(clips)])
        chosen = [made[n] for n in far[::4]]
        tiles += [one.picture for one in chosen]
        real += _footage(clip, chosen)
    sheet(path, [tiles, real])


@dataclass(frozen=True)
class Made:
    """An output frame's mouth, the number of the frame below it, and of the one that most of the mouth is from."""

    picture: np.ndarray
    base: int
    origin: int


def _mouths(studio: Studio, avatar: PreparedAvatar, clip: Clip, sound: media.AudioChunk) -> list[Made]:
    """The mouth of each output frame."""
    origins: list[int] = []
    draw = PersonPerformance.draw

    def noting(performance: PersonPerformance, planned: Drawing) -> Drawn:
        blend = planned.blend
        origins.append(int(performance._person.frames[blend.units[int(np.argmax(blend.shares))]]))
        return draw(performance, planned)

    with mock.patch.object(PersonPerformance, "draw", noting):
        pictures = [
            (mouth(media.to_bgr(spoken.picture), clip.track.landmarks[spoken.base]), spoken.base)
            for spoken in speak(studio.engine, avatar, sound)
        ]
    return [Made(picture, base, origin) for (picture, base), origin in zip(pictures, origins, strict=True)]


def _footage(clip: Clip, chosen: list[Made]) -> list[np.ndarray]:
    """The mouths as the footage has them."""
    numbers = [one.origin for one in chosen]
    frames = media.read_order(clip.footage, numbers)
    return [mouth(media.to_bgr(frame), clip.track.landmarks[n]) for frame, n in zip(frames, numbers, strict=True)]


def sheets(report: Report, studio: Studio, man: Clip, woman: Clip) -> None:
    """All contact sheets, at three times the size of the pictures."""
    report.title("Contact sheets")
    english = media.read_wav(MEDIA / "speech_en_a.wav")
    against_truth(QUALITY / "lips_man.jpg", studio, man)
    report.picture("lips_man.jpg", "talk_man, held-out own sound: generated above, real below")
    against_truth(QUALITY / "lips_woman.jpg", studio, woman)
    report.picture("lips_woman.jpg", "talk_woman, held-out own sound: generated above, real below")
    other_sound(QUALITY / "lips_other.jpg", studio, man, english)
    report.picture(
        "lips_other.jpg",
        "talk_man, the sound of another speaker (speech_en_a); below, the footage that these mouths are from",
    )
    turned(QUALITY / "lips_turned.jpg", studio, [man, woman], english)
    report.picture(
        "lips_turned.jpg",
        "the heads turned furthest away, the sound of another speaker; below, the frames that these mouths are from",
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, help="folder to keep the generated videos in")
    parser.add_argument("--folds", action="store_true", help="also hold out each quarter of both clips")
    parser.add_argument(
        "--only", choices=("held_out", "training", "live", "folds", "sheets"), help="one part, no report"
    )
    given = parser.parse_args()
    report = Report()
    report.note(f"# Lips of the built-in engine\n\n`python -m tests.bench.bench_lipsync`, {datetime.now(UTC):%Y-%m-%d}")
    man, woman = Clip.named("talk_man_20s.mp4"), Clip.named("talk_woman_10s.mp4")
    parts = {
        "held_out": lambda: held_out(report, studio, man),
        "training": lambda: training(report, studio, man),
        "live": lambda: live(report, studio, man),
        "folds": lambda: [folds(report, clip) for clip in (man, woman)],
        "sheets": lambda: sheets(report, studio, man, woman),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if given.keep is None else given.keep
        folder.mkdir(parents=True, exist_ok=True)
        studio = Studio(folder)
        for name, part in parts.items():
            if given.only in (None, name) and (name != "folds" or given.folds or given.only):
                part()
    report.title("Memory of all this")
    report.figure("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")
    if given.only is None:
        report.write(QUALITY / "lips.md")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
