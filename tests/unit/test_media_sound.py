"""Sound keeps its place against the picture, whatever the file's layout, rate and start times are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from modules import media
from modules.errors import StudioError
from tests.odd_clips import SOUND_RATE, clicks, onsets, steady, write_clip


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("webm", "libvpx")])
@pytest.mark.parametrize("start", [0.0, 0.24])
@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_sound_stays_with_the_picture(tmp_path: Path, container: str, codec: str, start: float, rate: int) -> None:
    clip = write_clip(
        tmp_path / "clip", steady(25, 2), codec=codec, container=container, sound=clicks(1.7), sound_start=start
    )
    heard = onsets(media.read_sound(clip, rate), rate)
    assert heard == pytest.approx([0.1 + start, 0.6 + start, 1.1 + start, 1.6 + start], abs=0.012)


def test_picture_that_begins_after_the_sound(tmp_path: Path) -> None:
    times = [0.3 + time for time in steady(25, 2)]
    clip = write_clip(tmp_path / "late.mkv", times, container="matroska", sound=clicks(2.2))
    footage = media.probe(clip)
    assert footage.frame_count == 50
    assert onsets(media.read_sound(clip, 16000), 16000) == pytest.approx([0.3, 0.8, 1.3, 1.8], abs=0.012)


def test_stereo_becomes_mono_and_parts_can_be_read(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", steady(25, 2), sound=clicks(2), layout="stereo")
    sound = media.read_sound(clip, 16000, 0.5, 0.4)
    assert sound.dtype == np.float32 and sound.ndim == 1 and len(sound) == 6400
    assert onsets(sound, 16000) == pytest.approx([0.1], abs=0.012)


def test_no_sound_is_empty_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "mute.mp4", steady(25, 0.4))
    assert not media.probe(clip).has_sound
    assert len(media.read_sound(clip, 16000)) == 0


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_every_sample_format_is_the_same_sound(tmp_path: Path, subtype: str) -> None:
    wanted = clicks(1)
    soundfile.write(tmp_path / "a.wav", np.stack([wanted, wanted], axis=1), SOUND_RATE, subtype=subtype)
    heard = media.read_sound(tmp_path / "a.wav", SOUND_RATE)
    assert len(heard) == len(wanted)
    assert np.abs(heard - wanted).max() < 0.02


def test_holes_in_a_recording_become_silence(tmp_path: Path) -> None:
    """A browser that pauses leaves a jump in the time stamps, not silence."""
    import av

    path = tmp_path / "holes.mkv"
    with av.open(str(path), "w", format="matroska") as target:
        audio = target.add_stream("pcm_s16le", rate=SOUND_RATE, layout="mono")
        for first, time in [(0, 0.0), (0, 1.0)]:
            block = (clicks(0.4)[None, first:] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, round(time * SOUND_RATE)
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
    assert onsets(media.read_sound(path, SOUND_RATE), SOUND_RATE) == pytest.approx([0.1, 1.1], abs=0.005)


def test_wav_round_trip_and_clipping(tmp_path: Path) -> None:
    media.write_wav(tmp_path / "a.wav", np.array([0, 0.5, -0.5, 2.0, -2.0], np.float32), 24000)
    chunk = media.read_wav(tmp_path / "a.wav")
    assert chunk.sample_rate == 24000
    assert chunk.samples == pytest.approx([0, 0.5, -0.5, 1, -1], abs=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_collect_joins_chunks_of_one_rate() -> None:
    chunks = [media.AudioChunk(np.full(3, value, np.float32), 24000) for value in (0.1, 0.2)]
    assert media.collect(chunks).samples == pytest.approx([0.1] * 3 + [0.2] * 3)
    with pytest.raises(ValueError, match="sample rates"):
        media.collect([chunks[0], media.AudioChunk(chunks[1].samples, 16000)])
    with pytest.raises(StudioError):
        media.collect([])


def test_collect_moves_phones_to_their_place_in_the_whole() -> None:
    half = np.zeros(12000, np.float32)
    first = media.AudioChunk(half, 24000, (media.Phone("a", 0.1, 0.6),))
    second = media.AudioChunk(half, 24000, (media.Phone("b", 0.2, 0.4),))
    assert media.collect([first, second]).phones == (media.Phone("a", 0.1, 0.6), media.Phone("b", 0.7, 0.9))
    assert media.collect([first, media.AudioChunk(half, 24000)]).phones is None
    assert media.clipped([media.Phone("a", 0.0, 0.2), media.Phone("b", 0.2, 0.4)], 0.1, 0.2) == (
        media.Phone("a", 0.0, 0.1),
    )
    assert media.sounding([media.Phone("a", 0.0, 0.2), media.Phone("b", 0.2, 0.4)], 0.1, 0.2) == (
        media.Phone("a", -0.1, 0.1),
    )


def test_subtitles_keep_every_character(tmp_path: Path) -> None:
    media.write_srt(tmp_path / "a.srt", [(0.0, 1.5, "你好，{世界}"), (1.5, 3661.25, "Line one\nline two \\N <b>")])
    text = (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert "00:00:00,000 --> 00:00:01,500" in text and "00:00:01,500 --> 01:01:01,250" in text
    assert "你好，{世界}" in text and "Line one\nline two" in text and "<b>" in text
