"""What each kind of job does, in the worker process.

A task gets its parameters, its folder and a Progress, and returns a JSON
result. What it has finished lies in ``<job>/work`` until the job is done, so
that the same task started again goes on from there; what the user gets lies
in ``<job>/output``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from modules import devices, media, pipeline, provenance, script, weights
from modules.avatar import library as avatars
from modules.avatar import registry as lip_sync
from modules.avatar.base import LipSyncEngine
from modules.avatar.metrics import score
from modules.avatar.preview import preview
from modules.devices import MEMORY_FILE, Keeper, Need
from modules.errors import StudioError
from modules.face import check
from modules.face.track import Person, Track, track_footage
from modules.jobs import engines, lessons, listened, speeds, uploads
from modules.progress import Progress
from modules.settings import Settings
from modules.speech import extract
from modules.speech.listen_back import Listener
from modules.voice_clone import library as voices
from modules.voice_clone import registry as voice_clone
from modules.voice_clone.base import Reference, VoiceEngine

if TYPE_CHECKING:
    from modules.avatar.ultralight.train import Trained

SPEECH_RATE = 16000  # of the recogniser and of the voice activity detector

log = logging.getLogger("tasks")
SCORE_SHARE = 0.2  # of a render's progress: scoring its lips, where SyncNet is here
PREPARE_SHARE = 0.1  # of a render's progress: making an avatar ready for an engine that it is new to
PREVIEW = "preview.jpg"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """One run of a job: its parameters and where it works."""

    id: str
    params: dict[str, Any]
    settings: Settings
    folder: Path
    progress: Progress

    @property
    def work(self) -> Path:
        return _made(self.folder / "work")

    @property
    def output(self) -> Path:
        return _made(self.folder / "output")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _keeper(data_dir: Path) -> Keeper:
    return Keeper(data_dir / MEMORY_FILE)


def _lips(engine: str, settings: Settings) -> LipSyncEngine:
    need = Need.of(lip_sync.info(engine))
    make = partial(lip_sync.create, engine, settings.models_dir, settings.cpu_threads)
    others = {info.title: info.gpu_memory_mb for info in lip_sync.infos() if info.id != engine}
    return _keeper(settings.data_dir).get(f"lips {engine}", need, make, others)


def _voice(engine: str, settings: Settings) -> VoiceEngine:
    need = Need.of(voice_clone.info(engine))
    make = partial(voice_clone.create, engine, settings.models_dir, settings.cpu_threads)
    others = {info.title: info.gpu_memory_mb for info in voice_clone.infos() if info.id != engine}
    return _keeper(settings.data_dir).get(f"voice {engine}", need, make, others)


def _measuring(settings: Settings, kind: str, engine: LipSyncEngine | VoiceEngine) -> AbstractContextManager[None]:
    """Around work of an engine, so that its memory is known the next time."""
    return _keeper(settings.data_dir).measuring(f"{kind} {engine.info.id}")


def run(settings: Settings, job_id: str, kind: str, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run one job and return its result."""
    task = Task(job_id, params, settings, settings.data_dir / "jobs" / uploads.checked_id(job_id), progress)
    return KINDS[kind](task)


def check_footage(task: Task) -> dict[str, Any]:
    """Look at an upload: who is in it, and what is good or bad about it."""
    upload = uploads.folder(task.settings, task.params["upload"])
    footage = _probe(task.settings, upload)
    people = _people(footage, upload, task.progress.part(0.0, 0.3, "stage.check"))
    pictures = []
    for person in people:
        name = f"person_{person.id}.jpg"
        _write_picture(task.output / name, person.picture)
        pictures.append({"id": person.id, "picture": name, "share": person.share})
    track = _track(footage, people[0] if people else None, upload, task.progress.part(0.3, 0.95, "stage.track"))
    sound = media.read_sound(footage.path, SPEECH_RATE) if footage.has_sound else None
    report = check.check_footage(footage, track, sound, people)
    task.progress.at(1.0)
    return {"report": report.to_dict(), "people": pictures, "kind": footage.kind}


