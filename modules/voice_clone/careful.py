"""Careful speaking: a sentence is listened back to, and spoken again in another way where it seems wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modules import media
from modules.media import PAUSE, AudioChunk, Phone
from modules.progress import Progress
from modules.speech.listen_back import Listener, Verdict
from modules.voice_clone.base import EnrolledVoice, VoiceEngine, VoiceEngineInfo

# How often a doubtful sentence is spoken again; the best of all tries is kept.
MORE_TRIES = 2
# English in Chinese is what a voice says worst, and a misheard Latin word counts half: what is not wholly understood
# is tried again, too, and once more (docs/quality/mixed_tried.md).
CLEAR_MIXED, MORE_MIXED_TRIES = 0.97, 3
SLOWER = (0.92, 0.85)
CLAUSE_PAUSE = 0.12
# A clause of a few letters alone is spoken worse than inside its sentence.
SHORTEST_CLAUSE = 4

_CLAUSE = re.compile(r"[^，,、：:—]*[，,、：:—]+|[^，,、：:—]+$")


@dataclass(frozen=True)
class _Way:
    """One way to speak a sentence: in these pieces, with these options."""

    pieces: tuple[str, ...]
    options: Mapping[str, Any]


def speak(
    engine: VoiceEngine,
    voice: EnrolledVoice,
    text: str,
    language: str,
    options: Mapping[str, Any],
    listener: Listener,
    progress: Progress,
) -> tuple[AudioChunk, Verdict]:
    """The best of a few ways to speak a sentence, and what was heard then."""
    tries: list[tuple[AudioChunk, Verdict]] = []
    for way in _ways(engine.info, text, language, options):
        progress.at(0.0)
        chunk = _spoken(engine, voice, language, way)
        progress.at(0.0)
        verdict = listener(chunk, text, language, way.options.get("speed", 1.0), progress)
        tries.append((chunk, verdict))
        if not verdict.doubtful and (language != "mixed" or verdict.score >= CLEAR_MIXED):
            break
    return max(tries, key=lambda one: one[1].rank)


def _spoken(engine: VoiceEngine, voice: EnrolledVoice, language: str, way: _Way) -> AudioChunk:
    rate = engine.info.sample_rate
    chunks: list[AudioChunk] = []
    for piece in way.pieces:
        pause = CLAUSE_PAUSE - chunks[-1].rest if chunks else 0.0
        if pause > 0:
            silence = np.zeros(round(pause * rate), np.float32)
            chunks.append(AudioChunk(silence, rate, (Phone(PAUSE, 0.0, pause),)))
        chunks += engine.speak(voice, piece, language, way.options)
    return media.collect(chunks)


def _ways(info: VoiceEngineInfo, text: str, language: str, options: Mapping[str, Any]) -> list[_Way]:
    """As asked; then with other seeds where the engine has them, else clause by clause, and slower.

    A mixed sentence takes the engine's other melodies for such, where it has them.
    """
    controls = {option.name: option for option in info.options}
    asked = _Way((text,), options)

    def changed(name: str, value: float) -> _Way:
        control = controls[name]
        return _Way((text,), {**options, name: min(max(value, control.minimum), control.maximum)})

    more = MORE_MIXED_TRIES if language == "mixed" else MORE_TRIES
    if "seed" in controls:
        seed = options.get("seed", controls["seed"].default)
        return [asked, *(changed("seed", seed + number) for number in range(1, more + 1))]
    slower = [changed("speed", options.get("speed", 1.0) * share) for share in SLOWER if "speed" in controls]
    if language == "mixed" and "leaning" in controls:
        wanted = options.get("leaning", controls["leaning"].default)
        leaning = [_Way((text,), {**options, "leaning": one}) for one in controls["leaning"].choices if one != wanted]
        return [asked, *leaning[:1], *slower[:1], *leaning[1:]][: 1 + more]
    clauses = _clauses(text)
    others = [_Way(clauses, options)] if len(clauses) > 1 else []
    return [asked, *[*others, *slower][:more]]


def _clauses(text: str) -> tuple[str, ...]:
    """The sentence cut at its commas; clauses that are too short stay with their neighbour."""
    clauses: list[str] = []
    for clause in _CLAUSE.findall(text):
        if clauses and min(len(clauses[-1]), len(clause)) < SHORTEST_CLAUSE:
            clauses[-1] += clause
        else:
            clauses.append(clause)
    return tuple(clauses)
