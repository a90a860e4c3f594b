"""Photos that speak: python -m tests.bench.bench_photo [--out docs/quality]

Lets the built-in engine speak speech_en_a.wav with portrait_a.png and with four still frames of the footage
(each person with closed lips and with a smile that shows teeth), and draws contact sheets of the mouths and
of the faces at blinks and at the ends of the sway. Measures how far the mouth seen by the tracker does what was
asked of it, whether it closes in silence, whether anything outside the moved part changes, and the speed of the
whole way at 1080 pixels across.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np

from modules import media, settings
from modules.avatar import compositor
from modules.avatar.base import PreparedAvatar
from modules.avatar.builtin import eyelids, sway
from modules.avatar.builtin.engine import BuiltinEngine
from modules.avatar.listen import STEADY, windows
from modules.face import landmarks as at
from modules.face.geometry import eye_distance
from modules.face.track import FaceTracker, track_footage
from modules.progress import Progress
from tests.bench.common import MEDIA, line
from tests.bench.mouths import mouth, sheet

SPEECH = "speech_en_a.wav"
# Name, file, and the number of the frame that is taken as a photo.
PHOTOS = (
    ("portrait", "portrait_a.png", 0),
    ("man", "talk_man_20s.mp4", 60),
    ("man, smile", "talk_man_20s.mp4", 216),
    ("woman", "talk_woman_10s.mp4", 102),
    ("woman, smile", "talk_woman_10s.mp4", 54),
)
WIDE = 1080
MOUTHS = 24
SILENCE_SECONDS = 1.0
# Frames at the beginning of silence in which a mouth is still on its way to rest.
SETTLING = 8
FACE_SIDE = 380
BAR_FPS, BAR_CLOSED, BAR_TOUCHING = 15.0, 0.03, 0.9
# A wanted opening under this means lips that touch (p, b, m).
TOUCHING = 1e-3
CORES = 2


@dataclass(frozen=True)
class Result:
    """What was seen of one photo; openings in eye distances."""

    name: str
    follows: float
    amplitude: float
    silent: float
    touching: float
    outside: int
    mouths: list[np.ndarray]
    faces: list[np.ndarray]


def still(folder: Path, name: str, file: str, frame: int, width: int | None = None) -> media.Footage:
    """A PNG of one frame of ``file``, ``width`` pixels across if that is given."""
    picture = media.to_bgr(next(media.read_order(media.probe(MEDIA / file), [frame])))
    if width is not None:
        height = round(picture.shape[0] * width / picture.shape[1] / 2) * 2
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    path = folder / f"{name.replace(', ', '_')}.png"
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return media.probe(path)


def prepared(engine: BuiltinEngine, photo: media.Footage, folder: Path) -> PreparedAvatar:
    return engine.prepare(photo, track_footage(photo, None, Progress()), folder, {}, Progress())


def sound() -> media.AudioChunk:
    """The speech with silence before and after it."""
    speech = media.read_sound(MEDIA / SPEECH, 16000)
    quiet = np.zeros(round(SILENCE_SECONDS * 16000), np.float32)
    return media.AudioChunk(np.concatenate([quiet, speech, quiet]), 16000)


def spoken(engine: BuiltinEngine, avatar: PreparedAvatar, name: str) -> Result:
    """One photo speaking: what is seen, measured and kept for the sheets."""
    original = next(media.read_frames(avatar.footage))
    tracker, tiles, openings, wholes = FaceTracker(), [], [], []
    outside = 0
    for number, face in enumerate(engine.animate(avatar, iter([sound()]), {})):
        assert face.patch is not None and face.mask is not None
        frame = compositor.paste(original.copy(), face)
        outside += _changed_outside(original, frame, face.mask, face.left, face.top)
        picture = media.to_bgr(frame)
        points, _ = tracker.follow(picture)
        assert points is not None
        gap = np.linalg.norm(points[at.LIP_INNER_TOP, :2] - points[at.LIP_INNER_BOTTOM, :2])
        openings.append(float(gap / eye_distance(points)))
        tiles.append((number, mouth(picture, points)))
        wholes.append((number, _whole(picture, points)))
    seen = np.array(openings)
    wanted = _wanted(engine, avatar)
    quiet = round(SILENCE_SECONDS * media.FRAME_RATE)
    said = slice(quiet, len(seen) - quiet)
    rest = np.concatenate([seen[: quiet - SETTLING], seen[len(seen) - quiet + SETTLING :]])
    chosen = np.linspace(quiet, len(seen) - quiet - 1, MOUTHS).round().astype(int)
    return Result(
        name,
        float(np.corrcoef(seen[said], wanted[said])[0, 1]),
        float(seen[said].std() / wanted[said].std()),
        float(np.quantile(rest, 0.95)),
        float((seen[said][wanted[said] < TOUCHING] < BAR_CLOSED).mean()),
        outside,
        [tiles[place][1] for place in chosen],
        [wholes[place][1] for place in _telling(len(seen))],
    )


def _wanted(engine: BuiltinEngine, avatar: PreparedAvatar) -> np.ndarray:
    """(T,) the openings that were asked for, from the engine's own plan; closed in the silence at the start."""
    performance = engine._performance(avatar, False, 0)
    planned = [preview for window in windows(iter([sound()]), STEADY) for preview in performance.plan(window)]
    changes = np.array([preview.move.change for preview in planned])
    return np.asarray(changes - changes[0])


