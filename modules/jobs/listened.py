"""What listening back found, as a job's result keeps it and as people read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modules import translate
from modules.pipeline import Timeline


@dataclass(frozen=True)
class Doubt:
    """One sentence that the user should listen to, in words. start: seconds from the beginning."""

    start: float
    sentence: str
    why: str
    heard: str


def to_result(timeline: Timeline) -> dict[str, Any] | None:
    """JSON of what was found, or None when nobody was asked to listen.

    sentences: how many there are; understood: how many of them somebody could compare with their text;
    doubtful: those that a person should listen to, each with its beginning in seconds.
    """
    judged = [(one, one.verdict) for one in timeline.spoken if one.verdict is not None]
    if not judged:
        return None
    return {
        "sentences": len(judged),
        "understood": sum(verdict.heard is not None for _, verdict in judged),
        "doubtful": [
            {"text": one.text, "start": round(one.start / timeline.rate, 2), **verdict.to_dict()}
            for one, verdict in judged
            if verdict.doubtful
        ],
    }


def remarks(listened: dict[str, Any], language: str) -> list[tuple[str, str]]:
    """The whole in a few sentences, each with its level: 'good', 'info' or 'warning'."""
    sentences, understood, doubtful = listened["sentences"], listened["understood"], len(listened["doubtful"])
    found: list[tuple[str, str]] = []
    if not understood:
        found.append(("info", translate.text("listened.unchecked", language)))
    elif understood < sentences:
        left = sentences - understood
        found.append(("info", translate.text("listened.partly", language, sentences=sentences, count=left)))
    if doubtful:
        found.append(("warning", translate.text("listened.doubtful", language, count=doubtful)))
    return found or [("good", translate.text("listened.good", language))]


def doubts(listened: dict[str, Any], language: str) -> list[Doubt]:
    """The sentences to listen to, in order."""
    return [_doubt(stored, language) for stored in listened["doubtful"]]


def _doubt(stored: dict[str, Any], language: str) -> Doubt:
    between, end = ("，", "。") if language == "zh-CN" else (", ", ".")
    reasons = (
        translate.text(f"listened.doubt.{name}", language, missed=stored["missed"], added=stored["added"])
        for name in stored["doubts"]
    )
    why = between.join(reasons)
    heard = translate.text("listened.heard", language, heard=stored["heard"]) if stored["heard"] else ""
    return Doubt(stored["start"], stored["text"], why[:1].upper() + why[1:] + end, heard)
