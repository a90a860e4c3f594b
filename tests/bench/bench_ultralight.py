"""Ultralight learnt from 14 s, judged on the next 6 s beside the built-in one: python -m tests.bench.bench_ultralight

Without options: all of it on this machine. In steps, so that a machine with nothing but torch can do the learning:
    --prepare FILE.npz            here: track, hear, crop (35 MB)
    --train FILE.npz --out DIR    there: learn for --seconds
    --judge DIR --prepared FILE.npz
                                  here: draw the held-out part, compare both engines with the true mouths
No mouth and no sound of the held-out part is ever learnt. It is drawn over its own heads; what the network sees as its
reference is then a learnt frame with the head held most alike, turned to be held as it is, so that no true mouth can
leak into what is compared ("own frame": the frame itself, as in use). Around the mouth the fine detail of the frame is
kept, as in use. Judge: ../shared/probes/eval_lipsync.py (needs scikit-image).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from modules.avatar.ultralight import features
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.avatar.ultralight.network import Ultralight
    from tests.bench.bench_lipsync import Clip

VIDEO = "talk_man_20s.mp4"
LEARNT_SECONDS = 14
FRAME_RATE = 25
BATCH = 8
CPU_BATCH, RUNS = 5, 12
REFERENCES, OTHER_SOUND = ("learnt frame", "own frame"), "another sound"


def prepare(file: Path) -> None:
    """Everything that learning and judging need of the clip, without PyAV or CTranslate2."""
    from modules import media, settings
    from modules.avatar.builtin.ears import Ears
    from modules.avatar.neural.regions import steady_boxes
    from modules.avatar.ultralight.heads import resting_heads
    from modules.avatar.ultralight.listener import Listener

    config = settings.load()
    clip, ears = clip_to_learn(), Ears(config.models_dir, config.cpu_threads)
    cut = clip.cut
    listener = Listener.fit(clip.learnt, clip.track.part(0, cut), ears, Progress())
    sound = media.resample(clip.rest.samples, clip.rest.sample_rate, 16000)
    count = len(clip.track) - cut
    boxes = steady_boxes(
        features.face_boxes(clip.track.landmarks), clip.track.usable, clip.footage.width, clip.footage.height
    )
    crops = [
        features.crop_face(media.to_bgr(picture), box)
        for picture, box in zip(media.read_frames(clip.footage), boxes, strict=True)
    ]
    learnt = np.flatnonzero(clip.track.usable[:cut])
    seen = np.zeros((cut, listener.seen().shape[1]), np.float32)
    seen[listener.frames] = listener.seen()
    with open(file, "wb") as target:
        np.savez_compressed(
            target,
            cut=cut,
            crops=np.array(crops),
            boxes=boxes,
            heads=resting_heads(clip.track.landmarks, boxes),
            learnt_heads=resting_heads(clip.track.landmarks[learnt], boxes[learnt]),
            landmarks=clip.track.landmarks.astype(np.float32),
            usable=clip.track.usable,
            seen=seen,
            heard=listener.codes(sound, count, ears),
        )
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {cut} frames to learn, {count} held out", flush=True)


def train(file: Path, out: Path, seconds: float, batch: int) -> None:
    """Learn, with a line and a picture from time to time, and draw the held-out part into ``out``/drawn.npz."""
    import torch

    from modules.avatar.ultralight import train as training

    with np.load(file, allow_pickle=False) as data:
        cut, crops, heads = int(data["cut"]), data["crops"], data["learnt_heads"]
        usable, seen = data["usable"], data["seen"]
    learnt = np.flatnonzero(usable[:cut])
    out.mkdir(parents=True, exist_ok=True)

    def show(picture: np.ndarray, step: int) -> None:
        cv2.imwrite(str(out / f"sample_{step:06d}.png"), picture)
        print(f"{time.monotonic() - began:5.0f} s: step {step}", flush=True)

    began = time.monotonic()
    done = training.train(
        crops[learnt],
        seen[learnt],
        heads,
        training.Settings(seconds=seconds, batch=batch, sample_seconds=max(seconds / 12, 5)),
        out,
        Progress(),
        show,
    )
    took = time.monotonic() - began
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    first, last = done.curve[0][1], float(np.mean([loss for _, loss in done.curve[-10:]]))
    (out / "told.json").write_text(
        json.dumps({"device": where, "seconds": took, "steps": done.step, "first": first, "last": last})
    )
    print(f"{where}: {done.step} steps in {took:.0f} s, loss {first:.3f} -> {last:.3f}", flush=True)


def draw(file: Path, out: Path) -> dict[str, np.ndarray]:
    """Crops (T, 168, 168, 3) of the held-out frames as the network draws them, by where its reference is from.

    OTHER_SOUND: the frame itself, with the sound of half the part later or earlier.
    """
    import torch

    from modules.avatar.ultralight import network as net
    from modules.avatar.ultralight.heads import Turner

    with np.load(file, allow_pickle=False) as data:
        cut, crops, heads, usable, heard = (data[name] for name in ("cut", "crops", "heads", "usable", "heard"))
    cut = int(cut)
    own = torch.arange(cut, len(crops))
    learnt = np.flatnonzero(usable[:cut])
    apart = ((heads[cut:, None] - heads[None, learnt]) ** 2).sum((2, 3))
    nearest = torch.from_numpy(learnt[apart.argmin(1)])
    turner, corner = Turner(heads, torch.device("cpu")), torch.full((BATCH, 2), features.RIM)
    network = net.load(out / "ultralight.safetensors").to(memory_format=torch.channels_last)
    inner = slice(features.RIM, -features.RIM)

    def pictures(frames: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(crops[frames.numpy()]).permute(0, 3, 1, 2).float() / 255

    drawn: dict[str, np.ndarray] = {}
    for name, references, sound in (
        ("learnt frame", nearest, heard),
        ("own frame", own, heard),
        (OTHER_SOUND, own, np.roll(heard, len(own) // 2, 0)),
    ):
        made = crops[cut:].copy()
        with torch.inference_mode():
            for start in range(0, len(made), BATCH):
                part = slice(start, start + BATCH)
                shown, wanted = references[part], own[part]
                reference = turner.turned(pictures(shown), shown, wanted, corner[: len(shown)])
                six = net.with_masked(reference, pictures(wanted)[:, :, inner, inner])
                result = network(six, net.spread_codes(torch.from_numpy(sound[part])))
                made[part, inner, inner] = (result.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        drawn[name] = made
    return drawn


def judge(file: Path, out: Path) -> int:
    """Both engines on the held-out part, against the true mouths; the number of bars missed."""
    from modules.avatar.ultralight import network as net
    from tests.bench.bench_lipsync import Report, Studio, probed
    from tests.bench.mouths import mouth, sheet

    clip = clip_to_learn()
    report = Report()
    report.note("# Lips of Ultralight\n\n`python -m tests.bench.bench_ultralight`\n")
    told = json.loads((out / "told.json").read_text())
    report.title(f"{VIDEO}: the first {LEARNT_SECONDS} s learnt, the rest held out, drawn over its own heads")
    report.note(f"Learnt on {told['device']}.")
    report.bar("learning", told["seconds"], "s", 610)
    report.figure("steps", told["steps"], "")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        studio = Studio(folder)
        video = folder / "builtin.mp4"
        studio.film(studio.on_true_heads(clip), clip.rest, video)
        builtin = probed(clip, video)
        figures = {"built-in": builtin}
        videos = {name: out / f"{name.replace(' ', '-')}.mp4" for name in (*REFERENCES, OTHER_SOUND)}
        for name, crops in draw(file, out).items():
            film(file, crops, clip, videos[name])
        for name in REFERENCES:
            figures[name] = probed(clip, videos[name])
    for name, found in figures.items():
        for key, unit in FIGURES.items():
            report.figure(f"{name}: {key}", found[key] * (EYES if unit == PERCENT else 1), unit)
    for name in REFERENCES:
        report.bar(
            f"{name}: lip distance against the built-in's", EYES * figures[name]["LMD"], PERCENT, EYES * builtin["LMD"]
        )
    with np.load(file, allow_pickle=False) as data:
        cut, landmarks = int(data["cut"]), data["landmarks"]
    from modules import media

    true, said, other = openings(landmarks[cut:]), *(seen_openings(videos[name]) for name in ("own frame", OTHER_SOUND))
    then = np.roll(said, len(said) // 2)
    report.figure(f"{OTHER_SOUND}: opening against what that sound says elsewhere", correlation(other, then), "r")
    report.figure(f"{OTHER_SOUND}: opening against the frame's own mouth", correlation(other, true), "r")
    report.figure("the frame's own mouth against what that sound says elsewhere", correlation(true, then), "r")

    def mouths(video: Path, first: int) -> list[np.ndarray]:
        footage = media.probe(video)
        pictures = media.read_frames(footage, first)
        return [mouth(media.to_bgr(picture), landmarks[cut + n]) for n, picture in enumerate(pictures)]

    made, real = mouths(videos["learnt frame"], 0), mouths(clip.footage.path, cut)
    some = np.linspace(0, len(made) - 1, 24).round().astype(int)
    sheet(out / "mouths.jpg", [[made[n] for n in some], [real[n] for n in some]])
    precision, work, clock = speed(net.load(out / "ultralight.safetensors"))
    report.bar(f"two cores, {precision}: processor time a frame (25 fps)", work, "ms", 80)
    report.figure("the same by the clock", clock, "ms")
    report.figure("the same for the published widths", speed(net.Ultralight())[2], "ms")
    report.figure("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")
    report.write(out / "ultralight.md")
    return report.missed


def speed(network: Ultralight) -> tuple[str, float, float]:
    """The engine's precision without a card; milliseconds a frame on two threads, of the processor and by the clock."""
    import torch

    from modules import devices
    from modules.avatar.neural.fold import fold_norms
    from modules.avatar.neural.runner import Runner
    from modules.avatar.ultralight.network import Faces

    device = devices.choose("cpu")
    dtype = devices.dtype_for(device, coarse=True)
    faces = Faces(fold_norms(network))
    crops = np.zeros((CPU_BATCH, features.CROP_SIDE, features.CROP_SIDE, 3), np.uint8)
    codes = np.zeros((CPU_BATCH, 10), np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runner = Runner(faces, device, dtype, (CPU_BATCH,), exports=True)
        runner.submit(crops, codes).result()
        began, worked = time.monotonic(), time.process_time()
        for _ in range(RUNS):
            runner.submit(crops, codes).result()
    finally:
        torch.set_num_threads(threads)
    count = RUNS * CPU_BATCH / 1000
    return (
        str(dtype).removeprefix("torch."),
        (time.process_time() - worked) / count,
        (time.monotonic() - began) / count,
    )


# Lip distances are told in hundredths of the distance between the eyes' outer corners.
EYES, PERCENT = 100, "% eyes"
FIGURES = {
    "LMD": PERCENT,
    "LMD_c": PERCENT,
    "open_r": "r",
    "open_r_hp": "r",
    "hp_best_lag": "frames",
    "amp": "x",
    "closed_F1": "",
    "width_r": "r",
    "psnr": "dB",
    "ssim": "",
}


def openings(landmarks: np.ndarray) -> np.ndarray:
    """(T,) distance between the inner lips in eye distances, of (T, 478, 3) points."""
    from modules.avatar.builtin.shapes import opening
    from modules.face.geometry import eye_distance
    from modules.face.landmarks import LOWER

    return np.asarray(opening(landmarks[:, list(LOWER)]) / eye_distance(landmarks))


def seen_openings(video: Path) -> np.ndarray:
    """``openings`` of a video."""
    from modules import media
    from modules.face.track import track_footage

    return openings(track_footage(media.probe(video), None, Progress()).landmarks)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def film(file: Path, crops: np.ndarray, clip: Clip, video: Path) -> None:
    """The held-out frames with the drawn ``crops``, put in as the engine does."""
    from modules import media
    from modules.avatar import compositor
    from modules.avatar.neural import regions
    from modules.avatar.neural.engine import face_frame

    with np.load(file, allow_pickle=False) as data:
        cut, boxes, landmarks, true = int(data["cut"]), data["boxes"], data["landmarks"], data["crops"]
    footage = clip.footage
    with media.VideoWriter(video, footage.width, footage.height, footage.color) as writer:
        for number, picture in enumerate(media.read_frames(footage, cut)):
            place = cut + number
            box, points = boxes[place], landmarks[place]
            mask = regions.lower_face_mask((points[:, :2] - box[:2]) / (box[2:] - box[:2]), features.NECK)
            writer.write(compositor.paste(picture, face_frame(place, crops[number], true[place], mask, box, points)))


def clip_to_learn() -> Clip:
    """The clip with its cut at LEARNT_SECONDS."""
    from tests.bench.bench_lipsync import Clip

    return dataclasses.replace(Clip.named(VIDEO), cut=LEARNT_SECONDS * FRAME_RATE)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--judge", type=Path, help="folder that --train wrote")
    parser.add_argument("--prepared", type=Path, help="what --prepare wrote, for --judge")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=590.0)
    parser.add_argument("--batch", type=int, default=24)
    given = parser.parse_args()
    if given.prepare:
        prepare(given.prepare)
    if given.train:
        train(given.train, given.out, given.seconds, given.batch)
    if given.judge:
        return 1 if judge(given.prepared, given.judge) else 0
    if not (given.prepare or given.train):
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "prepared.npz"
            prepare(file)
            train(file, given.out or Path(scratch), given.seconds, given.batch)
            return 1 if judge(file, given.out or Path(scratch)) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
