"""What a mouth must do for the sounds that are spoken, on top of what can be heard of it.

Hearing does not tell when lips touch, nor how wide a mouth is; who knows the phones does. Each kind of phone
bounds the opening and asks for a width; how open and how wide that is, the person's own footage says, by
quantiles. Where phones follow quickly their demands blend, each reaching a little into its neighbours
(after the dominance model of M. Cohen and D. Massaro, "Modeling coarticulation in synthetic visual speech", 1993).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.shapes import BOTTOM, CLOSED, LOWER, TOP, ShapeSpace
from modules.face import landmarks as at
from modules.media import FRAME_RATE, PAUSE, Phone

# In a pause of this many seconds the mouth comes to rest; in a shorter one it only closes further.
REST_SECONDS = 0.3
# How far a demand reaches around its phone (seconds): widths change more slowly than openings.
GRID_RATE = 200
OPENING_SIGMA, WIDTH_SIGMA = 0.012, 0.05
# Share of the way from what is heard to what is demanded.
OPENING_SHARE, WIDTH_SHARE = 0.9, 0.9
# How far openings follow the distribution seen in the footage, the seconds of speech that count for half of it,
# and by how much they may grow.
LIVELINESS, ENOUGH_SECONDS, MOST_GAIN = 0.8, 4.0, 1.6
# Lips leave a closure, and come to it, no faster than this quantile of the person's own speed.
SPEED_QUANTILE = 0.97
LEAST_SPEED = 0.08

BILABIAL = frozenset("pbm")
# The lower lip touches the teeth: as little open as this quantile.
LIP_TEETH, LIP_TEETH_QUANTILE = frozenset("fvʋ"), 0.05
# A gliding vowel is one letter, but two mouths.
GLIDES = {"A": ("e", "ɪ"), "I": ("a", "ɪ"), "O": ("o", "ʊ"), "Q": ("ə", "ʊ"), "W": ("a", "ʊ"), "Y": ("ɔ", "ɪ")}


@dataclass(frozen=True)
class Demand:
    """What a kind of phone asks of a mouth, in quantiles of what the person's open mouth does.

    least, most: of the opening; width: of the width at that opening, None where any will do.
    """

    phones: str
    least: float
    most: float
    width: float | None = None


DEMANDS = (
    Demand("aɑɐæ", 0.5, 1.0),
    Demand("ʌ", 0.4, 0.9),
    Demand("ɛ", 0.3, 0.8, 0.65),
    Demand("e", 0.2, 0.65, 0.7),
    Demand("əɜɚɤ", 0.2, 0.7),
    Demand("ɔɒ", 0.35, 0.85, 0.2),
    Demand("oøœ", 0.15, 0.6, 0.1),
    Demand("uʊɯ", 0.0, 0.25, 0.05),
    Demand("wɥyʋɸβ", 0.0, 0.2, 0.05),
    Demand("iɪɨᵻj", 0.0, 0.3, 0.75),
    Demand("fv", 0.0, 0.1),
    Demand("szʦʣɕʨʥꭧ", 0.0, 0.35, 0.6),
    Demand("ʃʒʧʤʂʈɻɹ", 0.05, 0.35, 0.25),
    Demand("tdnlðθɾɡkŋxhɣçʔrᵊcqɟɲɴʎ", 0.0, 0.5),
    Demand(PAUSE, 0.0, 0.25),
)
ANYTHING = Demand("", 0.0, 1.0)
_DEMAND_OF = {letter: demand for demand in DEMANDS for letter in demand.phones}


@dataclass(frozen=True)
class _Levels:
    """A demand in one person's eye distances; the width is that of closed lips."""

    least: float
    most: float
    width: float | None

    @classmethod
    def of(cls, demand: Demand, gaps: np.ndarray, widths: np.ndarray) -> _Levels:
        """From the (N,) openings and (N,) widths that the person's open mouth shows."""
        least = float(np.quantile(gaps, demand.least)) if demand.least > 0 else 0.0
        width = None if demand.width is None else float(np.quantile(widths, demand.width))
        return cls(least, float(np.quantile(gaps, demand.most)), width)


@dataclass(frozen=True)
class Wish:
    """Mouths wanted at T frames: codes (T, K); closed (T,) bool, where the lips must touch."""

    codes: np.ndarray
    closed: np.ndarray


