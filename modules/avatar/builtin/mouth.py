"""The inside of a mouth, drawn between the lips: teeth, tongue and dark, in the light of the picture.

Everything is laid out on the upper jaw's own axes (Axes), so teeth stay where they are while lips and
jaw move; coverage is computed from distances to smooth curves, so edges are right to a part of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.avatar.builtin.skin import Axes, Contour, Move, read
from modules.avatar.builtin.tones import Tones
from modules.avatar.builtin.warp import smoothstep
from modules.avatar.crops import Box, Crop

# Eye distances (the outer corners of the eyes are about 90 mm apart). Ends of the upper teeth from the middle on:
# the outer ones are seen from the side.
TOOTH_ENDS = np.array([0.0, 0.094, 0.166, 0.226, 0.266, 0.296, 0.32])
# How much shorter than the first each tooth reads, and how far its corners are rounded.
TOOTH_RISE = np.array([0.0, 0.007, 0.001, 0.01, 0.016, 0.022])
TOOTH_ROUND = np.array([0.008, 0.01, 0.014, 0.009, 0.008, 0.008])
TYPICAL_HALF = 0.29  # of a mouth, corner to middle, for which the widths above hold
# Teeth end this far below the resting upper lip; the row rises towards the sides.
TEETH_BELOW_LIP, ROW_RISE = 0.036, 0.3
GAP_WIDTH, GAP_DARKNESS = 0.007, 0.34
ROUNDNESS = 0.2
LIP_SHADOW, LIP_SHADOW_REACH = 0.42, 0.04
SIDE_SHADOW_REACH = 0.22
LEAST_SHOWN = 0.025
TONGUE_HEIGHT, TONGUE_SOFT = 0.55, 0.04
ROUND_SHADOW = 9.0
# From here to there of an opening in the picture, it is taken to show real teeth, which are kept.
REAL_FROM, REAL_TO = 0.045, 0.065
# They reach for an opening that grows by this share of itself, and no longer for that.
GROWTH_FROM, GROWTH_TO = 0.8, 1.6
# Where less shows, what shows is kept until the opening has changed by this much.
REAL_FADE = 0.012
REAL_REACH, CORNER_REACH = 0.1, 0.03
# The lower lip's own rim is not drawn out with them.
LOWER_RIM, RIM_FADE = 0.016, 0.03
LIP_LINE = 0.006
MARGIN = 0.02


@dataclass(frozen=True)
class Opening:
    """What is to be drawn: the lips' inner edges now (S, 2) in the upper jaw's axes, the ``move`` that brought
    them there, and the contour and the opening (eye distances) that the picture itself shows.
    """

    upper: np.ndarray
    lower: np.ndarray
    move: Move
    rest: Contour
    own: float


@dataclass(frozen=True)
class Original:
    """The picture itself and where the mouth's axes lie in it."""

    crop: Crop
    axes: Axes


