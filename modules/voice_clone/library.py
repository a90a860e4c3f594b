"""The voice library: one person's voice an entry, with each engine's enrolment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modules.shelf import Shelf
from modules.voice_clone.base import EnrolledVoice, Reference

# Names inside an entry's folder, and inside the folder that becomes one.
ORIGINAL, TIMBRE, CLIP, SAMPLE = "original.wav", "timbre.wav", "clip.wav", "sample.wav"


@dataclass(frozen=True)
class Voice:
    """One entry. created: Unix seconds; transcript and language: of the reference clip."""

    id: str
    name: str
    created: float
    language: str
    transcript: str
    folder: Path

    @property
    def sample(self) -> Path:
        """A sentence that the clone spoke when it was made."""
        return self.folder / SAMPLE

    @property
    def reference(self) -> Reference:
        """What the voice is made from."""
        return Reference(self.folder / TIMBRE, self.folder / CLIP, self.transcript, self.language)

    def enrolled(self, engine: str) -> EnrolledVoice:
        """Where an engine keeps its enrolment."""
        return EnrolledVoice(engine, engine_folder(self.folder, engine))


def engine_folder(entry: Path, engine: str) -> Path:
    """Where an engine keeps its enrolment in an entry's folder."""
    return entry / "engines" / engine


class VoiceLibrary:
    """All voices of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._shelf = Shelf(data_dir / "voices", "voice_unknown")

    def add(self, made: Path, name: str, language: str, transcript: str, consent: str) -> Voice:
        """Take in the finished folder ``made`` (original, timbre, clip and sample sounds, engines)."""
        record = {"name": name, "language": language, "transcript": transcript, "consent": consent}
        return self.get(self._shelf.add(made, record))

    def get(self, voice: str) -> Voice:
        """The voice, or StudioError('voice_unknown')."""
        record = self._shelf.record(voice)
        return Voice(
            id=voice,
            name=record["name"],
            created=record["created"],
            language=record["language"],
            transcript=record["transcript"],
            folder=self._shelf.folder(voice),
        )

    def list(self) -> list[Voice]:
        """All voices, newest first."""
        return [self.get(entry) for entry in self._shelf.ids()]

    def rename(self, voice: str, name: str) -> None:
        """Give a voice another name."""
        self._shelf.rename(voice, name)

    def delete(self, voice: str) -> None:
        """Remove a voice with its recordings and all enrolments."""
        self._shelf.delete(voice)
