"""Learning a voice: the 128 numbers with which Kokoro's decoder sounds like the person.

A convex mix of the shipped voices is the start; Adam then brings the speaker embedding, seen through
several filters, and the long-term spectrum of short spoken phrases towards the person's own, heard in the
room of the recording. What is learnt is listened back to, and an earlier state is taken where it is not
understood. Measured in the project: ~0.45 -> ~0.75 in an encoder that is never optimised (docs/quality/voice.md).
Runs as a child process (``python -m modules.voice_clone.builtin.enrolment``), which writes one JSON object a
line: progress from 0 to 1, and at the end nothing, or the error.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modules import media, weights
from modules.errors import StudioError
from modules.progress import Progress
from modules.speech.listen_back import Listener
from modules.speech.pitch import Melody, melody
from modules.voice_clone.builtin.packs import VoicePacks, voice_packs
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes
from modules.voice_clone.builtin.room import Room, echoed, find_room
from modules.voice_clone.builtin.synthesis import finish
from modules.voice_clone.builtin.views import views
from modules.voice_clone.builtin.voice import LearntVoice

if TYPE_CHECKING:
    from torch import Tensor

    from modules.speech.speaker import SpeakerEncoder
    from modules.voice_clone.builtin.decoder import Decoder
    from modules.voice_clone.builtin.network import Kokoro, SpokenText

Floats = NDArray[np.float32]

SAMPLE_RATE = 24000
LONGEST_SECONDS = 30.0
SHORTEST_SECONDS = 2.0

NEAREST = 12
MIX_OF = 5
LEAST_SHARE = 1e-3
SUM_WEIGHT = 3.0

STEPS = 30
# What is kept on the way, to fall back to.
CHECKPOINTS = (10, 30)
RATE = 0.04
CONSTANT_UNTIL = 0.6
LAST_RATE = 0.25
SPECTRUM_WEIGHT = 1.0
STAY_WEIGHT = 0.02
CROP_FRAMES = 72
PHRASES = (
    ("en", "Welcome back to my channel, everyone."),
    ("zh", "今天给大家介绍一款软件。"),
    ("en", "The quick brown fox jumps over a lazy dog."),
    ("zh", "感谢大家的观看，下期再见。"),
    ("en", "Yesterday morning we walked along the river and talked about music."),
    ("zh", "我们昨天在公园里看见了很多漂亮的花。"),
    ("en", "Could you show me how this machine really works?"),
    ("zh", "这个问题其实很简单，我来说明一下。"),
)
# So many of them tell the room.
TELLING = 4
# Not in the training: what is learnt has to say them understandably.
HELD_OUT = (("en", "Please call me when you get home."), ("zh", "他们明天上午去公园散步。"))
UNDERSTOOD = 0.7

# Shares of the wall time, measured on two cores.
READ_UNTIL = 0.12
FOUND_UNTIL = 0.18
STEPS_UNTIL = 0.9


@dataclass(frozen=True)
class Target:
    """What the person sounds like: one unit embedding for each view (views, 256), long-term spectrum, melody."""

    embeddings: Tensor
    spectrum: Spectrum
    melody: Melody


@dataclass(frozen=True)
class Spectrum:
    """Mean and spread of log mel bands (bands,) over the loud frames, and which bands the recording has."""

    mean: Tensor
    spread: Tensor

    def distance(self, other: Spectrum, bands: Tensor) -> Tensor:
        """Mean absolute difference over ``bands`` (bool), whatever the level."""
        mine, theirs = self.mean[bands], other.mean[bands]
        level = (mine - mine.mean()) - (theirs - theirs.mean())
        spread = self.spread[bands] - other.spread[bands]
        return 0.5 * (level.abs().mean() + spread.abs().mean())


class SpectrumMeter:
    """Long-term average spectrum in 80 mel bands, differentiable."""

    FFT = 1200
    HOP = 300
    BANDS = 80
    RMS = 0.06
    QUIET = 10**-3.0
    FLOOR = 1e-8

    def __init__(self) -> None:
        import torch

        from modules.speech.speaker import mel_filters

        self._filters = mel_filters(SAMPLE_RATE, self.FFT, self.BANDS, SAMPLE_RATE / 2)
        self._window = torch.hann_window(self.FFT)

    def __call__(self, sound: Tensor) -> Spectrum:
        """(samples,) at 24 kHz -> spectrum of the frames within 30 dB of the loudest."""
        import torch
        from torch.nn import functional

        sound = sound * (self.RMS / (sound.square().mean().sqrt() + 1e-9))
        energy = functional.avg_pool1d(sound.square().view(1, 1, -1), self.FFT, self.HOP, self.FFT // 2)[0, 0]
        power = torch.stft(sound, self.FFT, self.HOP, window=self._window, return_complex=True).abs().square()
        count = min(len(energy), power.shape[1])
        loud = (energy[:count] > energy.max() * self.QUIET).detach()
        bands = torch.log10(self._filters @ power[:, :count][:, loud] + self.FLOOR)
        return Spectrum(bands.mean(1), bands.std(1))


def recorded_bands(spectrum: Spectrum) -> Tensor:
    """Which bands the recording has: a phone's or a codec's cut-off is no property of the voice."""
    return spectrum.mean > spectrum.mean.max() - 5.5


def convex_start(embedding: Floats, packs: VoicePacks, pitch: float) -> dict[str, float]:
    """Voices and their shares (at most five, summing to 1) whose mix comes nearest to ``embedding``.

    Non-negative least squares over the twelve most alike voices, the weakest dropped until five remain.
    """
    from scipy.optimize import nnls

    table = packs.embeddings(pitch)
    chosen = np.argsort(-(table @ embedding))[:NEAREST]
    wanted = np.append(embedding, SUM_WEIGHT)
    while True:
        mixed = np.vstack([table[chosen].T, np.full(len(chosen), SUM_WEIGHT)])
        shares, _ = nnls(mixed.astype(np.float64), wanted.astype(np.float64))
        shares /= shares.sum()
        used = int((shares > LEAST_SHARE).sum())
        if used <= MIX_OF:
            break
        keep = max(MIX_OF, min(used, len(chosen)) - 1)
        chosen = chosen[np.argsort(-shares)[:keep]]
    return {packs.names[c]: float(s) for c, s in zip(chosen, shares, strict=True) if s > LEAST_SHARE}


def mixed_timbre(shares: dict[str, float], packs: VoicePacks) -> Floats:
    """(128,) weighted mean of the voices' timbres."""
    timbres = packs.timbres()
    total = sum(share * timbres[packs.names.index(name)] for name, share in shares.items())
    return np.asarray(total, np.float32)


