"""Videos and pictures as the world makes them: turned, uneven, cut off, or no video at all.

Each picture of a clip carries its own time as a grey level (``level_at``), so that a test can read
back which moment it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from modules import media

SOUND_RATE = 48_000
_TICKS = 90_000


def level_at(seconds: float) -> int:
    """The grey level (16 to 235) of the picture shown at this time."""
    return 30 + round(seconds * 66) % 200


def write_clip(
    path: Path,
    times: Sequence[float],
    *,
    width: int = 64,
    height: int = 48,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    full_range: bool = False,
    rotation: float = 0,
    aspect: Fraction | None = None,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    layout: str = "mono",
    container: str = "mp4",
    bright_corner: bool = False,
) -> Path:
    """A clip with a picture at each of ``times`` (s, rising) and, if given, float32 ``sound`` at 48 kHz."""
    with av.open(str(path), "w", format=container) as target:
        video = target.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.time_base = video.codec_context.time_base = Fraction(1, _TICKS)
        video.codec_context.gop_size = 12
        if full_range:
            video.codec_context.color_range = 2
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio = None
        if sound is not None:
            audio = target.add_stream("libopus" if container == "webm" else "aac", rate=SOUND_RATE, layout=layout)
        for time in times:
            grey = np.full((height, width, 3), level_at(time), np.uint8)
            if bright_corner:
                grey[: height // 4, : width // 4] = 255
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if audio is not None and sound is not None:
            channels = 2 if layout == "stereo" else 1
            for first in range(0, len(sound), 960):
                block = np.tile(sound[first : first + 960].astype(np.float32), (channels, 1))
                voice = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                voice.sample_rate, voice.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
                voice.pts = first + round(sound_start * SOUND_RATE)
                target.mux(audio.encode(voice))
            target.mux(audio.encode(None))
    return path


def steady(rate: float, seconds: float) -> list[float]:
    """Picture times of a constant rate."""
    return [index / rate for index in range(round(rate * seconds))]


def clicks(seconds: float, every: float = 0.5) -> np.ndarray:
    """Silence with a short burst at 0.1 s and then each ``every`` s, at 48 kHz."""
    sound = np.zeros(round(seconds * SOUND_RATE), np.float32)
    burst = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(480) / SOUND_RATE).astype(np.float32)
    for start in np.arange(0.1, seconds - 0.05, every):
        first = round(start * SOUND_RATE)
        sound[first : first + 480] = burst
    return sound


def onsets(sound: np.ndarray, rate: int) -> list[float]:
    """Times (s) at which bursts begin."""
    loud = np.abs(sound) > 0.3
    where = np.flatnonzero(loud)
    if not len(where):
        return []
    firsts = where[np.concatenate([[True], np.diff(where) > 0.1 * rate])]
    return [float(first) / rate for first in firsts]


def truncated(source: Path, target: Path, share: float) -> Path:
    """The first ``share`` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def faststart(source: Path, target: Path) -> Path:
    """The same MP4 with its header in front, as phones' upload tools make it."""
    with av.open(str(source)) as given, av.open(str(target), "w", options={"movflags": "+faststart"}) as made:
        streams = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    return target


def write_photo(path: Path, size: tuple[int, int], *, orientation: int = 1, kind: str = "JPEG") -> Path:
    """A photo, black but for its white top left quarter (before the EXIF ``orientation`` is applied)."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, format=kind, exif=exif.tobytes())
    return path


def shortened(source: Path, target: Path, seconds: float) -> Path:
    """The first ``seconds`` of a clip, picture and sound."""
    return _again(source, target, seconds=seconds)


def muted(source: Path, target: Path) -> Path:
    """A clip without its sound."""
    return _again(source, target, sound=False)


def side_by_side(source: Path, target: Path) -> Path:
    """A clip with its picture twice, left and right."""
    return _again(source, target, copies=2)


def timed(source: Path, target: Path, rate: Fraction) -> Path:
    """A clip with so many pictures a second, each the one that the source shows at its time."""
    return _again(source, target, rate=rate)


def turned(source: Path, target: Path) -> Path:
    """A clip as a phone held upright writes it: lying on its side, with a note of how to turn it."""
    return _again(source, target, quarters=1)


def deserted(source: Path, target: Path, start: float, stop: float) -> Path:
    """A clip whose person is gone between two times (s): nothing but a wall is seen."""
    return _again(source, target, gone=(start, stop))


def small(source: Path, target: Path, seconds: float, share: int) -> Path:
    """The first ``seconds`` of a clip, its sides divided by ``share``."""
    return _again(source, target, seconds=seconds, share=share)


def _again(
    source: Path,
    target: Path,
    *,
    seconds: float = 1e9,
    sound: bool = True,
    copies: int = 1,
    share: int = 1,
    rate: Fraction = Fraction(media.FRAME_RATE),
    quarters: int = 0,
    gone: tuple[float, float] = (0.0, 0.0),
) -> Path:
    footage = media.probe(source)
    length = min(seconds, footage.frame_count / media.FRAME_RATE)
    heard = media.read_sound(source, SOUND_RATE, duration=length) if sound else None
    with av.open(str(target), "w", format="mp4") as made:
        video = made.add_stream("libx264", rate=rate)
        video.time_base = video.codec_context.time_base = 1 / rate
        size = footage.width // share * copies, footage.height // share
        video.width, video.height = size[::-1] if quarters % 2 else size
        video.pix_fmt = "yuv420p"
        if quarters:
            # FFmpeg's own angle, counter-clockwise, is the negative of what players show.
            video.set_display_rotation(90.0 * quarters)
        voice = made.add_stream("aac", rate=SOUND_RATE, layout="mono") if heard is not None else None
        pictures, number = media.read_frames(footage), -1
        for count in range(int(length * rate)):
            time = count / float(rate)
            wanted = min(int(time * media.FRAME_RATE + 1e-6), footage.frame_count - 1)
            while number < wanted:
                picture, number = next(pictures), number + 1
            scaled = cv2.resize(media.to_bgr(picture), (footage.width // share, footage.height // share))
            wide = np.tile(scaled, (1, copies, 1))
            if gone[0] <= time < gone[1]:
                wide[:] = (120, 140, 150)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(wide, -quarters)), format="bgr24")
            frame.pts, frame.time_base = count, 1 / rate
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
        if voice is not None and heard is not None:
            for first in range(0, len(heard), 960):
                block = av.AudioFrame.from_ndarray(heard[None, first : first + 960], format="fltp", layout="mono")
                block.sample_rate, block.time_base, block.pts = SOUND_RATE, Fraction(1, SOUND_RATE), first
                made.mux(voice.encode(block))
            made.mux(voice.encode(None))
    return target
