"""From the sound of a clip to the material that a voice is cloned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules import media, weights
from modules.errors import StudioError
from modules.progress import Progress
from modules.speech import denoise as noise
from modules.speech import vad
from modules.speech.passage import Likeness, Passage, best_passage, likeness
from modules.speech.transcribe import WEIGHTS as RECOGNISER
from modules.speech.transcribe import Transcriber, Transcript

Floats = NDArray[np.float32]

SPEAKER_ENCODER = "resemblyzer"
WEIGHTS = (RECOGNISER, SPEAKER_ENCODER)
ORIGINAL, TIMBRE, CLIP = "original.wav", "timbre.wav", "clip.wav"

SOUND_RATE = 48000
TIMBRE_RATE = 24000
# More of the same person's voice makes the clone no better (measured), only slower.
MOST_SECONDS = 180.0
TRANSCRIBED_SECONDS = 60.0
LEAST_SPEECH = 2.0
ENOUGH_SPEECH = 6.0
GOOD_DB = 30.0
SURE_LANGUAGE = 0.6


@dataclass(frozen=True)
class Extraction:
    """What was found. Sounds are file names in the output folder; seconds, and dB of speech over noise.

    findings: for the user, each a level ('good', 'warning'), an i18n key and values for it.
    """

    transcript: str
    language: str
    speech_seconds: float
    noise_db: float
    denoised: bool
    original: str
    cleaned: str
    clip: str
    clip_start: float
    clip_stop: float
    findings: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "findings": list(self.findings)}


def extract(source: Path, output: Path, models_dir: Path, threads: int, progress: Progress) -> Extraction:
    """Find the speech in any video or sound file and write original.wav, timbre.wav and clip.wav.

    Raises StudioError no_sound, no_speech or speech_too_short.
    """
    progress.at(0.0)
    sound = media.read_sound(source, SOUND_RATE, duration=MOST_SECONDS)
    if not len(sound):
        raise StudioError("no_sound")
    narrow = media.resample(sound, SOUND_RATE, vad.SAMPLE_RATE)
    progress.at(0.1)
    speech = vad.find_speech(narrow)
    seconds = sum(span.seconds for span in speech)
    if not speech:
        raise StudioError("no_speech")
    if seconds < LEAST_SPEECH:
        raise StudioError("speech_too_short", seconds=round(seconds, 1), minimum=LEAST_SPEECH)
    progress.at(0.2)
    db = noise.signal_to_noise(sound, SOUND_RATE, speech)
    denoised = db < noise.HELPS_BELOW_DB
    cleaned = noise.denoise(sound, speech) if denoised else sound
    voice = vad.cut(media.resample(cleaned, SOUND_RATE, TIMBRE_RATE), TIMBRE_RATE, speech)
    progress.at(0.35)
    alike = _likeness(voice, speech, models_dir)
    progress.at(0.55)
    # The recogniser hears the original: denoising costs it words.
    transcript = _transcript(narrow, models_dir, threads)
    passage = best_passage(transcript.words, speech, alike)
    progress.at(0.95)
    span = passage.span
    media.write_wav(output / ORIGINAL, sound, SOUND_RATE)
    media.write_wav(output / TIMBRE, voice, TIMBRE_RATE)
    media.write_wav(output / CLIP, vad.cut(sound, SOUND_RATE, [span]), SOUND_RATE)
    progress.at(1.0)
    return Extraction(
        transcript=passage.text,
        language=transcript.language,
        speech_seconds=round(seconds, 2),
        noise_db=round(db, 1),
        denoised=denoised,
        original=ORIGINAL,
        cleaned=TIMBRE,
        clip=CLIP,
        clip_start=round(span.start, 2),
        clip_stop=round(span.stop, 2),
        findings=tuple(_findings(seconds, db, denoised, alike, transcript, passage)),
    )


def _likeness(voice: Floats, speech: list[vad.Span], models_dir: Path) -> Likeness:
    import torch

    from modules.speech.speaker import load_speaker_encoder

    encoder = load_speaker_encoder(weights.folder(models_dir, SPEAKER_ENCODER))

    def embed(sound: Floats) -> Floats:
        with torch.no_grad():
            vector: Floats = encoder(torch.from_numpy(np.ascontiguousarray(sound))).numpy()
        return vector

    return likeness(voice, TIMBRE_RATE, speech, embed)


def _transcript(narrow: Floats, models_dir: Path, threads: int) -> Transcript:
    transcriber = Transcriber(models_dir, threads)
    try:
        return transcriber(narrow[: int(TRANSCRIBED_SECONDS * vad.SAMPLE_RATE)])
    finally:
        transcriber.close()


def _findings(
    seconds: float, db: float, denoised: bool, alike: Likeness, transcript: Transcript, passage: Passage
) -> list[dict[str, Any]]:
    def warn(key: str, **values: Any) -> dict[str, Any]:
        return {"level": "warning", "key": f"check.voice.{key}", "values": values}

    found = []
    if seconds < ENOUGH_SPEECH:
        found.append(warn("short", seconds=round(seconds, 1)))
    if denoised:
        found.append(warn("noisy", db=round(db)))
    if not alike.one_speaker:
        found.append(warn("two_speakers"))
    if transcript.certainty < SURE_LANGUAGE:
        found.append(warn("language_unsure"))
    if not passage.text:
        found.append(warn("no_words"))
    if not found:
        found.append({"level": "good", "key": "check.voice.good", "values": {"db": round(min(db, GOOD_DB))}})
    return found
