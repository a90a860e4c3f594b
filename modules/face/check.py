"""Looking at a footage before anything is made of it: who is in it, and what is good or bad about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from modules import media
from modules.errors import StudioError
from modules.face.detect import FaceDetector, overlap
from modules.face.geometry import eye_distance
from modules.face.mesh import FaceMesh, region_of_detection
from modules.face.track import MIN_SCORE, FrameState, Person, Track, frame_state
from modules.progress import Progress

SAMPLE_STEP = media.FRAME_RATE // 2
MAX_SAMPLES = 60
# Someone seen for less than this share of the time is not offered as a person.
MIN_SHARE = 0.1
PICTURE_MARGIN = 0.5
GOOD_SECONDS, FAIR_SECONDS, POOR_SECONDS, LEAST_SECONDS = 30.0, 15.0, 10.0, 5.0
GOOD_EYE_DISTANCE = 90.0
LEAST_USABLE = 0.8
# Loudness in dB of the loud parts: softer is hard to hear; and the sample level that counts as clipped.
SOFT_SPEECH = -38.0
CLIPPED, CLIPPED_SHARE = 0.995, 0.001
BLOCK_SECONDS = 0.02
MIN_SPEECH_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know; ``key`` is an i18n key, ``values`` its placeholders."""

    level: Literal["error", "warning", "good"]
    key: str
    values: dict[str, str | int | float]


@dataclass(frozen=True)
class FootageReport:
    """What a footage is like.

    seconds: the commonest FrameState of each second, by lower-case name. face_px: median distance of the outer
    eye corners in pixels. has_speech: seconds of sound loud enough for speech.
    """

    seconds: tuple[str, ...]
    people: int
    width: int
    height: int
    duration: float
    face_px: float
    has_speech: float
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def find_people(footage: media.Footage, progress: Progress) -> list[Person]:
    """The people in a footage, the one seen most first; looks about twice a second."""
    detector, mesh = FaceDetector(), FaceMesh()
    people: list[Person] = []
    boxes: list[tuple[float, float, float, float]] = []
    seen: list[set[int]] = []
    samples = 0
    for picture in _samples(footage, progress):
        samples += 1
        for detection in detector.detect_all(picture):
            if mesh.points(picture, region_of_detection(detection))[1] < MIN_SCORE:
                continue
            known = _same(detection.box, boxes)
            if known is None:
                people.append(Person(len(people), detection.box, 0.0, _portrait(picture, detection.box)))
                boxes.append(detection.box)
                seen.append({samples})
            else:
                boxes[known] = detection.box
                seen[known].add(samples)
    shares = [len(when) / samples for when in seen]
    found = [replace(person, share=share) for person, share in zip(people, shares, strict=True) if share >= MIN_SHARE]
    order = sorted(found, key=lambda person: (-round(person.share, 1), -_side(person.box)))
    return [replace(person, id=number) for number, person in enumerate(order)]


def check_footage(
    footage: media.Footage, track: Track, sound: np.ndarray | None, people: Sequence[Person]
) -> FootageReport:
    """What is good and bad about a tracked footage; ``sound`` is 16 kHz mono or None."""
    states = _states(track, footage)
    speech = 0.0 if sound is None else speech_seconds(sound, 16000)
    seen = track.landmarks[states != FrameState.NO_FACE]
    face = float(np.median(eye_distance(seen))) if len(seen) else 0.0
    findings = list(_findings(footage, states, face, sound, speech, len(people)))
    return FootageReport(
        seconds=tuple(_by_second(states)),
        people=len(people),
        width=footage.width,
        height=footage.height,
        duration=footage.duration,
        face_px=face,
        has_speech=speech,
        findings=tuple(findings),
    )


def require_usable(footage: media.Footage, track: Track, least_seconds: float) -> None:
    """StudioError where no avatar can be made: footage or its usable part too short, or no face in it."""
    if not (track.score > 0).any():
        raise StudioError("no_face")
    if not track.usable.any():
        raise StudioError("face_unusable")
    usable = float(track.usable.sum()) / media.FRAME_RATE
    if footage.kind == "video" and usable < least_seconds:
        raise StudioError("footage_too_short", seconds=round(usable, 1), minimum=least_seconds)


def speech_seconds(sound: np.ndarray, rate: int) -> float:
    """Seconds of ``sound`` that are loud enough against its own noise to be speech."""
    levels = _levels(sound, rate)
    if not len(levels):
        return 0.0
    noise, loud = np.quantile(levels, [0.05, 0.95])
    gate = max(loud - 30, noise + 0.3 * (loud - noise) if loud - noise > 12 else loud - 30, -55.0)
    return float((levels > gate).sum() * BLOCK_SECONDS)


