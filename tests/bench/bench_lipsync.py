"""Held-out lip sync: python -m tests.bench.bench_lipsync [--keep FOLDER]

Prepares the built-in engine on the first 72 % of talk_man_20s.mp4, lets it speak the sound of the rest over
frames of the first part, and compares the mouth with the true one (../shared/probes/eval_lipsync.py, which
needs scikit-image). The wrong-time control compares the same generated mouth with every other stretch of the clip.
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
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules import media, settings
from modules.avatar import compositor, registry
from modules.avatar.base import PreparedAvatar
from modules.avatar.builtin.shapes import face_shapes, opening
from modules.face.track import Track, track_footage
from modules.progress import Progress
from tests.bench.common import MEDIA, line

PROBES = MEDIA.parent / "probes"
PROTOTYPES = MEDIA.parent / "prototypes" / "lipsync"
TRAINING_SHARE = 0.72
SLOW_SECONDS = 0.4


def mouth_opening(track: Track) -> np.ndarray:
    """(N,) opening with slow changes removed, from a track in which every frame has a face."""
    shapes = face_shapes(track.landmarks, np.arange(len(track)))
    opened = opening(shapes.lower)
    return np.asarray(opened - gaussian_filter1d(opened, SLOW_SECONDS * media.FRAME_RATE))


def wrong_time(generated: np.ndarray, true: np.ndarray, start: int) -> float:
    """95th percentile of the correlation of ``generated`` with stretches of ``true`` that are not its own."""
    others = [at for at in range(10, len(true) - len(generated) - 10, 3) if abs(at - start) >= 15]
    return float(np.quantile([np.corrcoef(generated, true[at : at + len(generated)])[0, 1] for at in others], 0.95))


@dataclasses.dataclass(frozen=True)
class Generated:
    """A rendered video; seconds to prepare, frames a second of rendering, and processor seconds of one frame."""

    video: Path
    prepare: float
    rate: float
    work: float


def generate(clip: media.Footage, track: Track, cut: int, folder: Path) -> Generated:
    """The rest of the clip spoken over its first part."""
    config = settings.load()
    engine = registry.create("builtin", config.models_dir, config.cpu_threads)
    part = dataclasses.replace(clip, frame_count=cut, duration=cut / media.FRAME_RATE)
    began = time.monotonic()
    avatar: PreparedAvatar = engine.prepare(part, track.part(0, cut), folder / "engine", {}, Progress())
    prepared = time.monotonic() - began
    assert avatar.loop.stop <= cut
    sound = media.read_sound(clip.path, 48000, part.duration, clip.duration - part.duration)
    began, worked = time.monotonic(), time.process_time()
    count = -(-len(sound) * media.FRAME_RATE // 48000)
    video = folder / "generated.mp4"
    bases = media.prefetch(media.read_order(part, [avatar.loop.frame(n) for n in range(count)]), 4)
    faces = media.prefetch(engine.animate(avatar, iter([media.AudioChunk(sound, 48000)]), {}), 4)
    with media.VideoWriter(video, clip.width, clip.height, clip.color) as writer:
        for base, face in zip(bases, faces, strict=True):
            writer.write(compositor.paste(base, face))
    return Generated(video, prepared, count / (time.monotonic() - began), (time.process_time() - worked) / count)


def evaluate(clip: Path, video: Path, start: float, folder: Path) -> dict[str, float]:
    """What the probe says, which tracks both videos itself."""
    report = folder / "report.json"
    subprocess.run(
        [
            *(sys.executable, str(PROBES / "eval_lipsync.py"), str(clip), str(video)),
            *("--ref-start", str(start), "--json", str(report)),
        ],
        env={**os.environ, "PYTHONPATH": str(PROTOTYPES)},
        check=True,
    )
    figures: dict[str, float] = json.loads(report.read_text())
    return figures


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, help="folder to keep the generated video in")
    keep = parser.parse_args().keep
    clip = media.probe(MEDIA / "talk_man_20s.mp4")
    track = track_footage(clip, None, Progress())
    cut = round(clip.frame_count * TRAINING_SHARE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        made = generate(clip, track, cut, folder)
        figures = evaluate(clip.path, made.video, cut / media.FRAME_RATE, folder)
        generated = mouth_opening(track_footage(media.probe(made.video), None, Progress()))
    true = mouth_opening(track)
    control = wrong_time(generated, true, cut)
    own = float(np.corrcoef(generated, true[cut : cut + len(generated)])[0, 1])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print()
    print(line("opening correlation, high-pass, lag 0", figures["open_r_hp"], "r", 0.45, at_most=False))
    print(line("best lag", abs(figures["hp_best_lag"]), "frames", 1))
    print(line("same, by our tracker; bar: p95 of the wrong-time control", own, "r", round(control, 3), at_most=False))
    print(line("amplitude against the true mouth", figures["amp"], "x", 1.25))
    print(line("seconds to prepare 14.4 s", made.prepare, "s", 60))
    print(line("render at 1080x1920, engine, decode and encode", made.rate, "fps", 10, at_most=False))
    print(line("its processor time a frame, on all cores together", 1000 * made.work, "ms", 200))
    print(line("peak memory", memory, "MB", 2048))
    met = figures["open_r_hp"] >= 0.45 and abs(figures["hp_best_lag"]) <= 1 and own > control
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