def paint(
    picture: np.ndarray, corner: np.ndarray, axes: Axes, opening: Opening, tones: Tones, original: Original
) -> None:
    """Draw the inside of the mouth into ``picture`` ((h, w, 3) uint8 BGR, whose corner lies at ``corner``)."""
    part = _part(picture, corner, axes, opening)
    if part is None:
        return
    pixels = np.stack(np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom)), -1) + corner
    local = axes.local(pixels).astype(np.float32)
    across, down = local[..., 0], local[..., 1]
    roof, floor = (np.interp(across, line[:, 0], line[:, 1]) for line in (opening.upper, opening.lower))
    # Lips take along a rim of what showed between them: as soon as they move it is drawn over.
    moved = float(smoothstep(np.array(abs(opening.move.change) / REAL_FADE)))
    line = LIP_LINE * moved
    soft = max(tones.blur, 0.5) / axes.unit
    cover = np.clip((down - roof + line) / soft + 0.5, 0, 1) * np.clip((floor + line - down) / soft + 0.5, 0, 1)
    cover *= smoothstep(np.minimum(across - opening.upper[0, 0], opening.upper[-1, 0] - across) / MARGIN + 1)
    inside = _drawn(across, down, roof, floor, opening, tones, soft)
    kept = _kept(opening)
    if kept > 0:
        real, share = _real(across, down, line, opening, original)
        share = kept * share[..., None]
        inside = inside * (1 - share) + real * _shade(down, roof, opening) * share
    # Between lips that all but touch there is only the dark line.
    shut = moved * (1 - smoothstep((floor - roof) / LEAST_SHOWN))
    inside = inside + (tones.line - inside) * shut[..., None]
    target = picture[part.top : part.bottom, part.left : part.right]
    mixed = target + (inside - target) * cover[..., None]
    target[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _part(picture: np.ndarray, corner: np.ndarray, axes: Axes, opening: Opening) -> Box | None:
    """The pixels of ``picture`` round the opening, or None where the lips touch and nothing was between them."""
    gap = opening.lower[:, 1] - opening.upper[:, 1]
    if gap.max() * axes.unit < 0.3 and opening.move.change >= 0:
        return None
    edges = axes.picture(np.concatenate([opening.upper, opening.lower])) - corner
    reach = MARGIN * axes.unit + 2
    left, top = np.maximum(np.floor(edges.min(0) - reach), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(edges.max(0) + reach), picture.shape[1::-1]).astype(int).tolist()
    return Box(left, top, right, bottom) if right > left and bottom > top else None


def _real_teeth(opening: Opening) -> float:
    """0 to 1: whether the picture shows teeth of its own, and enough of them for the opening that is wanted."""
    shown = smoothstep(np.array((opening.own - REAL_FROM) / (REAL_TO - REAL_FROM)))
    growth = opening.move.change / max(opening.own, 1e-6)
    return float(shown * (1 - smoothstep(np.array((growth - GROWTH_FROM) / (GROWTH_TO - GROWTH_FROM)))))


def _kept(opening: Opening) -> float:
    """0 to 1: how much of what the picture itself shows between the lips stays."""
    moved = smoothstep(np.array(abs(opening.move.change) / REAL_FADE))
    return max(_real_teeth(opening), 1 - float(moved))


def _drawn(
    across: np.ndarray,
    down: np.ndarray,
    roof: np.ndarray,
    floor: np.ndarray,
    opening: Opening,
    tones: Tones,
    soft: float,
) -> np.ndarray:
    """(h, w, 3) float32 tongue, dark and teeth."""
    height = np.maximum(floor - roof, 1e-3)
    half = max(float(opening.upper[-1, 0] - opening.upper[0, 0]) / 2, 1e-3)
    place = np.clip(np.abs(across) / half, 0, 1)
    rounded = float(np.exp(-ROUND_SHADOW * max(opening.move.rounding, 0.0)))
    # The tongue lies behind the lower lip, lightest in the middle, and is lost in the dark behind.
    rise = TONGUE_HEIGHT * height * (1 - place**2)
    lit = smoothstep((down - (floor - rise)) / (TONGUE_SOFT + 0.5 * rise)) * (1 - 0.6 * place**2)
    lit = (lit * smoothstep(height / 0.1))[..., None]
    deep = (0.8 + 0.7 * np.clip((down - roof) / height, 0, 1))[..., None] * (1 - 0.35 * place[..., None] ** 2)
    inside = tones.cavity * deep * (1 - lit) + tones.tongue * lit
    cover, shade = _teeth(across, down, half, opening, soft)
    shade = shade * (1 - LIP_SHADOW * (1 - smoothstep((down - roof) / LIP_SHADOW_REACH)))
    shade = shade * np.exp(-((across / SIDE_SHADOW_REACH) ** 2) / 2) * rounded
    teeth = tones.teeth * shade[..., None] + tones.cavity * (1 - shade[..., None])
    cover = (cover * (1 - _real_teeth(opening)))[..., None]
    return np.asarray(inside * (1 - cover) + teeth * cover, np.float32)


def _teeth(
    across: np.ndarray, down: np.ndarray, half: float, opening: Opening, soft: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the upper teeth are and how much light each place of them returns, both 0 to 1."""
    ends = TOOTH_ENDS * np.clip(half / TYPICAL_HALF, 0.8, 1.2)
    aside = np.abs(across)
    tooth = np.clip(np.searchsorted(ends, aside, side="right") - 1, 0, len(ends) - 2)
    width = np.diff(ends)[tooth]
    inner = (aside - ends[tooth]) / width * 2 - 1
    middle = len(opening.rest.upper) // 2
    end = float(opening.rest.upper[middle]) + TEETH_BELOW_LIP
    edge = end - ROW_RISE * aside**2 - TOOTH_RISE[tooth] - TOOTH_ROUND[tooth] * np.abs(inner) ** 4
    cover = np.clip((edge - down) / soft + 0.5, 0, 1) * (aside < ends[-1])
    from_gap = (1 - np.abs(inner)) * width / 2
    shade = (1 - ROUNDNESS * inner**2) * (1 - GAP_DARKNESS * np.exp(-((from_gap / GAP_WIDTH) ** 2)))
    return cover, shade * (1 - 0.12 * smoothstep((down - edge) / 0.03 + 1))


def _real(
    across: np.ndarray, down: np.ndarray, line: float, opening: Opening, original: Original
) -> tuple[np.ndarray, np.ndarray]:
    """What the picture shows between its own lips, and how far it reaches: (h, w, 3) and (h, w) 0 to 1."""
    rest = opening.rest
    top = np.interp(across, rest.across, rest.upper) + line
    rim = LOWER_RIM * float(smoothstep(np.array(opening.move.change / RIM_FADE)))
    bottom = np.maximum(np.interp(across, rest.across, rest.lower) - max(line, rim), top)
    places = original.axes.picture(np.stack([across, np.clip(down, top, bottom)], -1))
    crop = original.crop
    real = read(crop.pixels, places - (crop.left, crop.top))
    # Beyond the corners there was nothing to see between the lips.
    ends = np.minimum(across - rest.across[0], rest.across[-1] - across)
    share = (1 - smoothstep((down - bottom) / REAL_REACH)) * smoothstep(ends / CORNER_REACH)
    return real.astype(np.float32), share


def _shade(down: np.ndarray, roof: np.ndarray, opening: Opening) -> np.ndarray:
    """(h, w, 1) how much of its light what is kept has left: a lip that comes down throws its shadow lower."""
    middle = len(opening.upper) // 2
    moved = float(np.clip((opening.upper[middle, 1] - opening.rest.upper[middle]) / 0.03, 0, 1))
    return np.asarray(1 - moved * LIP_SHADOW * (1 - smoothstep((down - roof) / LIP_SHADOW_REACH)))[..., None]
