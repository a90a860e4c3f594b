"""What MuseTalk sees, hears and replaces: crop boxes, log-mel and tokens of sound, blending masks.

The rules are those of https://github.com/TMElyralab/MuseTalk (MIT), crop boxes carried over to our face mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image
from scipy import fft

from modules.face import landmarks as at

Version = Literal["1.0", "1.5"]
Mode = Literal["raw", "neck", "jaw"]

SAMPLE_RATE = 16000
# Whisper takes 30 s at a time and gives a step for each 20 ms.
PIECE_SAMPLES, PIECE_STEPS, STEP_SAMPLES = 480000, 1500, 320
STEP_RATE = SAMPLE_RATE // STEP_SAMPLES
MELS, MEL_HOP, MEL_WINDOW = 80, 160, 400
FRAME_RATE = 25
# Frames of sound around a frame that are heard with it.
FRAMES_BEFORE, FRAMES_AFTER = 2, 2

# Mesh points on both sides of point 29 of the 68-point layout, the third of four down the bridge of the nose.
NOSE_BRIDGE = (5, 4)

# Which labels of modules/face/parsing.py each way of blending replaces.
SKIN, NOSE, MOUTH, NECK = 1, 10, (11, 12, 13), 14
PARSED_SIDE = 512
SQUARE_SCALE = 1.5
# Blur of the mask's edge in sides of the square: of an offline render, and of a realtime avatar.
OFFLINE_BLUR, REALTIME_BLUR = 0.05, 0.10


# --- where ---------------------------------------------------------------------------------------


def boxes(landmarks: np.ndarray, version: Version, options: Mapping[str, Any]) -> np.ndarray:
    """(N, 4) left, top, right, bottom of the crops for (N, 478, 3) ``landmarks``, in pixels, unlimited by the frame.

    options, in pixels: bbox_shift (1.0; the mask's edge goes down by it, and the mouth opens more) or extra_margin
    (1.5; room for a falling chin).

    The published rule reads 68 points. How they lie on our mesh was measured by laying the mean shape of that layout
    (CMU OpenFace's) over eyes, nose and mouth of two clips, in distances between the outer corners of the eyes: point
    29 comes out at mesh point 4 (0.00 +- 0.05), by the common correspondence it is point 5 (0.08 higher), so their
    middle is taken; the chin agrees (0.02 to 0.08), and the face is 1 to 4 % narrower than that shape. Boxes come out
    0.75 and 0.77 as wide as high; that shape's would be 0.76.
    """
    bridge, outline = landmarks[:, NOSE_BRIDGE, 1].mean(1), landmarks[:, at.FACE_OVAL, :2]
    bottom, left, right = outline[:, :, 1].max(1), outline[:, :, 0].min(1), outline[:, :, 0].max(1)
    if version == "1.0":
        return crop_boxes(bridge + options["bbox_shift"], bottom, left, right)
    found = crop_boxes(bridge, bottom, left, right)
    found[:, 3] += options["extra_margin"]
    return found


def crop_boxes(middle: np.ndarray, bottom: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, 4) boxes as high above the ``middle`` (N,), where the generator's mask ends, as they reach below it."""
    return np.stack([left, 2 * middle - bottom, right, bottom], 1)


# --- what is heard -------------------------------------------------------------------------------


def log_mel(sound: np.ndarray) -> np.ndarray:
    """(P, 80, 3000) float32: what Whisper hears of 16 kHz ``sound``, in pieces of 30 s filled up with silence.

    Log-mel energies of Radford et al. (2022): at most 8 decades below the loudest of the piece, brought to about 1.
    """
    count = max(1, -(-len(sound) // PIECE_SAMPLES))
    filled = np.zeros(count * PIECE_SAMPLES, np.float32)
    filled[: len(sound)] = sound
    window = np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32)
    mels = np.empty((count, MELS, 2 * PIECE_STEPS), np.float32)
    for number, piece in enumerate(filled.reshape(count, PIECE_SAMPLES)):
        padded = np.pad(piece, MEL_WINDOW // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, MEL_WINDOW)[:PIECE_SAMPLES:MEL_HOP]
        power = np.abs(fft.rfft(frames * window)) ** 2
        log = np.log10(np.maximum(power @ _mel_bands().T, 1e-10)).T
        mels[number] = (np.maximum(log, log.max() - 8) + 4) / 4
    return mels


@cache
def _mel_bands() -> np.ndarray:
    """(80, 201) triangles on Slaney's mel scale, linear below 1 kHz, each of equal area."""
    linear, decades = 200.0 / 3, np.log(6.4) / 27
    knee = 1000 / linear
    top = knee + np.log(SAMPLE_RATE / 2 / 1000) / decades
    places = np.linspace(0, top, MELS + 2)
    edges = np.where(places < knee, linear * places, 1000 * np.exp(decades * (places - knee)))
    bins = np.linspace(0, SAMPLE_RATE / 2, MEL_WINDOW // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    areas = 2 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * areas[:, None], np.float32)


def joined(states: np.ndarray, samples: int) -> np.ndarray:
    """(T, 5, 384) steps of 20 ms that ``samples`` of sound fill, out of (P, 1500, 5, 384) pieces."""
    return states.reshape(-1, *states.shape[2:])[: samples // STEP_SAMPLES]


def heard_steps(
    frames: np.ndarray, rate: int = FRAME_RATE, before: int = FRAMES_BEFORE, after: int = FRAMES_AFTER
) -> np.ndarray:
    """(N, 10) numbers of the steps that belong to ``frames`` (N,) of a video of ``rate`` whole frames a second."""
    first = frames * STEP_RATE // rate - before * -(-STEP_RATE // rate)
    return np.asarray(first[:, None] + np.arange(2 * (before + after + 1)))


def hear(states: np.ndarray, first: int, count: int) -> np.ndarray:
    """(count, 50, 384) tokens of ``count`` frames from ``first`` on; there is silence around ``states`` (T, 5, 384)."""
    steps = heard_steps(np.arange(first, first + count))
    known = (steps >= 0) & (steps < len(states))
    tokens = np.zeros((*steps.shape, *states.shape[1:]), states.dtype)
    tokens[known] = states[steps[known]]
    return tokens.reshape(count, -1, states.shape[-1])


# --- what is replaced ----------------------------------------------------------------------------


def square_around(box: np.ndarray) -> np.ndarray:
    """(4,) int: the square around ``box`` (4,) int that is parsed; it may reach over the frame's edges."""
    left, top, right, bottom = (int(side) for side in box)
    x, y = (left + right) // 2, (top + bottom) // 2
    reach = int(max(right - left, bottom - top) // 2 * SQUARE_SCALE)
    return np.array([x - reach, y - reach, x + reach, y + reach])


def parsed_mask(labels: np.ndarray, mode: Mode, left_cheek: int, right_cheek: int) -> np.ndarray:
    """(512, 512) uint8, 0 or 255: what of a face with (512, 512) ``labels`` is replaced.

    raw: skin and mouth. neck: the neck too. jaw: skin that reaches lower, so that a falling chin has room, but is
    narrower outside ``left_cheek`` and ``right_cheek`` pixels from the middle, without the nose; and the mouth.
    """
    mouth = np.isin(labels, MOUTH)
    if mode != "jaw":
        shown = mouth | (labels == SKIN) | ((labels == NECK) & (mode == "neck"))
        return np.where(shown, 255, 0).astype(np.uint8)
    lower = cv2.dilate((labels == SKIN).astype(np.uint8), _jaw_kernel())
    narrow = cv2.erode(lower, _cheek_kernel(), iterations=2)
    middle = PARSED_SIDE // 2
    left, right = slice(middle - left_cheek + 1), slice(middle + right_cheek, None)
    lower[:, left], lower[:, right] = narrow[:, left], narrow[:, right]
    return np.where((lower > 0) & (labels != NOSE) | mouth, 255, 0).astype(np.uint8)


def blend_mask(
    labels: np.ndarray, box: np.ndarray, mode: Mode, left_cheek: int, right_cheek: int, blur: float = OFFLINE_BLUR
) -> np.ndarray:
    """(S, S) uint8, soft: what of the square around ``box`` (4,) int, with these ``labels``, is replaced.

    Only the box counts, and of the square only its lower half.
    """
    square = square_around(box)
    side = int(square[2] - square[0])
    parsed = Image.fromarray(parsed_mask(labels, mode, left_cheek, right_cheek))
    whole = np.asarray(parsed.resize((side, side), Image.Resampling.BICUBIC))
    mask = np.zeros_like(whole)
    rows, columns = box_in_square(box)
    rows = slice(max(rows.start, side // 2), rows.stop)
    mask[rows, columns] = whole[rows, columns]
    kernel = int(blur * side // 2 * 2) + 1
    return np.asarray(cv2.GaussianBlur(mask, (kernel, kernel), 0), np.uint8)


def box_in_square(box: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of ``box`` (4,) int in the square around it."""
    left, top, right, bottom = (int(side) for side in box)
    x, y = (int(side) for side in square_around(box)[:2])
    return slice(top - y, bottom - y), slice(left - x, right - x)


def square_picture(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(S, S, 3): the square around ``box`` (4,) int of ``picture`` (H, W, 3), black outside of it."""
    left, top, right, bottom = (int(side) for side in square_around(box))
    seen = np.zeros((bottom - top, right - left, 3), np.uint8)
    part = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    down, over = max(-top, 0), max(-left, 0)
    seen[down : down + part.shape[0], over : over + part.shape[1]] = part
    return seen


@cache
def _jaw_kernel() -> np.ndarray:
    """(33, 33): a cone on a stem of its width; dilation with it lets a face grow downwards and a little sideways."""
    kernel = np.zeros((33, 33), np.uint8)
    for row in range(10, 33):
        reach = min(row - 10, 10)
        kernel[row, 16 - reach : 17 + reach] = 1
    return kernel


@cache
def _cheek_kernel() -> np.ndarray:
    """(3, 35): a flat ellipse."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), np.uint8)