def prepare_avatar(task: Task) -> dict[str, Any]:
    """Make an avatar of an upload and keep it in the library."""
    params, settings = task.params, task.settings
    upload = uploads.folder(settings, params["upload"])
    source = upload / uploads.SOURCE
    provenance.check_consent(settings.data_dir, params["consent"], "face", source)
    library = avatars.AvatarLibrary(settings.data_dir)
    sha256 = provenance.content_hash(source)
    chosen: int | None = params.get("person")
    known = library.find(sha256, chosen)
    if known is not None:
        return {"avatar": known.id}
    engine = _lips(params.get("engine", lip_sync.DEFAULT), settings)
    footage = _probe(settings, upload)
    weights.ensure(settings.models_dir, engine.info.weights, task.progress.part(0.0, 0.1))
    people = _people(footage, upload, task.progress.part(0.1, 0.15, "stage.check"))
    if not people:
        raise StudioError("no_face")
    person = people[0] if chosen is None else next((p for p in people if p.id == chosen), None)
    if person is None:
        raise StudioError("person_unknown")
    track = _track(footage, person, upload, task.progress.part(0.15, 0.4, "stage.track"))
    check.require_usable(footage, track, settings.min_footage_seconds)
    made = _made(task.work / "avatar")
    shutil.copyfile(source, made / avatars.FOOTAGE)
    track.save(made / avatars.TRACK)
    _write_picture(made / avatars.PICTURE, person.picture)
    with _measuring(settings, "lips", engine):
        engine.prepare(
            media.probe(made / avatars.FOOTAGE),
            track,
            _made(avatars.engine_folder(made, engine.info.id)),
            {},
            task.progress.part(0.4, 1.0, "stage.prepare"),
        )
    avatar = library.add(made, params["name"], footage, sha256, chosen, params["consent"])
    return {"avatar": avatar.id}


def extract_voice(task: Task) -> dict[str, Any]:
    """Find the speech in a clip or in an avatar's footage, and the best reference in it."""
    params, settings = task.params, task.settings
    if "avatar" in params:
        source = avatars.AvatarLibrary(settings.data_dir).get(params["avatar"]).footage
    else:
        source = uploads.source(settings, params["upload"])
    weights.ensure(settings.models_dir, extract.WEIGHTS, task.progress.part(0.0, 0.2))
    found = extract.extract(
        source, task.output, settings.models_dir, settings.cpu_threads, task.progress.part(0.2, 1.0, "stage.extract")
    )
    result = found.to_dict()
    _write_json(task.output / "extraction.json", result)
    return result


def clone_voice(task: Task) -> dict[str, Any]:
    """Learn the voice of an extraction and keep it in the library."""
    params, settings = task.params, task.settings
    extraction = settings.data_dir / "jobs" / uploads.checked_id(params["extraction"]) / "output"
    if not (extraction / "extraction.json").is_file():
        raise StudioError("extraction_unknown")
    provenance.check_consent(settings.data_dir, params["consent"], "voice", extraction / "original.wav")
    engine = _voice(params.get("engine", voice_clone.DEFAULT), settings)
    weights.ensure(settings.models_dir, engine.info.weights, task.progress.part(0.0, 0.1))
    made = _made(task.work / "voice")
    for name in (voices.ORIGINAL, voices.TIMBRE, voices.CLIP):
        shutil.copyfile(extraction / name, made / name)
    language, transcript = params["language"], params["transcript"]
    reference = Reference(made / voices.TIMBRE, made / voices.CLIP, transcript, language)
    greeting = "Hello, this is my new voice." if language == "en" else "大家好，这是我的新声音。"
    with _measuring(settings, "voice", engine):
        voice = engine.enrol(
            reference,
            _made(voices.engine_folder(made, engine.info.id)),
            task.progress.part(0.1, 0.95, "stage.clone"),
        )
        spoken = media.collect(engine.speak(voice, greeting, script.language_of(greeting), {}))
    media.write_wav(made / voices.SAMPLE, spoken.samples, spoken.sample_rate)
    kept = voices.VoiceLibrary(settings.data_dir).add(made, params["name"], language, transcript, params["consent"])
    shutil.copyfile(kept.sample, task.output / voices.SAMPLE)
    return {"voice": kept.id, "sample": voices.SAMPLE}


def speak(task: Task) -> dict[str, Any]:
    """Speak a text in a cloned voice, to listen to it."""
    timeline = _spoken(task, task.params["text"], task.progress.part(0.0, 1.0, "stage.speak"))
    os.replace(timeline.sound, task.output / "speech.wav")
    return {"sound": "speech.wav", "seconds": timeline.seconds, "listened": listened.to_result(timeline)}


