"""Remake modules/voice_clone/builtin/data/kokoro_voices_r8.npz from the published voices.

    python tools/make_kokoro_voices.py [--package kokoro-js-1.2.1.tgz] [--out FILE]

Without --package the tarball is fetched by npm. Needs the weights kokoro-82m and resemblyzer in models/.
The 54 voices hold a style of 256 numbers for each sentence length up to 510; over the length they are
almost exactly of rank 8, so one basis is shared by all. The speaker embeddings say what each voice's
timbre sounds like with one common prosody at two pitches: enrolment starts from them. About ten minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.speech.pitch import median_pitch  # noqa: E402
from modules.speech.speaker import SpeakerEncoder, load_speaker_encoder  # noqa: E402
from modules.voice_clone.builtin.packs import FILE, LONGEST, STYLE_SIZE, TABLE_PITCHES, TYPICAL_LENGTHS  # noqa: E402
from modules.voice_clone.builtin.phonemes import Vocabulary, to_phonemes  # noqa: E402
from modules.voice_clone.builtin.reading import tuned  # noqa: E402
from modules.voice_clone.builtin.synthesis import SAMPLE_RATE, Synthesiser, finish  # noqa: E402

PACKAGE = "kokoro-js@1.2.1"
RANK = 8
SPOKEN = (("af_heart", "en", "Welcome back to my channel."), ("zf_xiaoxiao", "zh", "感谢大家的观看。"))


def fetch(folder: Path) -> Path:
    """The package's tarball, by npm."""
    subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True)
    return next(folder.glob("*.tgz"))


def read_voices(package: Path) -> dict[str, np.ndarray]:
    """Every voice by name: (510, 256)."""
    with tarfile.open(package) as archive:
        members = sorted((m for m in archive if m.name.endswith(".bin")), key=lambda m: m.name)
        return {
            Path(m.name).stem: np.frombuffer(archive.extractfile(m).read(), np.float32).reshape(LONGEST, 2 * STYLE_SIZE)
            for m in members
        }


def low_rank(voices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(54, 510, 256) -> basis (510, RANK) and coefficients (RANK, 54, 256), float16, balanced in size."""
    count, lengths, size = voices.shape
    flat = voices.transpose(1, 0, 2).reshape(lengths, -1).astype(np.float64)
    left, strength, right = np.linalg.svd(flat, full_matrices=False)
    balance = np.sqrt(lengths)
    basis = left[:, :RANK] * balance
    coefficients = (right[:RANK] * strength[:RANK, None] / balance).reshape(RANK, count, size)
    return basis.astype(np.float16), coefficients.astype(np.float16)


class Speaker:
    """Speaks the common sentences in any timbre at a wanted pitch, and embeds the sound."""

    def __init__(self, models: Path, voices: dict[str, np.ndarray]) -> None:
        vocabulary = Vocabulary(models / "kokoro-82m")
        self._synthesiser = Synthesiser(models / "kokoro-82m", 2)
        self._encoder: SpeakerEncoder = load_speaker_encoder(models / "resemblyzer")
        self._sentences = []
        for pack, language, text in SPOKEN:
            tokens = vocabulary.tokens(to_phonemes(text, language))
            style = voices[pack][len(tokens) - 2]
            own = median_pitch(self._synthesiser.say(tokens, style).sound, SAMPLE_RATE)
            self._sentences.append((self._synthesiser.read(tokens, style, 1.0), own))

    def embed(self, timbre: np.ndarray, pitch: float) -> np.ndarray:
        """(256,) embedding of ``timbre`` (128,) speaking at ``pitch`` Hz."""
        import torch

        sounds = [
            finish(
                self._synthesiser.sound(
                    replace(reading, pitch=tuned(reading.pitch, pitch / own, 1.0, own)), timbre
                ).sound
            ).samples
            for reading, own in self._sentences
        ]
        with torch.no_grad():
            mean = np.mean([self._encoder(torch.from_numpy(sound)).numpy() for sound in sounds], axis=0)
        return mean / np.linalg.norm(mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        voices = read_voices(given.package or fetch(Path(folder)))
    stacked = np.stack(list(voices.values()))
    basis, coefficients = low_rank(stacked)
    rebuilt = np.einsum("nr,rvd->vnd", basis.astype(np.float32), coefficients.astype(np.float32))
    print(f"{len(voices)} voices, largest error of a style {np.abs(rebuilt - stacked).max():.4f}", flush=True)
    speaker = Speaker(given.models, voices)
    timbres = stacked[:, TYPICAL_LENGTHS, :STYLE_SIZE].mean(1)
    tables = {}
    for pitch in TABLE_PITCHES:
        tables[f"embA_{pitch}"] = np.stack([speaker.embed(timbre, pitch) for timbre in timbres]).astype(np.float16)
        print(f"embedded at {pitch} Hz", flush=True)
    np.savez_compressed(given.out, names=np.array(list(voices)), basis=basis, coef=coefficients, **tables)
    print(f"{given.out}: {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
