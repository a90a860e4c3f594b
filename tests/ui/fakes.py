"""A worker that answers every kind of job in seconds, so that tests of the page need no engines.

The studio, its job store, its libraries and the page are the real ones; only
what the engines would compute is made up, at a pace that a test can set.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from safetensors.numpy import save_file

from modules import media, weights
from modules.avatar import library as avatars
from modules.avatar import registry as lip_sync
from modules.devices import Build, Device, Machine, write_machine
from modules.errors import Cancelled, StudioError
from modules.jobs import downloads, lessons, uploads
from modules.jobs.store import Job
from modules.jobs.studio import Studio
from modules.progress import Progress
from modules.script import estimate_seconds, parse
from modules.voice_clone import library as voices
from modules.voice_clone.builtin.room import Room
from modules.voice_clone.builtin.voice import LearntVoice
from tests import clips

# A voice of this name was recorded in a room that is heard.
ECHOING = "echoing"
STAGES = {
    "check_footage": "stage.check",
    "prepare_avatar": "stage.prepare",
    "extract_voice": "stage.extract",
    "clone_voice": "stage.clone",
    "speak": "stage.speak",
    "preview_frame": "stage.prepare",
    "render": "stage.render",
    "train_avatar": "stage.train",
}
PROCESSOR = Device("cpu", 0, "CPU", 16_000_000_000)
CARD = Device("cuda", 0, "NVIDIA GeForce RTX 4070", 12_000_000_000, (8, 9))
BUILD = Build("2.13.0+cu130", "13.0", ("sm_89",))


def pretend_machine(data_dir: Path, *cards: Device) -> None:
    """Have the page believe that this machine has ``cards`` beside its processor."""
    write_machine(data_dir, lambda: Machine(BUILD, (*cards, PROCESSOR)))


def pretend_weights(models_dir: Path, *names: str) -> None:
    """Files as long as an entry's published ones, which take no room: all that a page looks at."""
    for name in names:
        for file in weights.entries()[name].files:
            path = models_dir / name / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as hollow:
                hollow.truncate(file.size)


FINDINGS = (
    ("good", "check.face_size", {}),
    ("good", "check.length_good", {"seconds": 31}),
    ("warning", "check.often_bad.turned", {"percent": 6}),
    ("good", "check.sound_good", {"seconds": 27.5}),
)


def picture(path: Path, number: int = 0) -> None:
    """The drawn person, further left for a further ``number``."""
    cv2.imwrite(str(path), clips.draw_face(clips.Pose(x=clips.WIDTH / 2 - 60 * number, mouth=0.4))[60:520])


@cache
def talking(seconds: float) -> bytes:
    """A video of that person talking."""
    with TemporaryDirectory() as folder:
        return clips.write_talking_clip(Path(folder) / "talking.mp4", seconds).read_bytes()


def tone(path: Path, seconds: float = 2.0) -> None:
    """A soft tone."""
    time_axis = np.arange(int(24000 * seconds)) / 24000
    media.write_wav(path, (0.1 * np.sin(2 * np.pi * 220 * time_axis)).astype(np.float32), 24000)


def listened(text: str) -> dict[str, Any]:
    """As if every sentence had been listened back to, and those that say "misheard" had lost their last word."""
    sentences = parse(text, 20000)
    doubtful = [
        {
            "text": sentence.text,
            "start": place + 0.25,
            "heard": "<i>something else</i>",
            "score": 0.7,
            "doubts": ["missed", "noise"],
            "missed": sentence.text.split()[-1],
            "added": "",
        }
        for place, sentence in enumerate(sentences)
        if "misheard" in sentence.text
    ]
    return {"sentences": len(sentences), "understood": len(sentences), "doubtful": doubtful}