def analyse(speech: Floats, encoder: SpeakerEncoder, meter: SpectrumMeter) -> Target:
    """Target of a person's speech at 24 kHz. Raises StudioError('speech_too_short') below 2 s of voice."""
    import torch

    found = melody(speech, SAMPLE_RATE)
    if len(speech) < SHORTEST_SECONDS * SAMPLE_RATE or not found:
        raise StudioError("speech_too_short", seconds=round(len(speech) / SAMPLE_RATE, 1), minimum=SHORTEST_SECONDS)
    sound = torch.from_numpy(speech)
    with torch.no_grad():
        return Target(torch.stack([encoder(view) for view in views(sound)]), meter(sound), found)


class Reader:
    """Phrases as Kokoro would say them with the person's melody, before they get a timbre."""

    def __init__(self, network: Kokoro, vocabulary: Vocabulary, packs: VoicePacks, voice: LearntVoice) -> None:
        self._network = network
        self._vocabulary = vocabulary
        self._packs = packs
        self._voice = voice

    def read(self, language: str, text: str) -> SpokenText:
        """One phrase with the prosody of its language and the person's F0."""
        import torch

        from modules.voice_clone.builtin.network import SpokenText

        tokens = self._vocabulary.tokens(to_phonemes(text, language))
        prosody = self._voice.style(self._packs, language, len(tokens))[None, 128:]
        with torch.no_grad():
            spoken = self._network.read(torch.tensor([tokens]), torch.from_numpy(prosody))
        pitch = self._voice.tuned(spoken.pitch.numpy(), language)
        return SpokenText(spoken.text, torch.from_numpy(pitch), spoken.energy)


def spoken(decoder: Decoder, timbre: Floats, phrase: SpokenText) -> Tensor:
    """A whole phrase in ``timbre`` (128,): its sound at 24 kHz."""
    import torch

    with torch.no_grad():
        return decoder(phrase.text, phrase.pitch, phrase.energy, torch.from_numpy(timbre)[None])[0]


class Learner:
    """Gradient descent on the timbre, everything else fixed. room: where the target was recorded."""

    def __init__(
        self, network: Kokoro, encoder: SpeakerEncoder, meter: SpectrumMeter, target: Target, room: Room | None
    ) -> None:
        import torch

        self._decoder = network.decoder
        self._encoder = encoder
        self._meter = meter
        self._target = target
        self._bands = recorded_bands(target.spectrum)
        self._room = None if room is None else torch.from_numpy(room.response())

    def learn(self, start: Floats, phrases: list[SpokenText], seed: int, progress: Progress) -> dict[int, Floats]:
        """Timbres after each of CHECKPOINTS steps, from ``start`` (128,)."""
        import torch

        chance = np.random.default_rng(seed)
        anchor = torch.from_numpy(start)[None]
        timbre = anchor.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([timbre], lr=RATE)
        kept: dict[int, Floats] = {}
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = RATE * _rate_share(step)
            piece = _crop(phrases[step % len(phrases)], chance)
            sound = self._decoder(piece.text, piece.pitch, piece.energy, timbre)[0]
            loss = self._loss(sound) + STAY_WEIGHT * (timbre - anchor).square().sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            progress.at((step + 1) / STEPS)
            if step + 1 in CHECKPOINTS:
                kept[step + 1] = timbre.detach().numpy()[0].copy()
        return kept

    def say(self, timbre: Floats, phrase: SpokenText) -> tuple[Floats, float]:
        """A whole phrase in ``timbre`` (128,): its sound at 24 kHz, and how far it is from the person."""
        import torch

        sound = spoken(self._decoder, timbre, phrase)
        with torch.no_grad():
            return sound.numpy(), float(self._loss(sound))

    def _loss(self, sound: Tensor) -> Tensor:
        if self._room is not None:
            sound = echoed(sound, self._room)[: len(sound)]
        alike = (self._encoder.each(list(views(sound))) * self._target.embeddings).sum(1)
        return 1 - alike.mean() + SPECTRUM_WEIGHT * self._meter(sound).distance(self._target.spectrum, self._bands)