class Mouth:
    """How one person's mouth opens and widens, measured on (N, 116, 3) ``lower`` faces at (N,) ``frames``.

    speed: how far it opens or closes within a frame when it is quick, in eye distances.
    """

    def __init__(self, space: ShapeSpace, lower: np.ndarray, frames: np.ndarray) -> None:
        self._space = space
        codes = space.encode(lower)
        measures = _measures(space.decode(codes))
        # Codes that go with one more unit of opening at the same width, and the other way round.
        self._directions = np.linalg.lstsq(measures - measures.mean(0), codes - codes.mean(0), rcond=None)[0]
        gap, width = measures.T
        speaking = gap > CLOSED if (gap > CLOSED).sum() >= 2 * FRAME_RATE else np.ones(len(gap), bool)
        self._gaps = gap[speaking]
        self._slope = float(np.polyfit(gap[speaking], width[speaking], 1)[0])
        widths = width[speaking] - self._slope * gap[speaking]
        self._levels = {demand: _Levels.of(demand, self._gaps, widths) for demand in (*DEMANDS, ANYTHING)}
        self._teeth = float(np.quantile(self._gaps, LIP_TEETH_QUANTILE))
        steps = np.abs(np.diff(gap))[np.diff(frames) == 1]
        self.speed = max(LEAST_SPEED, float(np.quantile(steps, SPEED_QUANTILE)) if len(steps) else 0.0)
        self._shut = float(np.median(gap[gap <= CLOSED])) if (gap <= CLOSED).any() else 0.0
        self._rest = max(0.0, float(_measures(space.decode(space.rest[None]))[0, 0]))

    def follow(self, codes: np.ndarray, times: np.ndarray, phones: Sequence[Phone]) -> Wish:
        """(T, K) ``codes`` that the sound suggests at ``times`` (T,) in seconds, made to say ``phones``."""
        sounds = list(_plain(phones))
        resting = _inside(times, [p for p in sounds if p.symbol == PAUSE and p.stop - p.start >= REST_SECONDS])
        shut, bitten = (touching(times, [p for p in sounds if p.symbol in kind]) for kind in (BILABIAL, LIP_TEETH))
        gap = _measures(self._space.decode(codes))[:, 0]
        wanted = gap + OPENING_SHARE * (np.clip(gap, *self._bounds(times, sounds)) - gap)
        wanted = self._lively(wanted, ~shut & ~resting)
        wanted = self._closing(wanted, bitten, self._teeth)
        wanted = self._closing(wanted, resting, self._rest)
        wanted = self._closing(wanted, shut, self._shut)
        moved = self._moved(codes, wanted, times, sounds)
        moved[resting] = self._space.rest
        return Wish(moved, shut | (resting & (self._rest < CLOSED)))

    def heed(self, codes: np.ndarray, times: np.ndarray, phones: Sequence[Phone]) -> Wish:
        """The same for ``phones`` that were only heard: they shut lips, hold them back and widen them, open none."""
        sounds = list(_plain(phones))
        shut = touching(times, [p for p in sounds if p.symbol in BILABIAL])
        gap = _measures(self._space.decode(codes))[:, 0]
        most = self._bounds(times, sounds)[1]
        wanted = self._closing(gap + OPENING_SHARE * np.minimum(most - gap, 0), shut, self._shut)
        return Wish(self._moved(codes, wanted, times, sounds), shut)

    def _moved(self, codes: np.ndarray, wanted: np.ndarray, times: np.ndarray, sounds: list[Phone]) -> np.ndarray:
        """(T, K) ``codes`` with ``wanted`` (T,) openings and the widths that ``sounds`` ask for."""
        gap, width = _measures(self._space.decode(codes)).T
        share, asked = self._asked_width(times, sounds)
        wider = share * (asked + self._slope * wanted - width)
        return np.asarray(codes + np.stack([wanted - gap, wider], axis=1) @ self._directions)

    def _bounds(self, times: np.ndarray, sounds: list[Phone]) -> tuple[np.ndarray, np.ndarray]:
        """(T,) least and (T,) most opening; lips that touch are seen to elsewhere."""
        levels, free = self._levels_of(sounds), self._levels[ANYTHING]
        return (
            _blended(times, sounds, [level.least for level in levels], free.least, OPENING_SIGMA),
            _blended(times, sounds, [level.most for level in levels], free.most, OPENING_SIGMA),
        )

    def _asked_width(self, times: np.ndarray, sounds: list[Phone]) -> tuple[np.ndarray, np.ndarray]:
        """(T,) how much a width is asked for, 0 to WIDTH_SHARE, and (T,) which, as if the lips were closed."""
        widths = [level.width for level in self._levels_of(sounds)]
        asking = _blended(times, sounds, [float(width is not None) for width in widths], 0.0, WIDTH_SIGMA)
        asked = _blended(times, sounds, [width or 0.0 for width in widths], 0.0, WIDTH_SIGMA)
        return WIDTH_SHARE * asking, asked / np.maximum(asking, 1e-6)

    def _levels_of(self, sounds: list[Phone]) -> list[_Levels]:
        return [self._levels[_DEMAND_OF.get(sound.symbol, ANYTHING)] for sound in sounds]

    def _lively(self, wanted: np.ndarray, speaking: np.ndarray) -> np.ndarray:
        """Openings with the mean and the spread that they have in life: bounds from all sides make a mumbler."""
        if not speaking.any():
            return wanted
        mean, spread = wanted[speaking].mean(), wanted[speaking].std()
        gain = np.clip(self._gaps.std() / max(spread, 1e-6), 1.0, MOST_GAIN)
        seconds = speaking.sum() / FRAME_RATE
        strength = LIVELINESS * seconds / (seconds + ENOUGH_SECONDS)
        lively = wanted + strength * (self._gaps.mean() + gain * (wanted - mean) - wanted)
        return np.maximum(lively, 0.0)

    def _closing(self, wanted: np.ndarray, touching: np.ndarray, level: float) -> np.ndarray:
        """``closing`` as fast as this mouth does it."""
        return closing(wanted, touching, level, self.speed)


