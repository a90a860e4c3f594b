"""What a piece of footage is: its size, length and timing, found out from the data itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from modules.errors import StudioError
from modules.media import photo
from modules.media.container import audio_stream, check_file, demuxed, opened, video_stream
from modules.media.frames import I420, LIMITED_RANGE, from_video_frame, turn

FRAME_RATE = 25

BT601_MATRIX, BT709_PRIMARIES, SRGB_TRANSFER = 6, 1, 13  # numbers of ITU-T H.273
_UNSPECIFIED = 2


@dataclass(frozen=True)
class ColorTags:
    """What the numbers of a picture mean, as ITU-T H.273 code points; None: the source does not say."""

    primaries: int | None = None
    transfer: int | None = None
    matrix: int | None = None
    range: int | None = LIMITED_RANGE


PHOTO_COLOR = ColorTags(BT709_PRIMARIES, SRGB_TRANSFER, BT601_MATRIX)


@dataclass(frozen=True)
class Footage:
    """A video or photo of a person. Sizes are those of the upright picture, in pixels, even."""

    path: Path
    kind: Literal["video", "photo"]
    width: int
    height: int
    frame_count: int
    duration: float
    source_rate: float
    has_sound: bool
    color: ColorTags


@dataclass(frozen=True)
class Timeline:
    """When pictures are shown, in seconds of the container's clock."""

    start: float
    duration: float
    rate: float


@dataclass(frozen=True)
class Shape:
    """How a coded frame becomes an upright picture: size before turning, then the turn."""

    width: int
    height: int
    degrees: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height after turning."""
        return (self.height, self.width) if self.degrees % 180 else (self.width, self.height)


def probe(path: Path, *, max_seconds: float | None = None, max_side: int | None = None) -> Footage:
    """Look at an uploaded file and say what it is; StudioError where it cannot be used.

    max_seconds: longest video let in; max_side: longest side of a video in pixels.
    """
    check_file(path)
    if photo.is_other_photo(path):
        raise StudioError("media_photo_format", name=path.name)
    if photo.is_photo(path):
        width, height = photo.photo_size(path)
        photo.read_photo(path, width, height)
        return Footage(path, "photo", width, height, 1, 1 / FRAME_RATE, float(FRAME_RATE), False, PHOTO_COLOR)
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise StudioError("media_no_picture", name=path.name)
        _check_side(path, stream.width, stream.height, max_side)
        _check_length(path, (container.duration or 0) / av.time_base, max_seconds)
        frame = next(decoded(container, stream), None)
        if frame is None:
            raise StudioError("media_unreadable", name=path.name)
        _check_side(path, frame.width, frame.height, max_side)
        shape, color = shape_of(frame, stream), _color_of(frame)
        upright(path, frame, shape)
        has_sound = audio_stream(container) is not None
    times = timeline(path)
    _check_length(path, times.duration, max_seconds)
    width, height = shape.upright
    count = max(1, round(times.duration * FRAME_RATE))
    return Footage(path, "video", width, height, count, count / FRAME_RATE, times.rate, has_sound, color)


def timeline(path: Path) -> Timeline:
    """When the first picture is shown, for how long there are pictures, and how many a second."""
    status = path.stat()
    return _timeline(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _timeline(path: Path, _size: int, _changed: int) -> Timeline:
    """Headers can lie and a cut file is shorter than its header says: the packets are counted."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise StudioError("media_no_picture", name=path.name)
        shown = sorted(_shown_packets(container, stream))
    if not shown:
        raise StudioError("media_unreadable", name=path.name)
    base = stream.time_base or Fraction(1, FRAME_RATE)
    gaps = sorted(later[0] - earlier[0] for earlier, later in pairwise(shown))
    usual_gap = gaps[len(gaps) // 2] if gaps else 0
    first, last = shown[0][0], shown[-1][0]
    length = float((last + (shown[-1][1] or usual_gap or 1) - first) * base)
    return Timeline(float(first * base), length, len(shown) / length if length else float(FRAME_RATE))


def _shown_packets(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, int]]:
    """Time and duration, in the stream's time base, of each packet that gives a picture."""
    first_key: int | None = None
    for packet in demuxed(container, stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None:
            continue
        if first_key is None and packet.is_keyframe:
            first_key = time
        # Pictures before the first whole one cannot be decoded; edit lists mark others as unseen.
        starts_later = first_key is None or time < first_key
        if not starts_later and not packet.is_discard:
            yield time, packet.duration or 0


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Frames in display order; packets that cannot be decoded are left out."""
    for packet in demuxed(container, stream):
        try:
            yield from packet.decode()
        except (av.FFmpegError, EOFError):
            continue


def shape_of(frame: av.VideoFrame, stream: VideoStream) -> Shape:
    """How frames of this stream become upright pictures of even size with square pixels."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = frame.width if aspect <= 0 else round(frame.width * aspect)
    return Shape(width // 2 * 2, frame.height // 2 * 2, frame.rotation % 360)


def upright(path: Path, frame: av.VideoFrame, shape: Shape) -> I420:
    """A decoded frame of the file at ``path`` as the picture that people see."""
    try:
        return turn(from_video_frame(frame, shape.width, shape.height), shape.degrees)
    except av.FFmpegError as error:  # damaged colour or format tags
        raise StudioError("media_unreadable", name=path.name) from error


def _color_of(frame: av.VideoFrame) -> ColorTags:
    def known(value: int) -> int | None:
        return None if value in (0, _UNSPECIFIED) else int(value)

    matrix = BT601_MATRIX if frame.format.is_rgb else known(frame.colorspace)
    return ColorTags(known(frame.color_primaries), known(frame.color_trc), matrix)


def _check_side(path: Path, width: int, height: int, limit: int | None) -> None:
    if not width or not height:
        raise StudioError("media_unreadable", name=path.name)
    if limit is not None and max(width, height) > limit:
        raise StudioError("media_too_large", name=path.name, width=width, height=height)
    if min(width, height) < 2:
        raise StudioError("media_no_picture", name=path.name)


def _check_length(path: Path, seconds: float, limit: float | None) -> None:
    if limit is not None and seconds > limit:
        raise StudioError("media_too_long", name=path.name, seconds=math.ceil(seconds), limit=round(limit))