def _changed_outside(before: np.ndarray, after: np.ndarray, mask: np.ndarray, left: int, top: int) -> int:
    """Number of luma pixels that differ although the mask is 0 there."""
    height, width = media.planes(before)[0].shape
    inside = np.zeros((height, width), bool)
    inside[top : top + mask.shape[0], left : left + mask.shape[1]] = mask > 0
    changed = media.planes(before)[0] != media.planes(after)[0]
    return int((changed & ~inside).sum())


def _whole(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Head and shoulders as a square tile."""
    eyes = float(eye_distance(points))
    center = points[at.NOSE_BRIDGE, :2] + (0, 0.45 * eyes)
    side = min(round(4.2 * eyes), *picture.shape[:2])
    left, top = np.clip(np.round(center - side / 2).astype(int), 0, np.array(picture.shape[1::-1]) - side).tolist()
    part = picture[top : top + side, left : left + side]
    return cv2.resize(part, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)


def _telling(count: int) -> list[int]:
    """Frames at the ends of turn and nod, and with the lids half and wholly closed."""
    numbers = np.arange(count)
    poses = sway.poses(numbers, np.zeros(count))
    turn, nod = poses[:, 0], poses[:, 1]
    closed = eyelids.closures(numbers)
    half = np.flatnonzero((closed > 0.3) & (closed < 0.6))
    return [
        int(place) for place in (turn.argmin(), turn.argmax(), nod.argmin(), nod.argmax(), half[0], closed.argmax())
    ]


def speed(engine: BuiltinEngine, folder: Path) -> tuple[float, float]:
    """Frames a second of the whole way at 1080 across, decoding to encoding, and processor milliseconds a frame."""
    config = settings.load()
    avatar = prepared(engine, still(folder, "wide", "portrait_a.png", 0, WIDE), folder / "wide")
    speech = sound()
    count = -(-len(speech.samples) * media.FRAME_RATE // speech.sample_rate)
    bases = media.prefetch(media.read_order(avatar.footage, [avatar.loop.frame(n) for n in range(count)]), 4)
    faces = media.prefetch(engine.animate(avatar, iter([speech]), {}), 4)
    began, worked = time.monotonic(), time.process_time()
    size = avatar.footage.width, avatar.footage.height
    with media.VideoWriter(folder / "wide.mp4", *size, avatar.footage.color, threads=config.cpu_threads) as writer:
        for base, face in zip(bases, faces, strict=True):
            writer.write(compositor.paste(base.copy(), face))
    return count / (time.monotonic() - began), 1000 * (time.process_time() - worked) / count


def report(results: list[Result], fps: float, work: float, out: Path) -> bool:
    """Write photo.md and the sheets; True where every bar is met."""
    for result in results:
        name = result.name.replace(", ", "_")
        sheet(out / f"photo_{name}.jpg", [result.mouths])
    sheet(out / "photo_faces.jpg", [result.faces for result in results])
    met = 1000 * CORES / work >= BAR_FPS and all(
        r.silent <= BAR_CLOSED and r.touching >= BAR_TOUCHING and r.outside == 0 for r in results
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    lines = [
        "# Photos",
        "",
        f"`python -m tests.bench.bench_photo`, {date.today()}, commit {commit.stdout.strip()}, two CPU cores.",
        "Spoken: `speech_en_a.wav` between two silences of one second. Openings in eye distances.",
        "",
        "| photo | seen follows wanted (r) | amplitude | 95 % of silence under | p b m seen shut | changed outside |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.follows:.2f} | {r.amplitude:.2f} | {r.silent:.3f} | {r.touching:.0%} | {r.outside} px |"
            for r in results
        ),
        "",
        f"Whole way at {WIDE} pixels across, decoding to encoding: {work:.0f} ms of processor time a frame, that is"
        f" {1000 * CORES / work:.1f} frames a second on {CORES} free cores (bar {BAR_FPS:g});"
        f" {fps:.1f} by the clock while the bench ran at a load of {os.getloadavg()[1]:.0f}.",
        "",
        "Mouths at 3x, 24 moments of the speech each, then faces at the ends of turn and nod and in a blink.",
        "",
        *(f"![{r.name}](photo_{r.name.replace(', ', '_')}.jpg)" for r in results),
        "",
        "![faces](photo_faces.jpg)",
        "",
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "photo.md").write_text("\n".join(lines), encoding="utf-8")
    return met


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("docs/quality"))
    out = parser.parse_args().out
    config = settings.load()
    engine = BuiltinEngine(config.models_dir, config.cpu_threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        results = []
        for name, file, frame in PHOTOS:
            avatar = prepared(engine, still(folder, name, file, frame), folder / f"engine {name}")
            results.append(spoken(engine, avatar, name))
        fps, work = speed(engine, folder)
    print()
    for result in results:
        print(line(f"{result.name}: opening in silence", result.silent, "eyes", BAR_CLOSED))
        print(line(f"{result.name}: frames of p b m seen shut", result.touching, "", BAR_TOUCHING, at_most=False))
        print(line(f"{result.name}: pixels changed outside the mask", result.outside, "px", 0))
    print(line(f"whole way, {WIDE} across, by processor time", 1000 * CORES / work, "fps", BAR_FPS, at_most=False))
    return 0 if report(results, fps, work, out) else 1


if __name__ == "__main__":
    sys.exit(main())
