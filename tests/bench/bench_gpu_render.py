"""The whole way on a graphics card, with made-up weights: speed, memory, and how soon the first frame comes.

``python -m tests.bench.bench_gpu_render VIDEO [--engines wav2lip256 musetalk15] [--minutes 10]``; needs CUDA.

Each engine runs in a process of its own: it prepares the avatar, renders 10 s, 60 s and, with --minutes, a long
output of VIDEO speaking its own sound, from decoding to the joined file. Then a fresh process tells how long the
first frame takes with everything on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from modules import media, pipeline
from modules.avatar import registry
from modules.avatar.base import PreparedAvatar
from modules.face.track import Track, track_footage
from modules.jobs.supervisor import worker_environment
from modules.progress import Progress
from tests import made_weights
from tests.bench.common import line, threads

# Times as fast as real time, of issue 4; and gigabytes of the card with the smallest batch.
SPEED_BARS = {"musetalk15": 4.0, "wav2lip256": 6.0}
CARD_BARS = {"musetalk15": 4.0, "wav2lip256": 2.0}
COLD_SECONDS, WARM_SECONDS, MEMORY_GB, GROWTH = 15.0, 0.5, 3.0, 1.10


def timeline(footage: media.Footage, seconds: float, work: Path) -> pipeline.Timeline:
    """The footage's own sound, again and again, as if it had been spoken in pieces of five seconds."""
    own = media.read_sound(footage.path, 24000)
    sound = np.tile(own, int(seconds * 24000 // len(own)) + 1)[: round(seconds * 24000)]
    media.write_wav(work / "sound.wav", sound, 24000)
    cuts = np.arange(0, len(sound), 5 * 24000).tolist()
    spoken = [pipeline.Spoken("…", start, min(start + 5 * 24000, len(sound))) for start in cuts]
    return pipeline.Timeline(work / "sound.wav", 24000, len(sound) * 25 // 24000, tuple(spoken))


def engine_in(folder: Path, name: str) -> Any:
    """The engine with made-up weights in ``folder``."""
    made_weights.trust(setattr)
    engine = registry.create(name, folder / "models", threads())
    for entry in engine.info.weights:
        if not (folder / "models" / entry).exists():
            made_weights.write(folder / "models", entry)
    return engine


def prepared(engine: Any, folder: Path, footage: media.Footage) -> PreparedAvatar:
    """The avatar, prepared anew or as it lies there."""
    avatar: PreparedAvatar = engine.prepare(
        footage, Track.load(folder / "track.npz"), folder / engine.info.id, {}, Progress()
    )
    return avatar


def rendered(engine: Any, avatar: PreparedAvatar, seconds: float, options: dict[str, Any]) -> float:
    """Seconds that a render of ``seconds`` takes, sound given, from decoding to the joined file."""
    with tempfile.TemporaryDirectory() as work:
        spoken = timeline(avatar.footage, seconds, Path(work))
        begin = time.perf_counter()
        place = Path(work)
        result = pipeline.render(
            spoken, engine, avatar, options, "en", "bench", place, place / "out", Progress(), threads()
        )
        took = time.perf_counter() - begin
        assert result.frames == spoken.frames
        with soundfile.SoundFile(result.sound) as sound:
            print(f"      {seconds:.0f} s rendered in {took:.1f} s, sound {len(sound) / 24000:.2f} s", flush=True)
        return took


def whole_way(folder: Path, name: str, video: Path, minutes: float) -> None:
    """Prepare and render, and print a line for each bar."""
    import torch

    footage = media.probe(video)
    engine = engine_in(folder, name)
    begin = time.perf_counter()
    avatar = prepared(engine, folder, footage)
    print(
        f"      {name}: prepared {avatar.loop.stop - avatar.loop.start} frames in {time.perf_counter() - begin:.1f} s"
    )
    process = psutil.Process()
    with Peak(process) as first:
        rendered(engine, avatar, 10, {})
    took = rendered(engine, avatar, 60, {})
    print(line(f"{name}: 60 s, times as fast as real time", 60 / took, "x", SPEED_BARS.get(name, 1.0), at_most=False))
    wait_for_compiling(engine)
    with Peak(process) as short:
        rendered(engine, avatar, 10, {})
    took = rendered(engine, avatar, 60, {})
    print(line(f"{name}: the same, compiled", 60 / took, "x", SPEED_BARS.get(name, 1.0), at_most=False))
    with Peak(process) as long:
        rendered(engine, avatar, 60 * (minutes or 1), {})
    print(f"      most main memory: 10 s {first.bytes / 1e9:.2f} GB, compiled {short.bytes / 1e9:.2f} GB")
    print(line(f"{name}: most main memory, {minutes or 1:g} min", long.bytes / 1e9, "GB", MEMORY_GB))
    print(line(f"{name}: the same against 10 s", long.bytes / short.bytes, "x", GROWTH), flush=True)
    engine.unload()
    torch.cuda.reset_peak_memory_stats()
    rendered(engine, avatar, 10, {"batch": 1})
    card = torch.cuda.max_memory_reserved() / 1e9
    print(line(f"{name}: card memory with the smallest batch", card, "GB", CARD_BARS.get(name, 8.0)), flush=True)


class Peak:
    """The most main memory of a process while the block runs, in bytes, looked at ten times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._done = process, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.bytes = max(self.bytes, self._process.memory_info().rss)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def wait_for_compiling(engine: Any, limit: float = 240.0) -> None:
    """Until the engine's networks are compiled, or ``limit`` seconds."""
    begin = time.perf_counter()
    for upgrade in engine._runner._upgrades.values():
        if upgrade._thread.is_alive():
            upgrade._thread.join(max(0.0, limit - (time.perf_counter() - begin)))
        if upgrade._thread.is_alive():
            print("      still compiling")
            return
    print(f"      compiled after {time.perf_counter() - begin:.0f} s more")


def first_frames(folder: Path, name: str, video: Path, begun: float) -> None:
    """How long the first frame takes in this fresh process, and in another speech after it."""
    engine = engine_in(folder, name)
    footage = media.probe(video)
    sound = media.read_sound(video, 16000, 0.0, 2.0)
    for label, bar, since in (("cold start", COLD_SECONDS, begun), ("warm", WARM_SECONDS, None)):
        begin = time.time() if since is None else since
        avatar = prepared(engine, folder, footage)
        faces = engine.animate(avatar, iter([media.AudioChunk(sound, 16000)]), {"live": True})
        next(faces)
        print(line(f"{name}: first frame, {label}", time.time() - begin, "s", bar), flush=True)
        list(faces)


def main() -> None:
    """Run everything, each engine in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--engines", nargs="*", default=["wav2lip256", "musetalk15"])
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--step", default="")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        order = json.loads(given.step)
        if order["do"] == "whole":
            whole_way(given.folder, order["engine"], given.video, given.minutes)
        else:
            first_frames(given.folder, order["engine"], given.video, order["begun"])
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.folder or Path(place)
        if not (folder / "track.npz").exists():
            folder.mkdir(parents=True, exist_ok=True)
            track_footage(media.probe(given.video), None, Progress()).save(folder / "track.npz")
        for engine in given.engines:
            for step in ("whole", "first"):
                order = {"do": step, "engine": engine, "begun": time.time()}
                words = ["--folder", str(folder), "--minutes", str(given.minutes), "--step", json.dumps(order)]
                program = [sys.executable, "-m", "tests.bench.bench_gpu_render", str(given.video)]
                environment = {**os.environ, **worker_environment(with_card=True)}
                subprocess.run([*program, *words], check=False, env=environment)


if __name__ == "__main__":
    main()
