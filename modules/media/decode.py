"""Reading footage as a steady 25 pictures a second, forwards or to and fro, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from modules.errors import StudioError
from modules.media.container import opened, video_stream
from modules.media.footage import FRAME_RATE, Footage, Shape, decoded, shape_of, timeline, upright
from modules.media.frames import I420
from modules.media.photo import read_photo

BUFFER_BYTES = 64_000_000  # most that a backward run holds
NEAR = 2 * FRAME_RATE  # frames; a jump ahead up to this is decoded through rather than sought
_STEPS_BACK = (0.0, 1.0, 5.0)  # seconds; seeking is inexact in some containers


def read_frames(footage: Footage, start: int = 0, stop: int | None = None) -> Iterator[I420]:
    """Pictures ``start`` to ``stop`` (25 a second); each array is the caller's own.

    For each 40 ms the source picture nearest in time is given. Where the end of a broken file
    cannot be decoded, its last good picture is repeated, so there are always ``stop - start``.
    """
    stop = footage.frame_count if stop is None else stop
    if stop <= start:
        return
    if footage.kind == "photo":
        still = read_photo(footage.path, footage.width, footage.height)
        for _ in range(start, stop):
            yield still.copy()
        return
    with opened(footage.path) as container:
        stream = video_stream(container)
        if stream is None:
            raise StudioError("media_no_picture", name=footage.path.name)
        begin = timeline(footage.path).start
        source = _timed_from(container, stream, begin, start / FRAME_RATE)
        shape: Shape | None = None
        for frame in _steady(source, start, stop):
            shape = shape or shape_of(frame, stream)
            yield upright(footage.path, frame, shape)
        if shape is None:
            raise StudioError("media_unreadable", name=footage.path.name)


def read_order(footage: Footage, indices: Sequence[int]) -> Iterator[I420]:
    """Pictures in a running order that goes forwards and backwards, e.g. 0 1 2 3 2 1 0.

    Forward runs stream; backward runs are decoded piece by piece into a buffer of BUFFER_BYTES
    at most. Repeats of one index are free.
    """
    if footage.kind == "photo":
        yield from read_frames(footage, 0, len(indices))
        return
    piece = max(1, BUFFER_BYTES // (footage.width * footage.height * 3 // 2))
    for first, last in _runs(indices):
        wanted = indices[first:last]
        if wanted[0] <= wanted[-1]:
            yield from _forward(footage, wanted)
        else:
            yield from _backward(footage, wanted, piece)


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut a running order into the longest pieces that only rise (by near steps) or only fall."""
    first, direction = 0, 0
    for place, (before, now) in enumerate(pairwise(indices), start=1):
        step = now - before
        heading = (step > 0) - (step < 0)
        turned = heading and direction and heading != direction
        if turned or step > NEAR:
            yield first, place
            first, direction = place, 0
        else:
            direction = direction or heading
    if len(indices):
        yield first, len(indices)


def _forward(footage: Footage, wanted: Sequence[int]) -> Iterator[I420]:
    place = 0
    for index, picture in enumerate(read_frames(footage, wanted[0], wanted[-1] + 1), start=wanted[0]):
        while place < len(wanted) and wanted[place] == index:
            place += 1
            again = place < len(wanted) and wanted[place] == index
            yield picture.copy() if again else picture


def _backward(footage: Footage, wanted: Sequence[int], piece: int) -> Iterator[I420]:
    place = 0
    while place < len(wanted):
        top = wanted[place]
        bottom = max(wanted[-1], top - piece + 1)
        held = list(read_frames(footage, bottom, top + 1))
        while place < len(wanted) and wanted[place] >= bottom:
            # What lies behind is let go at once: at the end of a piece nothing is held while the next is read.
            del held[wanted[place] - bottom + 1 :]
            yield held[-1].copy()
            place += 1
        held.clear()


def _steady(source: Iterator[tuple[float, av.VideoFrame]], start: int, stop: int) -> Iterator[av.VideoFrame]:
    """One source frame for each tick of 1/25 s: the nearest, but never one more than half a tick early."""
    index = start
    shown: tuple[float, av.VideoFrame] | None = None
    for time, frame in source:
        while shown is not None and index < stop:
            tick = index / FRAME_RATE
            early = time - tick
            if early <= 0 or (early < tick - shown[0] and early <= 0.5 / FRAME_RATE):
                break
            yield shown[1]
            index += 1
        if index >= stop:
            return
        shown = (time, frame)
    if shown is not None:
        for _ in range(index, stop):
            yield shown[1]


def _timed_from(
    container: InputContainer, stream: VideoStream, begin: float, seconds: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames with their time after the first picture, from one at or before ``seconds``."""
    if seconds > 0:
        for back in _STEPS_BACK:
            if seconds - back > 0 and _sought(container, stream, begin + seconds - back):
                timed = _timed(container, stream, begin)
                head = next(timed, None)
                if head is not None and head[0] <= seconds:
                    yield head
                    yield from timed
                    return
        _sought(container, stream, begin - 1)
    yield from _timed(container, stream, begin)


def _sought(container: InputContainer, stream: VideoStream, seconds: float) -> bool:
    base = stream.time_base or 1
    try:
        container.seek(int(seconds / base), stream=stream, backward=True)
    except (av.FFmpegError, OverflowError):
        return False
    return True


def _timed(container: InputContainer, stream: VideoStream, begin: float) -> Iterator[tuple[float, av.VideoFrame]]:
    latest = -1.0 / FRAME_RATE
    for frame in decoded(container, stream):
        time = latest + 1.0 / FRAME_RATE if frame.time is None else frame.time - begin
        latest = time
        yield time, frame
