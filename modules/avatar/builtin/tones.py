"""What a picture itself says about how things in it would look: white, lips, sharpness and grain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from modules.avatar.crops import Crop
from modules.face import landmarks as at
from modules.face.geometry import eye_distance

CHEEKS = (205, 425, 50, 280)
LIP_BODIES = (15, 85, 315, 86, 316, 16)
EYES = ((at.LEFT_EYE_UPPER, at.LEFT_EYE_LOWER, 468), (at.RIGHT_EYE_UPPER, at.RIGHT_EYE_LOWER, 473))
LUMA = np.array([0.114, 0.587, 0.299])
PATCH = 0.035  # radius of a sample of skin in eye distances
# Enamel is a little yellower than the white of an eye.
ENAMEL = np.array([0.9, 0.97, 1.0])
# Half of the colour of an eye's white is the shade of the lids.
NEUTRAL = 0.5
LEAST_WHITE = 24  # pixels
# Teeth stand in the shade of the lips; against the skin they are neither lamps nor holes.
DARKEST_TEETH, BRIGHTEST_TEETH = 0.95, 1.25
TONGUE_SHARE = 0.66
LINE_SHARE = np.array([0.44, 0.46, 0.58])
CAVITY_SHARE = np.array([0.11, 0.12, 0.19])
# The scale in pixels at which an edge is softened to measure how soft it was (Zhuo & Sim, 2011).
PROBE_SIGMA = 1.0
SHARPEST, SOFTEST = 0.45, 3.0


@dataclass(frozen=True)
class Tones:
    """Colours (3,) float64 BGR 0 to 255 of teeth, tongue, throat and the line between lips in this picture's light;

    blur: Gaussian sigma of its edges in pixels; grain: standard deviation of its noise in grey levels.
    """

    teeth: np.ndarray
    tongue: np.ndarray
    cavity: np.ndarray
    line: np.ndarray
    blur: float
    grain: float


def measure(crop: Crop, points: np.ndarray) -> Tones:
    """The tones of a face at ``points`` (478, 2) in frame pixels, as far as ``crop`` shows it."""
    placed = points - (crop.left, crop.top)
    eyes = float(eye_distance(placed))
    skin = _color(crop.pixels, placed[list(CHEEKS)], PATCH * eyes)
    lips = _color(crop.pixels, placed[list(LIP_BODIES)], PATCH / 2 * eyes)
    white = _white_of_eyes(crop.pixels, placed)
    if white is None:
        # Skin is reddish: halfway to grey is about what something white shows in the same light.
        white = 1.2 * (0.35 * skin + 0.65 * float(skin @ LUMA))
    teeth = ((1 - NEUTRAL) * white + NEUTRAL * float(white @ LUMA)) * ENAMEL
    bright, wanted = float(teeth @ LUMA), float(skin @ LUMA)
    teeth = teeth * np.clip(bright, DARKEST_TEETH * wanted, BRIGHTEST_TEETH * wanted) / max(bright, 1.0)
    return Tones(
        np.clip(teeth, 0, 240),
        TONGUE_SHARE * (0.8 * lips + 0.2 * skin),
        CAVITY_SHARE * lips,
        LINE_SHARE * lips,
        blur(crop, points),
        _grain(crop.pixels, placed[list(CHEEKS)], 2 * PATCH * eyes),
    )


def _window(picture: np.ndarray, middle: np.ndarray, radius: float) -> np.ndarray:
    """The part of ``picture`` within ``radius`` of ``middle`` (x, y), possibly empty."""
    reach = max(radius, 1.0)
    left, top = (max(0, int(value - reach)) for value in middle)
    right, bottom = (max(0, int(value + reach) + 1) for value in middle)
    return picture[top:bottom, left:right]


def _color(picture: np.ndarray, places: np.ndarray, radius: float) -> np.ndarray:
    """(3,) median colour round ``places`` (P, 2); middle grey where none lies in the picture."""
    parts = [_window(picture, place, radius).reshape(-1, 3) for place in places]
    pixels = np.concatenate(parts)
    return np.median(pixels, 0) if len(pixels) else np.full(3, 128.0)


def _white_of_eyes(picture: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """(3,) colour of the lighter half of what shows beside the irises, or None where too little shows."""
    found = []
    for upper, lower, iris in EYES:
        shown = np.zeros(picture.shape[:2], np.uint8)
        outline = points[[*upper, *lower[-2:0:-1]]]
        cv2.fillPoly(shown, [np.round(outline).astype(np.int32)], 1)
        radius = float(np.linalg.norm(points[iris + 1 : iris + 5] - points[iris], axis=1).mean())
        x, y = np.round(points[iris]).astype(int).tolist()
        cv2.circle(shown, (x, y), round(1.15 * radius), 0, -1)
        found.append(picture[shown > 0])
    pixels = np.concatenate(found).astype(np.float64)
    if len(pixels) < LEAST_WHITE:
        return None
    bright = pixels @ LUMA
    return np.asarray(pixels[bright >= np.median(bright)].mean(0))


def blur(crop: Crop, points: np.ndarray) -> float:
    """Gaussian sigma in pixels of the sharper edges round the mouth of a face at ``points`` (478, 2)."""
    middle = points[list(at.LIPS)].mean(0) - (crop.left, crop.top)
    part = _gray(_window(crop.pixels, middle, 0.45 * float(eye_distance(points))))
    if min(part.shape) < 8:
        return SHARPEST
    softer = cv2.GaussianBlur(part, (0, 0), PROBE_SIGMA)
    steep, soft = _steepness(part), _steepness(softer)
    edges = steep >= np.quantile(steep, 0.97)
    ratio = np.quantile(steep[edges] / np.maximum(soft[edges], 1e-3), 0.75)
    return float(np.clip(PROBE_SIGMA / np.sqrt(max(ratio**2 - 1, 1e-3)), SHARPEST, SOFTEST))


def _steepness(gray: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))


def _grain(picture: np.ndarray, places: np.ndarray, radius: float) -> float:
    """Noise of smooth skin: the median deviation of single pixels from their surroundings."""
    parts = [_gray(_window(picture, place, radius)) for place in places]
    fine = [(part - cv2.GaussianBlur(part, (0, 0), 1.5)).ravel() for part in parts if part.size]
    return float(np.clip(1.48 * np.median(np.abs(np.concatenate(fine))), 0, 12)) if fine else 0.0


def _gray(picture: np.ndarray) -> np.ndarray:
    """(h, w) float32 brightness."""
    return np.asarray(picture @ LUMA.astype(np.float32), np.float32)
