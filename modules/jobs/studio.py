"""The facade that the page, the command line and the API stand on: they enqueue, look and never compute."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules import pipeline, provenance, script, weights
from modules.avatar import registry as lip_sync
from modules.avatar.advice import Advice, advise
from modules.avatar.library import AvatarLibrary
from modules.devices import MEMORY_FILE, Machine, machine_facts
from modules.devices.measured import Measured
from modules.errors import StudioError
from modules.jobs import cards, engines, lessons, speeds, uploads
from modules.jobs.engines import EngineCard
from modules.jobs.store import Job, JobStore
from modules.jobs.supervisor import LONGER_GRACE, Supervisor
from modules.options import resolve
from modules.settings import Settings, save_hub
from modules.voice_clone import registry as voice_clone
from modules.voice_clone.builtin.voice import FILE, LearntVoice
from modules.voice_clone.library import VoiceLibrary

__all__ = ["Job", "Studio"]

# What each kind of job must be told, and what it may be told.
REQUIRED: dict[str, frozenset[str]] = {
    "check_footage": frozenset({"upload"}),
    "prepare_avatar": frozenset({"upload", "name", "consent"}),
    "extract_voice": frozenset(),
    "clone_voice": frozenset({"extraction", "name", "transcript", "language", "consent"}),
    "speak": frozenset({"voice", "text"}),
    "render": frozenset({"avatar", "voice", "script"}),
    "preview_frame": frozenset({"avatar", "engine"}),
    "train_avatar": frozenset({"avatar"}),
    "fetch_weights": frozenset({"entry"}),
    "verify_weights": frozenset({"entry"}),
    "import_weights": frozenset(),
}
OPTIONAL: dict[str, frozenset[str]] = {
    "check_footage": frozenset(),
    "prepare_avatar": frozenset({"person", "engine"}),
    "extract_voice": frozenset({"upload", "avatar"}),
    "clone_voice": frozenset({"engine"}),
    "speak": frozenset({"speed", "room"}),
    "render": frozenset({"speed", "room", "preview", "label", "label_language", "options", "engine"}),
    "preview_frame": frozenset({"options"}),
    "train_avatar": frozenset({"minutes"}),
    "fetch_weights": frozenset(),
    "verify_weights": frozenset(),
    "import_weights": frozenset({"upload", "folder", "name"}),
}
MAX_TITLE = 60
ACTIVE = ("queued", "running")
# A running job is let go of within a second; without a supervisor nobody does it.
DELETE_PATIENCE = 5.0


class Studio:
    """Everything a user can do, for one data folder. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store = JobStore(settings.data_dir)
        self.avatars = AvatarLibrary(settings.data_dir)
        self.voices = VoiceLibrary(settings.data_dir)
        self._supervisor = Supervisor(settings, self.store)
        weights.choose(weights.Choice.of(settings))

    def start(self) -> None:
        """Begin to run jobs."""
        self._supervisor.start()

    def stop(self) -> None:
        """Stop watching the worker; running jobs go on."""
        self._supervisor.stop()

    def accept(self, path: Path) -> str:
        """Take in a file that the user gave; returns the upload's id."""
        return uploads.accept(self.settings, path)

    def consent(self, kind: str, material: str, language: str) -> str:
        """Record that the user agreed to the use of their 'face' in an upload, or of their 'voice' in an extraction.

        material: the upload's id for a face, the id of the extract_voice job for a voice.
        """
        file = uploads.source(self.settings, material) if kind == "face" else self.file(material, "original.wav")
        return provenance.record_consent(self.settings.data_dir, kind, file, language)

    def submit(self, kind: str, **params: Any) -> str:
        """Queue a job and return its id. What can be refused at once is refused here."""
        missing = REQUIRED[kind] - params.keys()
        unknown = params.keys() - REQUIRED[kind] - OPTIONAL[kind]
        if missing or unknown:
            raise TypeError(f"{kind}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        title = str(params.get("name") or params.get("script") or params.get("text") or "")
        if "upload" in params:
            uploads.folder(self.settings, params["upload"])
        if "script" in params or "text" in params:
            script.parse(params.get("script") or params.get("text") or "", self.settings.max_script_characters)
        if "entry" in params:
            title = self._entry_title(kind, params["entry"])
        if kind == "import_weights":
            title = title or Path(params.get("folder", "")).name
            self._check_source(params)
        if "voice" in params:
            self.voices.get(params["voice"])
        if "avatar" in params:
            self.avatars.get(params["avatar"])
        if kind in ("render", "preview_frame"):
            engine = lip_sync.info(params.get("engine", lip_sync.DEFAULT))
            resolve(engine.options, params.get("options", {}))
            if not engines.trained(self.avatars.get(params["avatar"]), engine.id):
                raise StudioError("engine_not_trained", name=engine.title)
        if kind == "train_avatar":
            avatar = self.avatars.get(params["avatar"])
            title = avatar.name
            lessons.check_training(avatar, params.get("minutes"))
        if kind == "render" and not params.get("preview"):
            self._check_disk(params["avatar"], self.estimate(params["script"], params.get("speed", 1.0))["seconds"])
        return self.store.add(kind, " ".join(title.split())[:MAX_TITLE], params)

    def _entry_title(self, kind: str, name: str) -> str:
        state = weights.state(self.settings.models_dir, name)  # an unknown name is refused
        entry = weights.entries()[name]
        if kind == "fetch_weights" and state == "import_only":
            raise weights.by_hand(entry)
        return entry.title

    def _check_source(self, params: dict[str, Any]) -> None:
        if ("upload" in params) == ("folder" in params):
            raise TypeError("import_weights: either an upload or a folder")
        if "folder" in params and not Path(params["folder"]).exists():
            raise StudioError("weights_import_empty", name=params["folder"])

    def has_room(self, voice: str) -> bool:
        """Whether a voice was recorded in a room that is heard, so that ``room`` changes how it sounds."""
        folder = self.voices.get(voice).enrolled(voice_clone.DEFAULT).folder
        return (folder / FILE).is_file() and LearntVoice.load(folder).room is not None

    def weights(self) -> list[cards.WeightsCard]:
        """All weights as they are now, for the Models page; quick enough to be asked every second."""
        return cards.cards(self.settings.models_dir, self.store)

    def fetch_weights(self, entry: str) -> str:
        """Begin or go on to download an entry; gives the job, which is the running one if there is one already.

        ``cancel`` of the job is the pause: what has arrived stays, and this goes on from there.
        """
        under_way = cards.active(self.store, entry)
        return under_way.id if under_way else self.submit("fetch_weights", entry=entry)

    def delete_weights(self, entry: str) -> None:
        """Remove what is here of an entry; StudioError weights_busy while it is downloaded or imported."""
        weights.delete(self.settings.models_dir, entry)

    def discard_weights(self, entry: str) -> None:
        """Give up the download of an entry and remove what has arrived of it; a complete entry stays."""
        under_way = cards.active(self.store, entry)
        if under_way:
            self._stop_job(under_way.id)
        if weights.state(self.settings.models_dir, entry) != "ready":
            self.delete_weights(entry)

    def engines(self) -> list[EngineCard]:
        """All engines with their weights as they are now; as quick as ``weights``."""
        data_dir = self.settings.data_dir
        return engines.engine_cards(self.weights(), speeds.known(data_dir), Measured(data_dir / MEMORY_FILE))

    def train(self, avatar: str, minutes: float) -> str:
        """Begin or go on to train an avatar's own model; gives the job, which is the one under way if there is one."""
        under_way = self.training(avatar)
        return under_way.id if under_way else self.submit("train_avatar", avatar=avatar, minutes=minutes)

    def training(self, avatar: str) -> Job | None:
        """The training of an avatar that is under way."""
        found = self.store.newest(kinds=["train_avatar"])
        return next((job for job in found if job.params["avatar"] == avatar and job.state in ACTIVE), None)

    def lesson(self, job_id: str) -> lessons.Lesson | None:
        """What a training job shows of itself, while it runs and afterwards; None before its first step."""
        return lessons.lesson(self.folder(job_id) / "output")

    def forget_training(self, avatar: str) -> None:
        """Remove an avatar's own model, so that the next training begins anew; a training under way is stopped."""
        under_way = self.training(avatar)
        if under_way:
            # What it still writes down must not come after the end.
            self._stop_job(under_way.id, LONGER_GRACE["train_avatar"] + 1.0)
        shutil.rmtree(self.avatars.get(avatar).engine_folder(lessons.PERSONAL), ignore_errors=True)

    def machine(self) -> Machine | None:
        """What this machine can compute on; None for the seconds in which that is being found out."""
        return machine_facts(self.settings.data_dir)

    def advice(self, known: Sequence[EngineCard]) -> Advice:
        """Which lip-sync engine to take here, of ``known`` (see ``engines``), and why."""
        ready = {card.id for card in known if card.kind == "lips" and card.usable}
        return advise(lip_sync.infos(), ready, self.machine())

    def save_hub(self, **values: Any) -> None:
        """Keep where weights come from (see settings.HUB_KEYS) in settings.toml; it counts from the next job on."""
        self.settings = save_hub(self.settings, **values)
        weights.choose(weights.Choice.of(self.settings))

    def _check_disk(self, avatar: str, seconds: float) -> None:
        disk = self.disk_needed(avatar, seconds)
        if disk["needed_bytes"] > disk["free_bytes"]:
            raise StudioError("disk_space_short", needed=disk["needed_bytes"] // 1_000_000)

    def job(self, job_id: str) -> Job:
        """The job as it is now, or StudioError('job_unknown')."""
        return self.store.get(job_id)

    def jobs(self, limit: int = 100, kinds: Sequence[str] | None = None) -> list[Job]:
        """Newest first."""
        return self.store.newest(limit, kinds)

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop; it does so within a second."""
        self.store.ask_cancel(job_id)

    def resume(self, job_id: str) -> None:
        """Let a cancelled or failed job go on where it stopped."""
        self.store.resume(job_id)

    def delete(self, job_id: str) -> None:
        """Cancel a job if it runs, forget it and remove its files."""
        self._stop_job(job_id)
        self.store.delete(job_id)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def _stop_job(self, job_id: str, patience: float = DELETE_PATIENCE) -> None:
        self.store.ask_cancel(job_id)
        until = time.monotonic() + patience
        while self.store.get(job_id).state == "running" and time.monotonic() < until:
            time.sleep(0.05)

    def folder(self, job_id: str) -> Path:
        """The folder of a job; its id is checked against the store."""
        return self.settings.data_dir / "jobs" / uploads.checked_id(job_id)

    def file(self, job_id: str, name: str) -> Path:
        """A finished file of a job, by its plain name, or StudioError('file_unknown')."""
        path = self.folder(job_id) / "output" / name
        if Path(name).name != name or not path.is_file():
            raise StudioError("file_unknown")
        return path

    def estimate(self, text: str, speed: float = 1.0) -> dict[str, Any]:
        """How many sentences and characters a script has and about how many seconds it will take."""
        utterances = script.parse(text, self.settings.max_script_characters)
        return {
            "sentences": len(utterances),
            "characters": len(text),
            "seconds": script.estimate_seconds(utterances, speed),
        }

    def disk_needed(self, avatar: str, seconds: float) -> dict[str, int]:
        """Bytes that a render of ``seconds`` will need at most, and bytes that are free."""
        entry = self.avatars.get(avatar)
        return {
            # The real length is known only after speaking: half as much again is kept in hand.
            "needed_bytes": pipeline.disk_needed(entry.width, entry.height, seconds * 1.5),
            "free_bytes": shutil.disk_usage(self.settings.data_dir).free,
        }
