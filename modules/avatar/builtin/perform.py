"""Performing a speech window by window: what to draw for each frame, and drawing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from modules.avatar.base import BaseLoop
from modules.avatar.builtin.articulation import movements, said
from modules.avatar.builtin.ears import Ears, at_hearing_rate, hear
from modules.avatar.builtin.features import MEL_RATE, WHISPER_RATE
from modules.avatar.builtin.person import LoadedPerson
from modules.avatar.builtin.photo import LoadedPreview
from modules.avatar.builtin.plan import Drawing, Wanted, choose_units, drawings
from modules.avatar.builtin.sounds import heard_phones
from modules.avatar.builtin.sync import USUAL_LAG
from modules.avatar.builtin.visemes import Mouth, Wish
from modules.avatar.builtin.warp import Source, draw_mouth
from modules.avatar.crops import Box
from modules.avatar.listen import Window
from modules.avatar.silence import gate

# Output frames already drawn that are planned again with the next window, so that smoothing runs across.
HISTORY = 4

Drawn = tuple[np.ndarray, np.ndarray, Box]


class Performance(Protocol):
    """One speech on one avatar; ``plan`` is called window after window, ``draw`` from several threads."""

    def plan(self, window: Window) -> Sequence[Any]:
        """What to draw for each of the window's ``count`` frames."""
        ...

    def draw(self, planned: Any) -> Drawn:
        """(h, w, 3) uint8 BGR patch, its (h, w) uint8 mask, and where it lies in the frame."""
        ...


def stored_bases(frames: np.ndarray, loop: BaseLoop, first: int, count: int) -> np.ndarray:
    """(count,) which of the stored ``frames`` (N,) carry the output frames from ``first`` on.

    A frame of the loop that is not stored (its face is unusable) is stood for by the nearest one that is.
    """
    wanted = np.array([loop.frame(number) for number in range(first, first + count)])
    after = np.clip(np.searchsorted(frames, wanted), 0, len(frames) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(frames[before] - wanted) < np.abs(frames[after] - wanted), before, after)


@dataclass(frozen=True)
class _Past:
    """The end of what has been planned: what was wanted, and the units that were chosen."""

    wanted: Wanted
    path: np.ndarray


class PersonPerformance:
    """A speech by a person whose own mouth shapes have been learnt."""

    def __init__(self, person: LoadedPerson, ears: Ears, in_haste: bool, loop: BaseLoop, first: int) -> None:
        self._person = person
        self._ears = ears
        self._in_haste = in_haste
        self._loop = loop
        self._first = first
        self._mouth = Mouth(person.space, person.lower, person.frames)
        self._past: _Past | None = None

    def plan(self, window: Window) -> list[Drawing]:
        """See Performance."""
        person, past = self._person, self._past
        wish = self._wish(window)
        codes, closed = wish.codes[window.before :], wish.closed[window.before :]
        bases = stored_bases(person.frames, self._loop, self._first + window.first, len(codes))
        wanted = Wanted(codes, bases, closed)
        path = choose_units(person, wanted, None if past is None else int(past.path[-1]))
        done = 0
        if past is not None:
            done = len(past.path)
            wanted, path = past.wanted.joined(wanted), np.concatenate([past.path, path])
        end = done + window.count
        recent = slice(max(0, end - HISTORY), end)
        self._past = _Past(wanted.part(recent), path[recent])
        return drawings(person, wanted, path)[done:end]

    def _wish(self, window: Window) -> Wish:
        """The mouths wanted in all frames of the window: what is heard, at rest where nobody speaks, and said."""
        space, speech = self._person.space, self._person.speech
        sound = at_hearing_rate(window.samples, window.sample_rate)
        heard = hear(sound)
        hearing = speech.adapted(self._ears.hearing(sound, heard.mel, self._in_haste), heard.spoken)
        spoken = heard.spoken_at(window.times)
        # A voice that knows what it says is in sync; any other sound is shown as the footage would have shown it.
        lag = self._person.lag
        codes = speech.predict(hearing, window.times + (0.0 if window.phones is None else lag), spoken, space)
        codes = space.rest + (codes - space.rest) * gate(spoken, space.closing)[:, None]
        if window.phones is not None:
            return self._mouth.follow(codes, window.times, window.phones)
        return self._mouth.heed(codes, window.times - USUAL_LAG - lag, heard_phones(hearing.sounds))

    def draw(self, planned: Drawing) -> Drawn:
        """See Performance."""
        person, box = self._person, self._person.boxes[planned.base]
        sources = [
            Source(person.crops[unit], person.points[unit], share)
            for unit, share in zip(planned.blend.units, planned.blend.shares, strict=True)
        ]
        base, points = person.crops[planned.base], person.points[planned.base]
        return *draw_mouth(base, points, person.speed[planned.base], planned.goal, sources, box), box


class PreviewPerformance:
    """A speech by a photo, or by a person who has not been heard: preview quality."""

    def __init__(self, preview: LoadedPreview, ears: Ears, in_haste: bool, loop: BaseLoop, first: int) -> None:
        self._preview = preview
        self._ears = ears
        self._in_haste = in_haste
        self._loop = loop
        self._first = first

    def plan(self, window: Window) -> Sequence[Any]:
        """See Performance."""
        sound = at_hearing_rate(window.samples, window.sample_rate)
        heard = hear(sound)
        if window.phones is None:
            shares = self._ears.hearing(sound, heard.mel, self._in_haste).sounds
        else:
            shares = said(window.phones, -(-len(heard.mel) * WHISPER_RATE // MEL_RATE))
        opening, rounding = movements(shares, heard.mel, heard.spoken, window.times)
        share = gate(heard.spoken_at(window.times))
        first = self._first + window.first - window.before
        numbers = np.arange(first, first + len(share))
        bases = stored_bases(self._preview.frames, self._loop, first, len(share))
        planned = self._preview.plan(numbers, bases, opening * share, rounding * share)
        return planned[window.before : window.before + window.count]

    def draw(self, planned: Any) -> Drawn:
        """See Performance."""
        return self._preview.draw(planned)
