"""From mouth shapes wanted to a drawing plan: which units, blended how, in which geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from modules.avatar.builtin.person import LoadedPerson
from modules.avatar.builtin.selection import Blend, cheapest_path, cross_fades
from modules.avatar.builtin.shapes import CLOSED, LIP_COUNT, opening
from modules.avatar.builtin.warp import smoothstep
from modules.face import landmarks as at

# Share of the way from the unit's own geometry to the wanted one.
FOLLOW = 0.9
# An opening may grow to this share (and a bit) of the unit's own; closing fully needs a nearly closed unit.
GROW, GROW_MORE = 1.3, 0.012
SHRINK, CLOSABLE = 0.65, 0.07
# What an eye distance of open lips costs a unit where the lips must touch: a slit of 1 % is dearer than any jump.
GAPING_COST = 1000.0
# Facing places of the inner lips, corners left out; the lower lip does more of the moving.
UPPER_LIP = [at.LOWER.index(point) for point in at.LIPS_INNER_UPPER[1:-1]]
LOWER_LIP = [at.LOWER.index(point) for point in at.LIPS_INNER_LOWER[1:-1]]
LOWER_LIP_SHARE = 0.6
GEOMETRY_SIGMA, DEPTH_SIGMA = 0.5, 1.0
# The wanted geometry fades to the base's own above the lips and towards the ears (eye distances).
FADE_ABOVE, FADE_HEIGHT = 0.22, 0.22
FADE_SIDE, FADE_WIDTH = 0.40, 0.22


@dataclass(frozen=True)
class Drawing:
    """One frame to draw: ``base`` is the number of its stored frame, goal (116, 2) in frame pixels."""

    base: int
    blend: Blend
    goal: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """A stretch of output: codes (T, K), the stored numbers (T,) of the base frames.

    closed: (T,) bool, where the lips must touch.
    """

    codes: np.ndarray
    bases: np.ndarray
    closed: np.ndarray

    def part(self, frames: slice) -> Wanted:
        """Only ``frames`` of the stretch."""
        return Wanted(self.codes[frames], self.bases[frames], self.closed[frames])

    def joined(self, later: Wanted) -> Wanted:
        """This stretch and then ``later``."""
        return Wanted(
            np.concatenate([self.codes, later.codes]),
            np.concatenate([self.bases, later.bases]),
            np.concatenate([self.closed, later.closed]),
        )


def choose_units(person: LoadedPerson, wanted: Wanted, previous: int | None) -> np.ndarray:
    """(T,) the units to show, going on from ``previous``."""
    vectors = person.vectors(wanted.codes, opening(person.space.decode(wanted.codes)))
    targets = person.units.target_costs(vectors, person.pose[wanted.bases])
    targets += GAPING_COST * wanted.closed[:, None] * _gaping(opening(person.lower)).astype(np.float32)
    return cheapest_path(targets, person.transitions, previous)


def _gaping(openings: np.ndarray) -> np.ndarray:
    """(N,) how much further open units are than lips that are firmly closed: half of the closed ones are."""
    closed = openings[openings < CLOSED]
    return np.asarray(np.maximum(openings - (np.median(closed) if len(closed) else 0.0), 0))


def drawings(person: LoadedPerson, wanted: Wanted, path: np.ndarray) -> list[Drawing]:
    """What to draw for each frame of a stretch whose units are chosen; smooth within the stretch."""
    lower = person.lower
    blends = cross_fades(path, person.frames, wanted.closed, opening(lower) > CLOSED)
    source = np.stack(
        [sum(share * lower[unit, :, :2] for unit, share in zip(b.units, b.shares, strict=True)) for b in blends]
    )
    goal = _limited(person, source, person.space.decode(wanted.codes))
    goal = gaussian_filter1d(goal, GEOMETRY_SIGMA, axis=0, mode="nearest")
    goal[wanted.closed] = _shut(source[wanted.closed], goal[wanted.closed])
    depth = gaussian_filter1d(lower[path, :, 2], DEPTH_SIGMA, axis=0, mode="nearest")
    own = gaussian_filter1d(lower[wanted.bases], GEOMETRY_SIGMA, axis=0, mode="nearest")
    share = _fade(person)[None, :, None]
    shape = share * np.concatenate([goal, depth[..., None]], -1) + (1 - share) * own
    pixels = person.shapes.motion.to_picture(shape, wanted.bases)[:, :, :2]
    return [Drawing(int(base), blend, xy) for base, blend, xy in zip(wanted.bases, blends, pixels, strict=True)]


def _limited(person: LoadedPerson, source: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(T, 116, 2) from the units' shapes towards the wanted ones, as far as a warp of real pixels can go."""
    own = opening(source)
    aimed = own + FOLLOW * (opening(wanted) - own)
    correction = (_allowed(aimed, own) - aimed)[:, None, None] * person.space.open_motion
    goal = source + FOLLOW * (wanted - source) + correction
    return _lips_apart(source, goal)


def _allowed(opening: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Openings as near to ``opening`` as a warp of lips that are ``source`` apart can bring them."""
    # Lips that touch already are as close as they can be: their own line is the best one.
    least = np.where(source < CLOSED, source, np.where(source < CLOSABLE, 0, SHRINK * source))
    return np.clip(opening, least, GROW * source + GROW_MORE)


def _shut(source: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """``goal`` with touching lips, as far as those of ``source`` can be brought together."""
    gap = goal[:, LOWER_LIP, 1] - goal[:, UPPER_LIP, 1]
    goal[:, LOWER_LIP, 1] -= LOWER_LIP_SHARE * gap
    goal[:, UPPER_LIP, 1] += (1 - LOWER_LIP_SHARE) * gap
    return _lips_apart(source, goal)


def _lips_apart(source: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """``goal`` with each place of the lower lip as far below the upper one as can be drawn.

    Lips that crossed would fold the picture, and show as a jagged line.
    """
    wanted = goal[:, LOWER_LIP, 1] - goal[:, UPPER_LIP, 1]
    own = np.maximum(source[:, LOWER_LIP, 1] - source[:, UPPER_LIP, 1], 0)
    change = _allowed(wanted, own) - wanted
    goal[:, LOWER_LIP, 1] += LOWER_LIP_SHARE * change
    goal[:, UPPER_LIP, 1] -= (1 - LOWER_LIP_SHARE) * change
    return goal


def _fade(person: LoadedPerson) -> np.ndarray:
    """(116,) how far each LOWER point follows the wanted geometry: 1 at the lips, 0 at nose and ears."""
    points = person.shapes.reference[list(at.LOWER)]
    lips_top = person.shapes.reference[list(at.LIPS), 1].min()
    down = smoothstep((points[:, 1] - (lips_top - FADE_ABOVE)) / FADE_HEIGHT)
    side = 1 - smoothstep((np.abs(points[:, 0]) - FADE_SIDE) / FADE_WIDTH)
    fade = down * side
    fade[:LIP_COUNT] = 1
    return fade
