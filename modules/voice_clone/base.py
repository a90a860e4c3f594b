"""The interface of voice engines, and the small things that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modules.options import Option
from modules.progress import Progress

if TYPE_CHECKING:
    from modules.media import AudioChunk


@dataclass(frozen=True)
class VoiceEngineInfo:
    """What an engine is and needs; the UI, the API and the memory planner are drawn from it.

    memory_mb, gpu_memory_mb: what it takes at work of main memory and, where there is one, of a card's, in 10^6 bytes;
    the planner corrects them by what it measures.
    """

    id: str
    title: str
    licence: str
    commercial_use: bool
    languages: tuple[str, ...]
    sample_rate: int
    streams: bool
    fine_tunes: bool
    memory_mb: int
    weights: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=())
    gpu_memory_mb: int = 0


@dataclass(frozen=True)
class Reference:
    """The material a voice is made from, all of one person.

    timbre: mono WAV (24 kHz or more) of the person's speech only, cleaned where that helps;
    clip: 3 to 10 s WAV, the best passage, original sound; transcript and language: of the clip.
    """

    timbre: Path
    clip: Path
    transcript: str
    language: str


@dataclass(frozen=True)
class EnrolledVoice:
    """One engine's enrolment of one voice, in ``folder``."""

    engine: str
    folder: Path


class VoiceEngine(Protocol):
    """An engine speaks in a person's voice: a reference once, then any text."""

    info: VoiceEngineInfo

    def enrol(self, reference: Reference, folder: Path, progress: Progress) -> EnrolledVoice:
        """Learn the voice into ``folder``; returns at once what is already there."""
        ...

    def speak(self, voice: EnrolledVoice, text: str, language: str, options: Mapping[str, Any]) -> Iterator[AudioChunk]:
        """Speech of one utterance in chunks. language: 'zh', 'en', 'ja' or 'mixed'.

        An engine that knows what it says when tells it with each chunk (AudioChunk.phones): lips follow it.
        """
        ...

    def unload(self) -> None:
        """Give back all memory that the engine holds between calls."""
        ...