def frame_picture(path: Path) -> None:
    """Three pictures of the drawn person side by side, as a preview of one frame shows them."""
    face = clips.draw_face(clips.Pose(mouth=0.1))[60:520]
    tinted = face.copy()
    middle = clips.WIDTH // 2
    mouth = tinted[280:400, middle - 80 : middle + 80]
    mouth[:] = (0.4 * mouth + 0.6 * np.array([140, 160, 0])).astype(np.uint8)
    spoken = clips.draw_face(clips.Pose(mouth=0.8))[60:520]
    cv2.imwrite(str(path), np.concatenate([face, tinted, spoken], 1))


def learnt_faces(step: int) -> np.ndarray:
    """The drawn person's faces above the same ones, which grow sharper with the steps."""
    mouths = (0.0, 0.3, 0.9, 0.1, 0.6, 0.2)
    true = [cv2.resize(clips.draw_face(clips.Pose(mouth=mouth))[290:460, 155:325], (160, 160)) for mouth in mouths]
    blur = max(12.0 - step / 10, 1.0)
    drawn = [cv2.GaussianBlur(face, (0, 0), blur) for face in true]
    return np.concatenate([np.concatenate(true, 1), np.concatenate(drawn, 1)])


class FakeWorker:
    """Claims jobs like the real workers. ``seconds``: how long each job takes; downloads are real ones."""

    def __init__(self, studio: Studio, seconds: float = 1.0) -> None:
        self.studio = studio
        self.seconds = seconds
        self.people = 1
        self.refuse: dict[str, StudioError] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._work, self._download)]

    def __enter__(self) -> FakeWorker:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _download(self) -> None:
        store = self.studio.store
        while not self._stop.wait(0.05):
            job = store.claim("download")
            if job is None:
                continue

            def report(share: float, stage: str, job_id: str = job.id) -> None:
                store.report(job_id, share, stage, 0.0)

            def cancelled(job_id: str = job.id) -> bool:
                return self._stop.is_set() or store.cancel_asked(job_id) is not None

            try:
                result = downloads.run(self.studio.settings, job.kind, job.params, Progress(report, cancelled))
                store.finish(job.id, result)
            except Cancelled:
                store.cancelled(job.id)
            except StudioError as error:
                store.fail(job.id, error)

    def _work(self) -> None:
        store = self.studio.store
        while not self._stop.wait(0.05):
            job = store.claim("work")
            if job is None:
                continue
            try:
                self._pass_time(job)
                if job.kind in self.refuse:
                    raise self.refuse[job.kind]
                folder = self.studio.folder(job.id) / "output"
                folder.mkdir(parents=True, exist_ok=True)
                store.finish(job.id, getattr(self, f"_{job.kind}")(job, folder))
            except Cancelled:
                store.cancelled(job.id)
            except StudioError as error:
                store.fail(job.id, error)

    def _pass_time(self, job: Job) -> None:
        began = time.monotonic()
        while (spent := time.monotonic() - began) < self.seconds:
            if self._stop.is_set() or self.studio.store.cancel_asked(job.id) is not None:
                raise Cancelled
            self.studio.store.report(job.id, spent / self.seconds, STAGES[job.kind], spent)
            if job.kind == "train_avatar" and job.kind not in self.refuse:
                self._learn(job)
            self._stop.wait(0.05)

    def _check_footage(self, job: Job, folder: Path) -> dict[str, Any]:
        people = []
        for number in range(self.people):
            picture(folder / f"person_{number}.jpg", number)
            people.append({"id": number, "picture": f"person_{number}.jpg", "share": 0.9 - 0.4 * number})
        seconds = ["good"] * 7 + ["turned"] * 2 + ["good"] * 8 + ["no_face"] + ["good"] * 14
        findings = [{"level": level, "key": key, "values": values} for level, key, values in FINDINGS]
        report = {"seconds": seconds, "findings": findings}
        return {"report": report, "people": people, "kind": "video"}

    def _prepare_avatar(self, job: Job, folder: Path) -> dict[str, Any]:
        source = uploads.source(self.studio.settings, job.params["upload"])
        footage = media.Footage(source, "video", clips.WIDTH, clips.HEIGHT, 800, 32.0, 25.0, True, media.ColorTags())
        made = folder.parent / "made"
        made.mkdir()
        picture(made / avatars.PICTURE)
        shutil.copyfile(source, made / avatars.FOOTAGE)
        entry = self.studio.avatars.add(
            made, job.params["name"], footage, job.id, job.params["person"], job.params["consent"]
        )
        return {"avatar": entry.id}

    def _extract_voice(self, job: Job, folder: Path) -> dict[str, Any]:
        for name in ("original.wav", "cleaned.wav", "clip.wav"):
            tone(folder / name)
        return {
            "original": "original.wav",
            "cleaned": "cleaned.wav",
            "clip": "clip.wav",
            "transcript": "今天天气不错。",
            "language": "zh",
            "speech_seconds": 21.4,
            "snr_db": 24.0,
            "cleaned_helps": False,
            "findings": [],
        }

    def _clone_voice(self, job: Job, folder: Path) -> dict[str, Any]:
        made = folder.parent / "made"
        made.mkdir()
        for name in (voices.ORIGINAL, voices.TIMBRE, voices.CLIP, voices.SAMPLE):
            tone(made / name)
        tone(folder / "sample.wav")
        params = job.params
        if params["name"] == ECHOING:
            engine = voices.engine_folder(made, "builtin")
            engine.mkdir(parents=True)
            LearntVoice((0.0,) * 128, 120.0, 0.2, Room(0.5, 0.0)).save(engine)
        entry = self.studio.voices.add(
            made, params["name"], params["language"], params["transcript"], params["consent"]
        )
        return {"voice": entry.id, "sample": "sample.wav"}

    def _speak(self, job: Job, folder: Path) -> dict[str, Any]:
        tone(folder / "speech.wav")
        return {"sound": "speech.wav", "seconds": 2.0, "listened": listened(job.params["text"])}

    def _preview_frame(self, job: Job, folder: Path) -> dict[str, Any]:
        frame_picture(folder / "preview.jpg")
        return {"picture": "preview.jpg"}

    def _learn(self, job: Job) -> None:
        """Five more steps, with all that a training leaves behind."""
        avatar = self.studio.avatars.get(job.params["avatar"])
        folder, output = avatar.engine_folder(lessons.PERSONAL), self.studio.folder(job.id) / "output"
        for made in (folder, output):
            made.mkdir(parents=True, exist_ok=True)
        kept = folder / lessons.CURVE
        curve = json.loads(kept.read_text()) if kept.exists() else []
        step = 5 * len(curve) + 1
        curve.append((step, 0.1 + 0.4 * float(np.exp(-step / 60)) + 0.01 * float(np.sin(step))))
        kept.write_text(json.dumps(curve))
        told = {"fenshen": json.dumps({"seconds": 6.0 * len(curve)})}
        weights_file, listener = (folder / name for name in lip_sync.info(lessons.PERSONAL).trained)
        part = weights_file.with_suffix(".part")
        save_file({"nothing": np.zeros(1, np.float32)}, part, told)
        part.replace(weights_file)
        listener.touch()
        lessons.show_lesson(output, folder, learnt_faces(step), step)

    def _train_avatar(self, job: Job, folder: Path) -> dict[str, Any]:
        return {"avatar": job.params["avatar"], "engine": lessons.PERSONAL, "steps": 1, "seconds": 1.0}

    def _render(self, job: Job, folder: Path) -> dict[str, Any]:
        seconds = min(3.0, estimate_seconds(parse(job.params["script"], 20000), job.params["speed"]))
        (folder / "video.mp4").write_bytes(talking(1.0))
        tone(folder / "sound.wav", seconds)
        (folder / "subtitles.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n", encoding="utf-8")
        files = {"video": "video.mp4", "sound": "sound.wav", "subtitles": "subtitles.srt"}
        return {
            "files": files,
            "seconds": seconds,
            "frames": int(25 * seconds),
            "listened": listened(job.params["script"]),
        }