def _samples(footage: media.Footage, progress: Progress) -> Iterator[np.ndarray]:
    """Pictures about twice a second, MAX_SAMPLES at most, as BGR."""
    step = max(SAMPLE_STEP, -(-footage.frame_count // MAX_SAMPLES))
    wanted = range(0, footage.frame_count, step)
    for number, frame in enumerate(media.read_order(footage, wanted)):
        progress.at(number / len(wanted))
        yield media.to_bgr(frame)
    progress.at(1.0)


def _same(box: tuple[float, float, float, float], known: Sequence[tuple[float, float, float, float]]) -> int | None:
    """Which known box shows the same person: the nearest one within its own size."""
    if not known:
        return None
    boxes, here = np.array(known), np.array(box)
    distance = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - here[:2] - here[2:]) / 2, axis=1)
    reach = 1.2 * np.maximum(boxes[:, 2:] - boxes[:, :2], here[2:] - here[:2]).max(1)
    near = distance - 1000 * (overlap(here, boxes) > 0)
    best = int(near.argmin())
    return best if distance[best] <= reach[best] else None


def _side(box: tuple[float, float, float, float]) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _portrait(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """A square piece of the picture round a face, smaller where the picture ends."""
    height, width = picture.shape[:2]
    reach = _side(box) * (0.5 + PICTURE_MARGIN)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - 0.1 * _side(box)
    left, right = max(0, int(x - reach)), min(width, int(x + reach))
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach))
    return picture[top:bottom, left:right].copy()


def _states(track: Track, footage: media.Footage) -> np.ndarray:
    """(N,) FrameState of each frame."""
    pairs = zip(track.landmarks, track.pose, strict=True)
    return np.array([frame_state(points, pose, footage.width, footage.height) for points, pose in pairs], int)


def _by_second(states: np.ndarray) -> Iterator[str]:
    for start in range(0, len(states), media.FRAME_RATE):
        yield _commonest(states[start : start + media.FRAME_RATE])


def _commonest(states: np.ndarray) -> str:
    """The name of the FrameState that most of ``states`` (N,) are."""
    return FrameState(int(np.bincount(states).argmax())).name.lower()


def _findings(
    footage: media.Footage, states: np.ndarray, face: float, sound: np.ndarray | None, speech: float, people: int
) -> Iterator[Finding]:
    usable = states == FrameState.GOOD
    if people > 1:
        yield Finding("warning", "check.several_people", {"count": people})
    if not usable.any():
        yield Finding("error", f"check.never_good.{_commonest(states)}", {})
        return
    if face < GOOD_EYE_DISTANCE:
        yield Finding("warning", "check.face_small", {"pixels": round(face)})
    else:
        yield Finding("good", "check.face_size", {"pixels": round(face)})
    if footage.kind == "photo":
        yield Finding("warning", "check.photo", {})
        return
    yield _length(float(usable.sum()) / media.FRAME_RATE)
    if usable.mean() < LEAST_USABLE:
        share = round(100 * float(1 - usable.mean()))
        yield Finding("warning", f"check.often_bad.{_commonest(states[~usable])}", {"percent": share})
    yield _sound(sound, speech)


def _length(seconds: float) -> Finding:
    values: dict[str, str | int | float] = {"seconds": round(seconds, 1)}
    if seconds < LEAST_SECONDS:
        return Finding("error", "check.too_short", values)
    if seconds < POOR_SECONDS:
        return Finding("warning", "check.short", values)
    if seconds < FAIR_SECONDS:
        return Finding("warning", "check.rather_short", values)
    return Finding("good", "check.length_good" if seconds >= GOOD_SECONDS else "check.length_fair", values)


def _sound(sound: np.ndarray | None, speech: float) -> Finding:
    if sound is None or not len(sound) or speech == 0:
        return Finding("warning", "check.no_sound", {})
    if speech < MIN_SPEECH_SECONDS:
        return Finding("warning", "check.little_speech", {"seconds": round(speech, 1)})
    if np.quantile(_levels(sound, 16000), 0.95) < SOFT_SPEECH:
        return Finding("warning", "check.sound_soft", {})
    if (np.abs(sound) > CLIPPED).mean() > CLIPPED_SHARE:
        return Finding("warning", "check.sound_clipped", {})
    return Finding("good", "check.sound_good", {"seconds": round(speech, 1)})


def _levels(sound: np.ndarray, rate: int) -> np.ndarray:
    """Loudness in dB of each 20 ms."""
    block = int(BLOCK_SECONDS * rate)
    whole = sound[: len(sound) // block * block].reshape(-1, block).astype(np.float64)
    return np.asarray(10 * np.log10((whole**2).mean(1) + 1e-10))
