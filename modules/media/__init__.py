"""Pictures and sound in and out: probe, decode, encode, join, resample, subtitles. See docs/design.md."""

from modules.media.decode import read_frames, read_order
from modules.media.encode import VideoWriter
from modules.media.footage import FRAME_RATE, ColorTags, Footage, probe
from modules.media.frames import BGR, I420, planes, to_bgr, to_i420
from modules.media.join import join
from modules.media.prefetch import mapped, prefetch
from modules.media.sound import (
    PAUSE,
    AudioChunk,
    Phone,
    Samples,
    clipped,
    collect,
    read_sound,
    read_wav,
    resample,
    sounding,
    write_wav,
)
from modules.media.spool import read_spooled, spool_bytes
from modules.media.subtitles import write_srt
from modules.media.writers import Writers

__all__ = [
    "BGR",
    "FRAME_RATE",
    "I420",
    "PAUSE",
    "AudioChunk",
    "ColorTags",
    "Footage",
    "Phone",
    "Samples",
    "VideoWriter",
    "Writers",
    "clipped",
    "collect",
    "join",
    "mapped",
    "planes",
    "prefetch",
    "probe",
    "read_frames",
    "read_order",
    "read_sound",
    "read_spooled",
    "read_wav",
    "resample",
    "sounding",
    "spool_bytes",
    "to_bgr",
    "to_i420",
    "write_srt",
    "write_wav",
]
