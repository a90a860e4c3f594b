"""A small talking clip made from nothing: a drawn face whose lips move with vowel-like sounds.

The face is drawn well enough for the studio's own tracker, so that every way through the studio can be
tested on a machine without real footage.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from modules import media
from modules.progress import Progress

WIDTH, HEIGHT = 480, 640
SOUND_RATE = 24000
MOUTH_LEVELS = 24  # a drawn head is kept for each
SYLLABLE_SECONDS = 0.24
PAUSE_EVERY, PAUSE_SYLLABLES = 12, 3
# First and second formant in Hz and how far the mouth opens (1: all the way), of "a", "e", "o", "i", "u".
VOWELS = ((780, 1250, 1.0), (520, 1850, 0.6), (480, 860, 0.55), (300, 2250, 0.3), (320, 750, 0.25))
SKIN, LIPS, HAIR = (142, 170, 218), (92, 92, 176), (34, 42, 58)


@dataclass(frozen=True)
class Pose:
    """Where the face is: centre in pixels, lean in degrees, mouth opening 0 to 1, eyes open 0 to 1."""

    x: float = WIDTH / 2
    y: float = 300.0
    lean: float = 0.0
    mouth: float = 0.0
    eyes: float = 1.0


def speech(seconds: float, seed: int = 0, rate: int = SOUND_RATE) -> tuple[np.ndarray, np.ndarray]:
    """Vowel-like sound (float32 mono) and the mouth opening (0 to 1) of each video frame of it."""
    random = np.random.default_rng(seed)
    count = round(seconds * rate)
    time = np.arange(count) / rate
    opening, first, second = np.zeros(count), np.full(count, 500.0), np.full(count, 1500.0)
    for number, start in enumerate(np.arange(0, seconds, SYLLABLE_SECONDS)):
        if number % PAUSE_EVERY >= PAUSE_EVERY - PAUSE_SYLLABLES:
            continue
        low, high, open_share = VOWELS[random.integers(len(VOWELS))]
        here = (time >= start) & (time < start + SYLLABLE_SECONDS)
        opening[here] = open_share * np.sin(np.pi * (time[here] - start) / SYLLABLE_SECONDS) ** 0.7
        first[here], second[here] = low, high
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * time)
    voice = np.zeros(count)
    for harmonic in range(1, 30):
        tone = harmonic * pitch
        strength = np.exp(-(((tone - first) / 120) ** 2)) + 0.5 * np.exp(-(((tone - second) / 160) ** 2)) + 0.03
        voice += strength / np.sqrt(harmonic) * np.sin(2 * np.pi * np.cumsum(tone) / rate)
    sound = 0.12 * voice * np.sqrt(opening) + 0.0005 * random.standard_normal(count)
    middles = (np.arange(int(seconds * media.FRAME_RATE)) + 0.5) / media.FRAME_RATE
    return sound.astype(np.float32), opening[np.minimum((middles * rate).astype(int), count - 1)]


def draw_face(pose: Pose, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 BGR picture of a person."""
    picture = _background(width, height)
    _shoulders(picture, pose)
    face = _head(round(pose.mouth * MOUTH_LEVELS) / MOUTH_LEVELS, pose.eyes)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, 300), pose.lean, 1.0)
    turn[:, 2] += (pose.x - WIDTH / 2, pose.y - 300)
    color = cv2.warpAffine(face[..., :3], turn, (width, height), flags=cv2.INTER_LINEAR)
    share = cv2.warpAffine(face[..., 3], turn, (width, height), flags=cv2.INTER_LINEAR)[..., None] / 255.0
    picture = picture * (1 - share) + color * share
    grain = np.random.default_rng(seed).normal(0, 2.0, (height, width, 1))
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _background(width: int, height: int) -> np.ndarray:
    down = np.linspace(0, 1, height)[:, None, None]
    return np.broadcast_to(np.array([150.0, 140.0, 128.0]) * (1.1 - 0.3 * down), (height, width, 3)).copy()


