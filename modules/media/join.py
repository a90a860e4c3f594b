"""Joining finished video segments and one sound into an MP4, without encoding pictures again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av import AudioFrame, Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from modules.errors import StudioError
from modules.media.encode import TICK, disk_errors, partial
from modules.media.footage import FRAME_RATE
from modules.media.sound import Samples
from modules.progress import Progress

SOUND_RATE = 48_000
SOUND_BITS = 128_000
_PER_FRAME = SOUND_RATE // FRAME_RATE


def join(segments: Sequence[Path], sound: Path, output: Path, metadata: Mapping[str, str], progress: Progress) -> None:
    """Write ``output``: all pictures of ``segments`` in order (by packet copy) with the WAV ``sound`` (AAC).

    The sound is cut or filled with silence to the length of the pictures. ``metadata`` keys of
    any name are kept. The file appears whole or not at all.
    """
    part = partial(output)
    measures = [_measure(segment) for segment in segments]
    total, delay = sum(count for count, _ in measures), max(delay for _, delay in measures)
    try:
        with (
            disk_errors(output),
            av.open(str(segments[0].resolve())) as first,
            av.open(
                str(part.resolve()), mode="w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}
            ) as target,
        ):
            target.metadata.update(metadata)
            pictures = target.add_stream_from_template(first.streams.video[0])
            voice = target.add_stream("aac", rate=SOUND_RATE, layout="mono")
            voice.bit_rate = SOUND_BITS
            blocks = _sound_blocks(sound, total)
            for count, packet in enumerate(_copied(segments, pictures, delay), start=1):
                target.mux(packet)
                _encode(target, voice, next(blocks), count - 1)
                if count % FRAME_RATE == 0:
                    progress.at(count / total)
            target.mux(voice.encode(None))
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    progress.at(1.0)


def _measure(segment: Path) -> tuple[int, int]:
    """How many pictures a segment of ours holds, and by how many decoding runs ahead of showing."""
    try:
        with av.open(str(segment.resolve())) as container:
            stream = container.streams.video[0]
            first = next(packet for packet in container.demux(stream) if packet.dts is not None)
            return int(stream.frames), -round((first.dts or 0) * first.time_base / TICK)
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise StudioError("media_unreadable", name=segment.name) from error


def _copied(segments: Sequence[Path], pictures: VideoStream, delay: int) -> Iterator[Packet[VideoStream]]:
    """Packets of all segments on one clock of 1/25 s.

    Show times are each segment's own, moved by the pictures before it. Decode times simply count
    up from ``-delay``, the largest delay of any segment (very short ones have a smaller one), so
    they always rise and never pass the show time.
    """
    decode, offset = -delay, 0
    header: bytes | None = None
    for segment in segments:
        with av.open(str(segment.resolve())) as source:
            stream = source.streams.video[0]
            own_header = stream.codec_context.extradata
            header = own_header if header is None else header
            if own_header != header:
                raise ValueError(f"{segment.name} was encoded with other settings than the first segment")
            for packet in source.demux(stream):
                if packet.pts is None:
                    continue
                packet.pts = round(packet.pts * packet.time_base / TICK) + offset
                packet.dts = decode
                packet.duration = 1
                packet.time_base = TICK
                packet.stream = pictures
                decode += 1
                yield packet
        offset = decode + delay


def _sound_blocks(sound: Path, pictures: int) -> Iterator[Samples]:
    """The sound at 48 kHz, mono, in blocks of exactly one picture each, ``pictures`` of them."""
    held = np.zeros(0, np.float32)
    source = _resampled(sound)
    for _ in range(pictures):
        while len(held) < _PER_FRAME:
            more = next(source, None)
            if more is None:
                held = np.concatenate([held, np.zeros(_PER_FRAME - len(held), np.float32)])
            else:
                held = np.concatenate([held, more])
        yield held[:_PER_FRAME]
        held = held[_PER_FRAME:]


def _resampled(sound: Path) -> Iterator[Samples]:
    with soundfile.SoundFile(sound) as file:
        change = soxr.ResampleStream(file.samplerate, SOUND_RATE, 1, dtype="float32")
        for block in file.blocks(blocksize=file.samplerate, dtype="float32", always_2d=True):
            yield change.resample_chunk(np.ascontiguousarray(block.mean(axis=1, dtype=np.float32)))
        yield change.resample_chunk(np.zeros(0, np.float32), last=True)


def _encode(target: OutputContainer, voice: AudioStream, block: Samples, index: int) -> None:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block)[None, :], format="fltp", layout="mono")
    frame.sample_rate = SOUND_RATE
    frame.pts = index * _PER_FRAME
    frame.time_base = voice.time_base
    target.mux(voice.encode(frame))