def closing(wanted: np.ndarray, touching: np.ndarray, level: float, speed: float) -> np.ndarray:
    """(T,) openings ``wanted`` that come down to ``level`` where lips are ``touching``, ``speed`` a frame each way."""
    if not touching.any():
        return wanted
    distance = np.abs(np.arange(len(wanted))[:, None] - np.flatnonzero(touching)[None]).min(1)
    return np.minimum(wanted, level + speed * distance)


def touching(times: np.ndarray, phones: Iterable[Phone]) -> np.ndarray:
    """(T,) bool: the frames in which lips touch for ``phones``: all inside, and for each at least the nearest."""
    found = np.zeros(len(times), bool)
    for phone in phones:
        found |= (times >= phone.start) & (times < phone.stop)
        middle = (phone.start + phone.stop) / 2
        nearest = int(np.abs(times - middle).argmin())
        found[nearest] |= abs(times[nearest] - middle) <= 1 / FRAME_RATE
    return found


def _measures(points: np.ndarray) -> np.ndarray:
    """(T, 2) opening and width of (T, 116, 2) lower faces, in eye distances; both are linear in the codes."""
    left, right = LOWER.index(at.MOUTH_LEFT), LOWER.index(at.MOUTH_RIGHT)
    return np.stack([points[:, BOTTOM, 1] - points[:, TOP, 1], points[:, right, 0] - points[:, left, 0]], axis=1)


def _plain(phones: Iterable[Phone]) -> Iterable[Phone]:
    """Glides as their two halves, and pauses that follow each other as one."""
    pause: Phone | None = None
    for phone in phones:
        if phone.symbol == PAUSE:
            pause = Phone(PAUSE, phone.start if pause is None else pause.start, phone.stop)
            continue
        if pause is not None:
            yield pause
            pause = None
        if phone.symbol in GLIDES:
            middle = (phone.start + phone.stop) / 2
            first, second = GLIDES[phone.symbol]
            yield Phone(first, phone.start, middle)
            yield Phone(second, middle, phone.stop)
        else:
            yield phone
    if pause is not None:
        yield pause


def _inside(times: np.ndarray, phones: list[Phone]) -> np.ndarray:
    """(T,) bool: the times that lie inside one of ``phones``."""
    inside = np.zeros(len(times), bool)
    for phone in phones:
        inside |= (times >= phone.start) & (times < phone.stop)
    return inside


def _blended(times: np.ndarray, phones: list[Phone], values: list[float], otherwise: float, sigma: float) -> np.ndarray:
    """(T,) the ``values`` of the phones at ``times``, each reaching ``sigma`` seconds into its neighbours."""
    start = float(min(times[0], 0.0))
    grid = np.full(round((times[-1] - start) * GRID_RATE) + 2, otherwise)
    for phone, value in zip(phones, values, strict=True):
        first, stop = (max(0, round((moment - start) * GRID_RATE)) for moment in (phone.start, phone.stop))
        grid[first:stop] = value
    smooth = gaussian_filter1d(grid, sigma * GRID_RATE, mode="nearest")
    return np.asarray(np.interp(times - start, np.arange(len(grid)) / GRID_RATE, smooth))
