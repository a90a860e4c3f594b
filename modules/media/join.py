"""Joining finished video segments and one sound into an MP4, without encoding pictures again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av import AudioFrame, Packet
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from modules.errors import StudioError
from modules.media.encode import TICK, disk_errors, partial
from modules.media.footage import FRAME_RATE
from modules.media.prefetch import mapped
from modules.media.sound import Samples
from modules.progress import Progress

SOUND_RATE = 48_000
SOUND_BITS = 128_000
_PER_FRAME = SOUND_RATE // FRAME_RATE
# x264 decodes a picture at most so many pictures before it is shown.
DELAY = 2
# Opening a segment takes as long as encoding a second of sound: a few are opened beside it.
OPENED_AHEAD = 2


def join(segments: Sequence[Path], sound: Path, output: Path, metadata: Mapping[str, str], progress: Progress) -> None:
    """Write ``output``: all pictures of ``segments`` in order (by packet copy) with the WAV ``sound`` (AAC).

    The sound is cut or filled with silence to the length of the pictures. ``metadata`` keys of
    any name are kept. The file appears whole or not at all.
    """
    part = partial(output)
    try:
        with (
            disk_errors(output),
            _opened(segments[0]) as first,
            av.open(
                str(part.resolve()), mode="w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}
            ) as target,
        ):
            target.metadata.update(metadata)
            pictures = target.add_stream_from_template(first.streams.video[0])
            voice = target.add_stream("aac", rate=SOUND_RATE, layout="mono")
            voice.bit_rate = SOUND_BITS
            blocks = _sound_blocks(sound)
            count = 0
            for done, packets in enumerate(mapped(_packets, segments, OPENED_AHEAD), start=1):
                for packet in _on_one_clock(packets, count, pictures):
                    target.mux(packet)
                    _encode(target, voice, next(blocks), count)
                    count += 1
                progress.at(done / len(segments))
            target.mux(voice.encode(None))
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    progress.at(1.0)


@dataclass(frozen=True)
class _Packets:
    """All packets of the segment ``name``; header: what a decoder must know first."""

    name: str
    header: bytes | None
    held: list[Packet[VideoStream]]


def _opened(segment: Path) -> InputContainer:
    try:
        return av.open(str(segment.resolve()))
    except av.FFmpegError as error:
        raise StudioError("media_unreadable", name=segment.name) from error


def _packets(segment: Path) -> _Packets:
    with _opened(segment) as source:
        stream = source.streams.video[0]
        held = [packet for packet in source.demux(stream) if packet.pts is not None]
        return _Packets(segment.name, stream.codec_context.extradata, held)


def _on_one_clock(segment: _Packets, before: int, pictures: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a segment on the clock of ``pictures`` in steps of 1/25 s, ``before`` pictures after its start.

    Show times are the segment's own, moved. Decode times simply count up from -DELAY, so they always rise and never
    pass the show time.
    """
    if segment.header != pictures.codec_context.extradata:
        raise ValueError(f"{segment.name} was encoded with other settings than the first segment")
    for number, packet in enumerate(segment.held, start=before):
        assert packet.pts is not None
        packet.pts = round(packet.pts * packet.time_base / TICK) + before
        packet.dts = number - DELAY
        if packet.pts < packet.dts:
            raise ValueError(f"{segment.name} shows a picture more than {DELAY} after decoding it")
        packet.duration = 1
        packet.time_base = TICK
        packet.stream = pictures
        yield packet


def _sound_blocks(sound: Path) -> Iterator[Samples]:
    """The sound at 48 kHz, mono, in blocks of exactly one picture each; after it silence without end."""
    held = np.zeros(0, np.float32)
    source = _resampled(sound)
    while True:
        while len(held) < _PER_FRAME:
            more = next(source, None)
            held = np.concatenate([held, np.zeros(_PER_FRAME, np.float32) if more is None else more])
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
