"""Fake engines for tests of what stands around the engines: fast, exact, and easy to read back from a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modules.avatar.base import BaseLoop, FaceFrame, LipSyncEngineInfo, PreparedAvatar
from modules.media import FRAME_RATE, AudioChunk, Footage, Phone
from modules.progress import Progress
from modules.voice_clone.base import EnrolledVoice, Reference, VoiceEngineInfo

RATE = 24000
SECONDS_PER_CHARACTER = 0.1
MARK = 64  # side of the square that tells the number of a frame


class FakeVoice:
    """Speaks a steady tone, a tenth of a second a character; each character is a phone."""

    info = VoiceEngineInfo("fake", "Fake", "none", True, ("zh", "en"), RATE, True, False, 1)

    def __init__(self) -> None:
        self.spoken: list[str] = []

    def enrol(self, reference: Reference, folder: Path, progress: Progress) -> EnrolledVoice:
        return EnrolledVoice("fake", folder)

    def speak(self, voice: EnrolledVoice, text: str, language: str, options: Mapping[str, Any]) -> Iterator[AudioChunk]:
        self.spoken.append(text)
        samples = round(len(text) * SECONDS_PER_CHARACTER * RATE)
        tone = np.sin(np.arange(samples) * 2 * np.pi * 440 / RATE).astype(np.float32) * 0.5
        step = SECONDS_PER_CHARACTER
        phones = (Phone(letter, place * step, (place + 1) * step) for place, letter in enumerate(text))
        yield AudioChunk(tone, RATE, tuple(phones))

    def unload(self) -> None:
        pass


class FakeLips:
    """Paints a square whose brightness counts the frames (mod 8) while there is sound, and nothing in silence."""

    info = LipSyncEngineInfo("fake", "Fake", "none", True, MARK, True, True, 1)

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.animated: list[int] = []
        self.phones: list[Phone] = []  # what was handed over, in seconds of the whole output

    def prepare(
        self, footage: Footage, track: Any, folder: Path, options: Mapping[str, Any], progress: Progress
    ) -> PreparedAvatar:
        return PreparedAvatar("fake", folder, footage, track, BaseLoop(0, footage.frame_count))

    def animate(
        self,
        avatar: PreparedAvatar,
        speech: Iterator[AudioChunk],
        options: Mapping[str, Any],
        first: int = 0,
        heard: int = 0,
    ) -> Iterator[FaceFrame]:
        number = first
        for chunk in speech:
            self.phones += [phone.moved(number / FRAME_RATE) for phone in chunk.phones or ()]
            step = chunk.sample_rate // FRAME_RATE
            for start in range(0, len(chunk.samples), step):
                if number < first + heard:
                    number += 1
                    continue
                if number == self.fail_at:
                    raise RuntimeError("the power went off")
                self.animated.append(number)
                base = avatar.loop.frame(number)
                if np.abs(chunk.samples[start : start + step]).max() > 0.1:
                    patch = np.full((MARK, MARK, 3), brightness(number), np.uint8)
                    yield FaceFrame(base, patch, np.full((MARK, MARK), 255, np.uint8), 0, 0)
                else:
                    yield FaceFrame(base)
                number += 1

    def unload(self) -> None:
        pass


def brightness(number: int) -> int:
    """Grey value of the square on frame ``number``."""
    return 120 + 16 * (number % 8)