def _shoulders(picture: np.ndarray, pose: Pose) -> None:
    x = round(pose.x)
    cv2.ellipse(picture, (x, 640), (210, 130), 0, 0, 360, (92, 70, 52), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (x - 48, 400), (x + 48, 540), (118, 146, 194), -1)
    cv2.ellipse(picture, (x, 540), (48, 22), 0, 0, 360, (118, 146, 194), -1, cv2.LINE_AA)


@cache
def _head(mouth: float, eyes: float) -> np.ndarray:
    """(HEIGHT, WIDTH, 4) float32 BGR and coverage of an upright head in the middle."""
    drop = 26 * mouth  # how far the jaw is down
    color = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    cover = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(cover, (240, 262), (128, 150), 0, 0, 360, 255, -1, cv2.LINE_AA)
    color[:] = HAIR
    outline = _outline(drop)
    cv2.fillPoly(cover, [outline], 255, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.ellipse(cover, (240 + side * 116, 300), (14, 30), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(color, (240 + side * 116, 300), (14, 30), 0, 0, 360, _tone(0.88), -1, cv2.LINE_AA)
    skin = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(skin, [outline], 255, cv2.LINE_AA)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = 1.06 - 0.32 * np.abs((x - 236) / 118) ** 2.2 - 0.0007 * np.maximum(y - 330, 0)
    share = (skin.astype(np.float32) / 255)[..., None]
    color[:] = color * (1 - share) + np.array(SKIN, np.float32) * light[..., None] * share
    _eyes(color, eyes)
    _nose(color)
    _mouth(color, mouth, drop)
    soft = cv2.GaussianBlur(color, (0, 0), 0.9)
    return np.dstack([soft, cv2.GaussianBlur(cover, (0, 0), 1.0).astype(np.float32)])


def _tone(light: float) -> tuple[float, float, float]:
    return (SKIN[0] * light, SKIN[1] * light, SKIN[2] * light)


def _outline(drop: float) -> np.ndarray:
    """The skin's outline: forehead, cheeks and a jaw that is ``drop`` pixels down."""
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    x, y = 112 * np.sin(angle), -np.cos(angle)
    narrow = np.where(y > 0, 1 - 0.22 * y**2, 1 - 0.06 * y**2)
    tall = np.where(y > 0, (140 + drop) * y, 118 * y)
    return np.stack([240 + x * narrow, 300 + tall], 1).round().astype(np.int32)


def _shade(color: np.ndarray, center: tuple[int, int], size: tuple[int, int], light: float, blur: float) -> None:
    """Darken (light < 1) or brighten a soft ellipse."""
    mask = np.zeros(color.shape[:2], np.float32)
    cv2.ellipse(mask, center, size, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), blur)[..., None]
    color *= 1 + (light - 1) * mask


def _eyes(color: np.ndarray, open_share: float) -> None:
    for side in (-1, 1):
        x, y = 240 + side * 48, 278
        _shade(color, (x, y - 4), (34, 20), 0.84, 7)
        lid = max(1, round(11 * open_share))
        cv2.ellipse(color, (x, y), (23, lid), 0, 0, 360, (222, 226, 230), -1, cv2.LINE_AA)
        inside = np.zeros(color.shape[:2], np.uint8)
        cv2.ellipse(inside, (x, y), (23, lid), 0, 0, 360, 255, -1)
        iris = color.copy()
        cv2.circle(iris, (x, y), 11, (52, 70, 92), -1, cv2.LINE_AA)
        cv2.circle(iris, (x, y), 5, (14, 14, 18), -1, cv2.LINE_AA)
        cv2.circle(iris, (x - 3, y - 4), 2, (250, 250, 250), -1, cv2.LINE_AA)
        color[inside > 0] = iris[inside > 0]
        cv2.ellipse(color, (x, y), (24, lid), 0, 185, 355, (38, 40, 52), 3, cv2.LINE_AA)
        cv2.ellipse(color, (x, y), (23, lid), 0, 10, 170, (98, 112, 150), 1, cv2.LINE_AA)
        cv2.ellipse(color, (x, y - 2), (28, 17), 0, 200, 340, (104, 124, 166), 2, cv2.LINE_AA)
        cv2.ellipse(color, (x + side * 3, y - 24), (34, 9), side * 4, 190, 350, (40, 48, 66), 8, cv2.LINE_AA)


def _nose(color: np.ndarray) -> None:
    _shade(color, (240, 300), (7, 34), 1.10, 5)
    _shade(color, (256, 318), (6, 26), 0.90, 5)
    _shade(color, (224, 318), (6, 26), 0.93, 5)
    _shade(color, (240, 334), (14, 10), 1.10, 5)
    _shade(color, (240, 350), (24, 6), 0.78, 4)
    for side in (-1, 1):
        cv2.ellipse(color, (240 + side * 11, 344), (6, 4), side * 20, 0, 360, (58, 66, 96), -1, cv2.LINE_AA)
        start = -60 if side > 0 else 120
        cv2.ellipse(color, (240 + side * 20, 338), (8, 11), 0, start, start + 120, (104, 124, 168), 2)


def _mouth(color: np.ndarray, opening: float, drop: float) -> None:
    y, half = 384, 40 - 4 * opening
    steps = np.linspace(-1, 1, 41)
    x = 240 + half * steps
    bow = 1 - steps**2
    upper_out = y - 11 * bow**0.7 + 3 * np.exp(-((steps / 0.12) ** 2)) - 3 * opening * bow
    upper_in = y - 2 * bow - 5 * opening * bow
    lower_in = y - 1 * bow + (drop * 0.9) * bow
    lower_out = y + 14 * bow**0.8 + drop * bow**0.8

    def fill(top: np.ndarray, bottom: np.ndarray, tone: tuple[float, float, float]) -> None:
        ring = np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])
        cv2.fillPoly(color, [np.round(ring * 16).astype(np.int32)], tone, cv2.LINE_AA, 4)

    fill(upper_out, lower_out, LIPS)
    fill(upper_out, upper_in, (LIPS[0] * 0.9, LIPS[1] * 0.9, LIPS[2] * 0.92))
    if opening > 0.05:
        fill(upper_in, lower_in, (30, 24, 52))
        fill(upper_in, np.minimum(upper_in + 8 * bow, lower_in), (206, 214, 220))
    else:
        middle = np.stack([x, (upper_in + lower_in) / 2], 1)
        cv2.polylines(color, [np.round(middle * 16).astype(np.int32)], False, (50, 46, 96), 2, cv2.LINE_AA, 4)
    _shade(color, (240, round(y + 24 + drop)), (26, 5), 0.88, 4)


def write_talking_clip(path: Path, seconds: float = 8.0, seed: int = 0) -> Path:
    """Write an MP4 with sound of a drawn person who talks and moves a little."""
    sound, mouth = speech(seconds, seed)
    work = path.with_name(path.name + ".parts")
    work.mkdir(parents=True, exist_ok=True)
    color = media.ColorTags()
    with media.VideoWriter(work / "picture.mp4", WIDTH, HEIGHT, color, crf=16) as writer:
        for number, opening in enumerate(mouth):
            second = number / media.FRAME_RATE
            pose = Pose(
                x=WIDTH / 2 + 6 * np.sin(second * 1.3),
                y=300 + 3 * np.sin(second * 1.9),
                lean=3 * np.sin(second * 0.9),
                mouth=float(opening),
                eyes=0.1 if number % 80 in (40, 41, 42) else 1.0,
            )
            writer.write(media.to_i420(draw_face(pose, seed=number)))
    media.write_wav(work / "sound.wav", sound, SOUND_RATE)
    media.join([work / "picture.mp4"], work / "sound.wav", path, {}, Progress())
    shutil.rmtree(work)
    return path
