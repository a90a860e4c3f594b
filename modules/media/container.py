"""Opening files that users bring: by content, never by name, and nothing but that one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from modules.errors import StudioError

Media = TypeVar("Media", VideoStream, AudioStream)

# Playlist formats (hls, concat, dash, ...) can name other files and addresses, so only formats
# that carry their own data are let in.
FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,wav,w64,mp3,flac,aac,aiff,amr,caf"

# Each holds pictures in memory (16 took 90 MB more at 1080x1920), and four decode faster than anybody takes them.
DECODING_THREADS = 4


def check_file(path: Path) -> None:
    """StudioError unless there is a file with something in it."""
    if not path.is_file():
        raise StudioError("media_missing", name=path.name)
    if path.stat().st_size == 0:
        raise StudioError("media_empty", name=path.name)


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The file at ``path`` as a PyAV container; StudioError if it is no media file that we read."""
    check_file(path)
    try:
        container = av.open(
            str(path.resolve()),
            mode="r",
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as error:
        raise StudioError("media_unreadable", name=path.name) from error
    with container:
        yield container


def video_stream(container: InputContainer) -> VideoStream | None:
    """The moving picture of a container, decoded by several cores; cover art does not count."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(DECODING_THREADS, os.cpu_count() or 1)
            return stream
    return None


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The first sound of a container that can be decoded (phones add tracks of formats of their own)."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def demuxed(container: InputContainer, stream: Media) -> Iterator[av.Packet[Media]]:
    """Packets of a stream up to the end or to the place where the file is broken."""
    try:
        yield from container.demux(stream)
    except (av.FFmpegError, EOFError, IndexError):  # IndexError: a stream that the header did not name
        return