def _rate_share(step: int) -> float:
    constant = STEPS * CONSTANT_UNTIL
    return 1.0 if step < constant else max(LAST_RATE, 1 - (step - constant) / (STEPS - constant))


def _crop(spoken: SpokenText, chance: np.random.Generator) -> SpokenText:
    """A random 1.8 s of a phrase."""
    from modules.voice_clone.builtin.network import SpokenText

    frames = spoken.text.shape[2]
    width = min(CROP_FRAMES, frames)
    start = int(chance.integers(0, frames - width + 1))
    fast = slice(2 * start, 2 * (start + width))
    return SpokenText(spoken.text[:, :, start : start + width], spoken.pitch[:, fast], spoken.energy[:, fast])


def accepted(
    learner: Learner,
    candidates: list[Floats],
    phrases: list[SpokenText],
    listener: Listener,
    room: Room | None,
    progress: Progress,
) -> Floats:
    """The first of ``candidates`` that is understood and nearer to the person than the start; else the start.

    candidates: best first, the start last; phrases: HELD_OUT, read; room: what they are heard in. Without a
    recogniser the distance decides.
    """
    start = candidates[-1]
    echo = None if room is None else room.response()
    far = sum(learner.say(start, phrase)[1] for phrase in phrases)
    for place, timbre in enumerate(candidates[:-1]):
        said = [learner.say(timbre, phrase) for phrase in phrases]
        share = (place + 0.5) / len(candidates)
        progress.at(share)
        if sum(distance for _, distance in said) < far and all(
            listener(finish(sound, room=echo), text, language, 1.0, progress.part(share, share)).score >= UNDERSTOOD
            for (sound, _), (language, text) in zip(said, HELD_OUT, strict=True)
        ):
            return timbre
    return start


def enrol(speech: Floats, models_dir: Path, threads: int, seed: int, progress: Progress) -> LearntVoice:
    """Learn the voice in ``speech`` (24 kHz, one person, only speech). seed: of the random crops."""
    import torch

    from modules.speech.speaker import load_speaker_encoder
    from modules.voice_clone.builtin.checkpoint import load_network

    torch.set_num_threads(threads)
    progress.at(0.02)
    kokoro = weights.folder(models_dir, "kokoro-82m")
    encoder = load_speaker_encoder(weights.folder(models_dir, "resemblyzer"))
    meter = SpectrumMeter()
    speech = speech[: int(LONGEST_SECONDS * SAMPLE_RATE)]
    target = analyse(speech, encoder, meter)
    progress.at(0.05)
    packs = voice_packs()
    start = mixed_timbre(convex_start(target.embeddings[0].numpy(), packs, target.melody.pitch), packs)
    network = load_network(kokoro)
    progress.at(0.08)
    unlearnt = LearntVoice(tuple(start), round(target.melody.pitch, 2), round(target.melody.spread, 4))
    reader = Reader(network, Vocabulary(kokoro), packs, unlearnt)
    phrases, held_out = ([reader.read(*phrase) for phrase in group] for group in (PHRASES, HELD_OUT))
    network.forget_text_half()
    progress.at(READ_UNTIL)
    room = find_room(torch.from_numpy(speech), [spoken(network.decoder, start, phrase) for phrase in phrases[:TELLING]])
    learner = Learner(network, encoder, meter, target, room)
    progress.at(FOUND_UNTIL)
    timbres = learner.learn(start, phrases, seed, progress.part(FOUND_UNTIL, STEPS_UNTIL))
    candidates = [*(timbres[step] for step in sorted(timbres, reverse=True)), start]
    listener = Listener(models_dir, threads)
    best = accepted(learner, candidates, held_out, listener, room, progress.part(STEPS_UNTIL, 1.0))
    return replace(unlearnt, timbre=tuple(round(float(x), 6) for x in best), room=room)


def main(words: list[str]) -> int:
    """The child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--timbre", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)

    def say(**line: object) -> None:
        print(json.dumps(line), flush=True)

    try:
        speech = media.read_sound(given.timbre, SAMPLE_RATE)
        progress = Progress(lambda fraction, _: say(progress=fraction))
        enrol(speech, given.models_dir, given.threads, given.seed, progress).save(given.folder)
    except StudioError as error:
        say(error=error.to_dict())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