def render(task: Task) -> dict[str, Any]:
    """Render a script with an avatar and a voice."""
    params, settings = task.params, task.settings
    avatar = avatars.AvatarLibrary(settings.data_dir).get(params["avatar"])
    limit = pipeline.PREVIEW_SECONDS if params.get("preview") else None
    share = pipeline.SPEECH_SHARE
    timeline = _spoken(task, params["script"], task.progress.part(0.0, share, "stage.speak"), limit)
    engine = _lips(params.get("engine", lip_sync.DEFAULT), settings)
    weights.ensure(settings.models_dir, engine.info.weights, task.progress.part(share, share))
    footage = media.probe(avatar.footage)
    needed = pipeline.disk_needed(footage.width, footage.height, timeline.seconds)
    if needed > shutil.disk_usage(settings.data_dir).free:
        raise StudioError("disk_space_short", needed=needed // 1_000_000)
    scores = not params.get("preview") and weights.state(settings.models_dir, score.WEIGHTS) == "ready"
    begun, ended = share + PREPARE_SHARE, 1.0 - SCORE_SHARE if scores else 1.0

    def rendered(options: dict[str, Any]) -> pipeline.RenderResult:
        prepared = engine.prepare(
            footage,
            avatar.track(),
            _made(avatar.engine_folder(engine.info.id)),
            options,
            task.progress.part(share, begun, "stage.prepare"),
        )
        # Only what is drawn from its beginning in one go tells how fast it was.
        whole, began = not (task.work / "segments").exists(), time.monotonic()
        result = pipeline.render(
            timeline,
            engine,
            prepared,
            options,
            params.get("label_language", "zh-CN") if params.get("label", True) else None,
            task.id,
            task.work,
            task.output,
            task.progress.part(begun, ended, "stage.render"),
            settings.cpu_threads,
        )
        if whole:
            taken = time.monotonic() - began
            speeds.note(settings.data_dir, engine.info.id, result.frames, taken, footage.width, footage.height)
        return result

    with _measuring(settings, "lips", engine):
        result = _in_batches(settings, engine, params.get("options", {}), rendered)
    files = {"video": result.video.name, "sound": result.sound.name, "subtitles": result.subtitles.name}
    return {
        "files": files,
        "seconds": result.seconds,
        "frames": result.frames,
        "listened": listened.to_result(timeline),
        "sync": _scored(settings, result.video, task.progress.part(ended, 1.0, "stage.score")) if scores else None,
    }


def _scored(settings: Settings, video: Path, progress: Progress) -> dict[str, float] | None:
    """The published lip-sync scores of a finished video; a fault in scoring must not cost the video."""
    try:
        found = score.score_video(video, None, settings.models_dir, progress)
    except StudioError as error:
        log.warning("no lip-sync score: %s %s", error.code, error.values)
        return None
    return None if found is None else {"offset": found.offset, "lse_c": found.lse_c, "lse_d": found.lse_d}


def preview_frame(task: Task) -> dict[str, Any]:
    """One frame of an avatar as an engine would make it with these options, beside its mask."""
    params, settings = task.params, task.settings
    avatar = avatars.AvatarLibrary(settings.data_dir).get(params["avatar"])
    engine = _lips(params["engine"], settings)
    weights.ensure(settings.models_dir, engine.info.weights, task.progress.part(0.0, 0.3))

    engines.lend_training(avatar, engine.info, task.work / "frame")

    def shown(options: dict[str, Any]) -> np.ndarray:
        share = task.progress.part(0.3, 1.0, "stage.prepare")
        return preview(engine, media.probe(avatar.footage), avatar.track(), options, task.work / "frame", share)

    with _measuring(settings, "lips", engine):
        _write_picture(task.output / PREVIEW, _in_batches(settings, engine, params.get("options", {}), shown))
    return {"picture": PREVIEW}


def train_avatar(task: Task) -> dict[str, Any]:
    """Train an avatar's own model on its footage, or go on with it; what it shows of itself is in ``lesson``'s file."""
    from modules.avatar.ultralight import personal  # torch: not for those who only render

    params, settings = task.params, task.settings
    library = avatars.AvatarLibrary(settings.data_dir)
    avatar = library.get(params["avatar"])
    lessons.check_training(avatar, params.get("minutes"))
    info = lip_sync.info(lessons.PERSONAL)
    on_card = devices.choose("auto").kind == "cuda"
    usual = lessons.CARD_MINUTES if on_card else lessons.PROCESSOR_MINUTES
    name, need = "training", Need(personal.MEMORY_MB, personal.GPU_MEMORY_MB if on_card else 0)
    keeper = _keeper(settings.data_dir)
    trainer = keeper.get(name, need, partial(personal.Trainer, settings.models_dir, settings.cpu_threads))
    weights.ensure(settings.models_dir, info.weights, task.progress.part(0.0, 0.01))
    folder = avatar.engine_folder(info.id)

    def show(picture: np.ndarray, step: int) -> None:
        library.get(avatar.id)  # who has deleted the avatar does not want it learnt
        lessons.show_lesson(task.output, folder, picture, step)

    def tried(batch: int) -> Trained:
        return trainer.train(
            media.probe(avatar.footage),
            avatar.track(),
            folder,
            task.work,
            60 * float(params.get("minutes", usual)),
            batch,
            task.progress.part(0.01, 1.0),
            show,
        )

    try:
        with keeper.measuring(name):
            reached = keeper.retrying(name, tried, personal.usual_batch(on_card))
    finally:
        library.clear(avatar.id)
    return {"avatar": avatar.id, "engine": info.id, "steps": reached.step, "seconds": reached.seconds}


def _in_batches(
    settings: Settings, engine: LipSyncEngine, options: dict[str, Any], run: Callable[[dict[str, Any]], Result]
) -> Result:
    """``run`` with ``options``; once more in smaller batches when the card's memory runs out."""
    batch = next((option.default for option in engine.info.options if option.name == "batch"), None)
    if batch is None:
        return run(options)

    def tried(size: int) -> Result:
        return run({**options, "batch": size})

    keeper, name = _keeper(settings.data_dir), f"lips {engine.info.id}"
    return keeper.retrying(name, tried, int(options.get("batch", batch)))


def _spoken(task: Task, text: str, progress: Progress, limit: float | None = None) -> pipeline.Timeline:
    params, settings = task.params, task.settings
    voice = voices.VoiceLibrary(settings.data_dir).get(params["voice"])
    engine = _voice(voice_clone.DEFAULT, settings)
    utterances = script.parse(text, settings.max_script_characters)
    weights.ensure(settings.models_dir, engine.info.weights, progress.part(0.0, 0.0))
    options: dict[str, Any] = {name: params[name] for name in ("speed", "room") if name in params}
    with _measuring(settings, "voice", engine):
        # Already there unless the engine is new to this voice.
        enrolled = engine.enrol(
            voice.reference,
            _made(voices.engine_folder(voice.folder, engine.info.id)),
            progress.part(0.0, 0.0, "stage.clone"),
        )
        if "text" in params and len(utterances) == 1:
            # Whoever plays one sentence hears it at once, and judges it better than any recogniser.
            return pipeline.speak(utterances, engine, enrolled, options, task.work, progress)
        listener = Listener(settings.models_dir, settings.cpu_threads)
        try:
            return pipeline.speak(utterances, engine, enrolled, options, task.work, progress, limit, listener)
        finally:
            listener.close()


def _probe(settings: Settings, upload: Path) -> media.Footage:
    return media.probe(upload / uploads.SOURCE, max_seconds=settings.max_footage_seconds, max_side=settings.max_side)


def _people(footage: media.Footage, upload: Path, progress: Progress) -> list[Person]:
    """Who is in an upload, kept beside it: checking and preparing look for people only once."""
    kept = upload / "people.npz"
    if not kept.exists():
        people = check.find_people(footage, progress)
        arrays: dict[str, Any] = {f"picture_{person.id}": person.picture for person in people}
        arrays["boxes"] = np.array([person.box for person in people]).reshape(-1, 4)
        arrays["shares"] = np.array([person.share for person in people])
        part = kept.with_suffix(".part")
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        os.replace(part, kept)
    progress.at(1.0)
    with np.load(kept, allow_pickle=False) as data:
        return [
            Person(number, tuple(box), float(share), data[f"picture_{number}"])
            for number, (box, share) in enumerate(zip(data["boxes"].tolist(), data["shares"], strict=True))
        ]


def _track(footage: media.Footage, person: Person | None, upload: Path, progress: Progress) -> Track:
    """The track of a person, kept beside the upload: checking and preparing follow the face only once."""
    kept = upload / f"track_{person.id if person else 'none'}.npz"
    if not kept.exists():
        track = track_footage(footage, person, progress)
        part = kept.with_suffix(".part")
        track.save(part)
        os.replace(part, kept)
    progress.at(1.0)
    return Track.load(kept)


def _write_picture(path: Path, picture: Any) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


KINDS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "check_footage": check_footage,
    "prepare_avatar": prepare_avatar,
    "extract_voice": extract_voice,
    "clone_voice": clone_voice,
    "speak": speak,
    "preview_frame": preview_frame,
    "train_avatar": train_avatar,
    "render": render,
}
