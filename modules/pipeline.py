"""The render way: script -> speech -> faces -> frames -> labelled video, segment by segment.

Everything that is finished lies on disk in the job's work folder under a name
that says what it is, so that a stopped render goes on where it was. Memory
does not grow with the length of the output.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile

from modules import media, provenance
from modules.avatar import compositor
from modules.avatar.base import FaceFrame, LipSyncEngine, PreparedAvatar
from modules.media import FRAME_RATE, PAUSE, AudioChunk, Phone
from modules.progress import Progress
from modules.script import Utterance
from modules.speech.listen_back import Listener, Verdict
from modules.voice_clone import careful
from modules.voice_clone.base import EnrolledVoice, VoiceEngine

# What is one file while rendering, at most: an encoder's work, and what a stopped render loses of each encoder's.
SEGMENT_FRAMES = 60
# What is animated in one go, at most, and what is heard again before it, in frames: together they fit one window of
# the built-in engine, which is dear to hear and joins seamlessly within.
TAKE_FRAMES, LEAD_IN_FRAMES = 475, 25
LEAD_SECONDS = 0.24
TAIL_SECONDS = 0.4
PREVIEW_SECONDS = 3.0
SPEECH_SHARE = 0.2
JOIN_SHARE = 0.02
# The encoder never goes above this many bits a pixel, so the disk space stated beforehand is kept.
MAX_BITS_PER_PIXEL = 0.25
SOUND_BYTES_PER_SECOND = 24000 * 2


@dataclass(frozen=True)
class Spoken:
    """One utterance on the timeline; times in samples of the timeline's rate.

    verdict: what listening back to it found; None where nobody was asked to listen.
    """

    text: str
    start: int
    stop: int
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Timeline:
    """The whole speech: a 16-bit mono WAV file of whole frames, and what is said when.

    phones: in order, pauses included; None where the voice does not tell.
    """

    sound: Path
    rate: int
    frames: int
    spoken: tuple[Spoken, ...]
    phones: tuple[Phone, ...] | None = None

    @property
    def seconds(self) -> float:
        return self.frames / FRAME_RATE


@dataclass(frozen=True)
class RenderResult:
    """Files of a finished render, its length in frames (25 a second) and in seconds."""

    video: Path
    sound: Path
    subtitles: Path
    frames: int
    seconds: float


def speak(
    utterances: Sequence[Utterance],
    engine: VoiceEngine,
    voice: EnrolledVoice,
    options: Mapping[str, Any],
    work: Path,
    progress: Progress,
    limit_seconds: float | None = None,
    listener: Listener | None = None,
) -> Timeline:
    """Speak all utterances into ``work/sound.wav``, with their pauses; finished ones are kept from last time.

    ``limit_seconds`` ends the timeline there, for a preview. ``listener`` listens back to each utterance;
    doubtful ones are spoken again.
    """
    pieces = work / "speech"
    pieces.mkdir(parents=True, exist_ok=True)
    rate = engine.info.sample_rate
    frame = rate // FRAME_RATE
    spoken: list[Spoken] = []
    partial = work / "sound.partial.wav"
    with _Tape(partial, rate) as tape:
        tape.silence(LEAD_SECONDS)
        for index, utterance in enumerate(utterances):
            share = progress.part(index / len(utterances), (index + 1) / len(utterances))
            share.at(0.0)
            piece = pieces / f"{index:05d}.wav"
            chunk, verdict = _speak_one(utterance, engine, voice, options, piece, listener, share)
            start = tape.length
            tape.add(chunk)
            spoken.append(Spoken(utterance.text, start, tape.length - round(chunk.rest * rate), verdict))
            if limit_seconds is not None and tape.length >= limit_seconds * rate:
                break
            last = index == len(utterances) - 1
            pause = max(TAIL_SECONDS, utterance.pause) if last else utterance.pause
            tape.silence(pause - chunk.rest)
        # Picture and sound end together: the sound is filled up to a whole frame.
        frames = -(-tape.length // frame)
        tape.silence((frames * frame - tape.length) / rate)
    if limit_seconds is not None and frames > limit_seconds * FRAME_RATE:
        frames = round(limit_seconds * FRAME_RATE)
        start_of_file, _ = soundfile.read(partial, frames=frames * frame, dtype="float32")
        media.write_wav(partial, start_of_file, rate)
    os.replace(partial, work / "sound.wav")
    progress.at(1.0)
    phones = None if tape.phones is None else media.clipped(tape.phones, 0.0, frames / FRAME_RATE)
    return Timeline(work / "sound.wav", rate, frames, tuple(spoken), phones)


class _Tape:
    """A speech while it is written to disk, piece by piece.

    length: samples so far; phones: of all pieces so far, None as soon as one does not tell.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self._rate = rate
        self._file = soundfile.SoundFile(path, "w", rate, 1, "PCM_16")
        self.phones: list[Phone] | None = []

    @property
    def length(self) -> int:
        return int(self._file.frames)

    def add(self, piece: AudioChunk) -> None:
        if piece.phones is None or self.phones is None:
            self.phones = None
        else:
            self.phones += [phone.moved(self.length / self._rate) for phone in piece.phones]
        self._file.write(piece.samples)

    def silence(self, seconds: float) -> None:
        """Nothing where ``seconds`` are not more than 0."""
        if seconds <= 0:
            return
        samples = np.zeros(round(seconds * self._rate), np.float32)
        self.add(AudioChunk(samples, self._rate, (Phone(PAUSE, 0.0, seconds),)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _speak_one(
    utterance: Utterance,
    engine: VoiceEngine,
    voice: EnrolledVoice,
    options: Mapping[str, Any],
    piece: Path,
    listener: Listener | None,
    progress: Progress,
) -> tuple[AudioChunk, Verdict | None]:
    told, judged = piece.with_suffix(".phones.json"), piece.with_suffix(".verdict.json")
    if not piece.exists():
        text, language = utterance.text, utterance.language
        if listener is None:
            chunk, verdict = media.collect(engine.speak(voice, text, language, options)), None
        else:
            chunk, verdict = careful.speak(engine, voice, text, language, options, listener, progress)
        phones = chunk.phones
        _keep(told, None if phones is None else [(p.symbol, round(p.start, 4), round(p.stop, 4)) for p in phones])
        _keep(judged, None if verdict is None else verdict.to_dict())
        # Last: a piece that is there is whole.
        media.write_wav(piece, chunk.samples, engine.info.sample_rate)
    # Always what the files say, so that a resumed render is the same to the sample.
    rows, stored = _kept(told), _kept(judged)
    chunk = dataclasses.replace(media.read_wav(piece), phones=None if rows is None else tuple(Phone(*r) for r in rows))
    return chunk, None if stored is None else Verdict.from_dict(stored)


def _keep(file: Path, content: Any) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    os.replace(part, file)


def _kept(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def takes(timeline: Timeline) -> list[range]:
    """The frames of the timeline, cut in the middle of pauses, where the mouth is at rest.

    A take is at most TAKE_FRAMES long unless one utterance is longer; the same whether a render was stopped or not, so
    that it ends the same.
    """
    frame = timeline.rate / FRAME_RATE
    pauses = [round((a.stop + b.start) / 2 / frame) for a, b in pairwise(timeline.spoken)]
    cuts = [0]
    for pause, after in pairwise([*pauses, timeline.frames]):
        if after - cuts[-1] > TAKE_FRAMES:
            cuts.append(pause)
    return [range(*span) for span in pairwise([*cuts, timeline.frames])]


def segments(take: range) -> list[range]:
    """A take in equal parts of at most SEGMENT_FRAMES, each of which becomes a file."""
    count = -(-len(take) // SEGMENT_FRAMES)
    cuts = [take.start + len(take) * number // count for number in range(count + 1)]
    return [range(*span) for span in pairwise(cuts)]


def disk_needed(width: int, height: int, seconds: float) -> int:
    """Upper bound in bytes of what a render of ``seconds`` writes, work files included.

    The video is there twice while its segments are joined; the sound as pieces, WAV and AAC. A loop kept decoded
    (see _bases) comes on top, but only where twice its size is free, and is gone before the segments are joined.
    """
    video = width * height * FRAME_RATE * MAX_BITS_PER_PIXEL / 8
    return round(seconds * (2 * video + 3 * SOUND_BYTES_PER_SECOND)) + 4_000_000


def render(
    timeline: Timeline,
    engine: LipSyncEngine,
    avatar: PreparedAvatar,
    options: Mapping[str, Any],
    label: str | None,
    produced: str,
    work: Path,
    output: Path,
    progress: Progress,
    threads: int,
) -> RenderResult:
    """Render a spoken timeline into ``output``/video.mp4, sound.wav and subtitles.srt.

    label: language of the visible AI label, or None for none; the metadata label is always there.
    produced: id that goes into the metadata label.
    """
    parts = work / "segments"
    parts.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    files = [(segment, parts / f"{segment.start:07d}.mp4") for take in takes(timeline) for segment in segments(take)]
    missing = [segment for segment, file in files if not file.exists()]
    if missing:
        begin = missing[0].start
        wanted = [(segment, file) for segment, file in files if segment.start >= begin]
        with (
            closing(_frames(timeline, begin, engine, avatar, options, label, work, threads)) as frames,
            media.Writers(threads) as writers,
        ):
            _write(wanted, frames, avatar.footage, writers, progress.part(0.0, 1.0 - JOIN_SHARE))
    sound = output / "sound.wav"
    subtitles = output / "subtitles.srt"
    video = output / "video.mp4"
    media.write_srt(subtitles, [(s.start / timeline.rate, s.stop / timeline.rate, s.text) for s in timeline.spoken])
    joining = progress.part(1.0 - JOIN_SHARE, 1.0, "stage.join")
    media.join([file for _, file in files], timeline.sound, video, provenance.metadata_label(produced), joining)
    os.replace(timeline.sound, sound)
    return RenderResult(video, sound, subtitles, timeline.frames, timeline.seconds)


def _frames(
    timeline: Timeline,
    begin: int,
    engine: LipSyncEngine,
    avatar: PreparedAvatar,
    options: Mapping[str, Any],
    label: str | None,
    work: Path,
    threads: int,
) -> Generator[media.I420, None, None]:
    """The finished frames of the timeline from ``begin`` on.

    Decoding, the engine and the encoders run side by side, over the ends of takes, too; each hands over a few frames
    at a time.
    """
    labelled = provenance.LABEL_SECONDS * FRAME_RATE if label is not None else 0

    def finish(drawn: tuple[int, tuple[media.I420, FaceFrame]]) -> media.I420:
        number, (frame, face) = drawn
        compositor.paste(frame, face)
        if label is not None and number < labelled:
            provenance.draw_label(frame, label)
        return frame

    order = [avatar.loop.frame(number) for number in range(begin, timeline.frames)]
    with (
        closing(media.prefetch(_bases(avatar.footage, order, work, threads), 4)) as bases,
        closing(media.prefetch(_faces(timeline, begin, engine, avatar, options), 4)) as faces,
    ):
        yield from media.mapped(finish, enumerate(zip(bases, faces, strict=True), start=begin), threads)


def _bases(footage: media.Footage, order: Sequence[int], work: Path, threads: int) -> Iterator[media.I420]:
    """The frames ``order`` of the footage; what is shown more than once is decoded once, where the disk allows it."""
    again = footage.kind != "photo" and len(set(order)) < len(order)
    if again and 2 * media.spool_bytes(footage, order) <= shutil.disk_usage(work).free:
        return media.read_spooled(footage, order, work / "loop", threads)
    return media.read_order(footage, order)


def _faces(
    timeline: Timeline, begin: int, engine: LipSyncEngine, avatar: PreparedAvatar, options: Mapping[str, Any]
) -> Iterator[FaceFrame]:
    """The faces from frame ``begin`` on, take by take; what comes before in its take is heard, but not drawn."""
    for take in takes(timeline):
        if take.stop > begin:
            first = max(0, take.start - LEAD_IN_FRAMES)
            speech = _sound_of(timeline, first, take.stop)
            yield from engine.animate(avatar, speech, options, first, max(begin, take.start) - first)


def _write(
    wanted: Sequence[tuple[range, Path]],
    frames: Iterator[media.I420],
    footage: media.Footage,
    writers: media.Writers,
    progress: Progress,
) -> None:
    """Write the segments that are ``wanted``, which follow each other, each into its file."""
    end = wanted[-1][0].stop
    max_bitrate = round(footage.width * footage.height * FRAME_RATE * MAX_BITS_PER_PIXEL * 0.95)
    for segment, file in wanted:
        writers.begin(
            partial(
                media.VideoWriter,
                *(file, footage.width, footage.height, footage.color),
                threads=writers.threads_each,
                max_bitrate=max_bitrate,
            )
        )
        for number, frame in zip(segment, islice(frames, len(segment)), strict=True):
            writers.write(frame)
            progress.at((number + 1) / end)
    next(frames, None)  # the engine, too, must have come to its end


def _sound_of(timeline: Timeline, first: int, last: int) -> Iterator[AudioChunk]:
    """The sound of frames [first, last) in pieces of one second, with the phones that begin in each.

    A phone in which the first one begins is told with it: a pause that was cut is as long as ever.
    """
    frame = timeline.rate // FRAME_RATE
    phones = timeline.phones
    if phones is not None:
        phones = media.sounding(phones, first / FRAME_RATE, last / FRAME_RATE)
    for start in range(first, last, FRAME_RATE):
        stop = min(start + FRAME_RATE, last)
        samples, rate = soundfile.read(
            timeline.sound, frames=(stop - start) * frame, start=start * frame, dtype="float32"
        )
        yield AudioChunk(samples, rate, None if phones is None else _beginning(phones, start - first, stop - first))


def _beginning(phones: tuple[Phone, ...], first: int, last: int) -> tuple[Phone, ...]:
    """The phones that begin in frames [first, last) (or before frame 0), their times from the first one."""
    start, stop = first / FRAME_RATE, last / FRAME_RATE
    return tuple(phone.moved(-start) for phone in phones if start <= max(phone.start, 0.0) < stop)
