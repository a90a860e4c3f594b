"""Subtitles as SRT files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pysubs2

from modules.media.encode import partial


def write_srt(path: Path, lines: Iterable[tuple[float, float, str]]) -> None:
    """Write (start in s, end in s, text) lines; the file appears whole or not at all."""
    subtitles = pysubs2.SSAFile()
    for start, end, text in lines:
        event = pysubs2.SSAEvent(start=round(start * 1000), end=round(end * 1000))
        # plaintext, not text: braces and backslashes of a script are words here, not styling.
        event.plaintext = text
        subtitles.events.append(event)
    part = partial(path)
    try:
        part.write_text(subtitles.to_string("srt", keep_ssa_tags=True), encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
