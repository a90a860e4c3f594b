"""Sound against picture at the end of a 10 minute render: python -m tests.bench.bench_sync

The fake engines speak a tone and show a square exactly while it sounds; both are read back from the
finished MP4, and the moments where they begin and end are compared over the last minute.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np

from modules import media, pipeline, script
from modules.media import FRAME_RATE
from modules.progress import Progress
from modules.voice_clone.base import EnrolledVoice
from tests.bench.common import line
from tests.fakes import MARK, RATE, FakeLips, FakeVoice

SENTENCE = "一二三四五六七八九十，一二三四五六七八九十，一二三。"
MINUTES = 10


def edges(on: np.ndarray) -> np.ndarray:
    """Frame numbers at which a state changes."""
    return np.flatnonzero(np.diff(on.astype(np.int8))) + 1


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        with media.VideoWriter(clip, 96, 128, media.ColorTags()) as writer:
            for _ in range(50):
                writer.write(np.full((192, 96), 60, np.uint8))
        utterances = script.parse(SENTENCE * (MINUTES * 60 // 3), 100_000)
        voice = EnrolledVoice("fake", folder)
        timeline = pipeline.speak(utterances, FakeVoice(), voice, {}, folder, Progress())
        lips = FakeLips()
        avatar = lips.prepare(media.probe(clip), None, folder, {}, Progress())
        result = pipeline.render(timeline, lips, avatar, {}, None, "f" * 32, folder, folder / "out", Progress(), 2)
        with av.open(str(result.video)) as container:
            shown = np.array(
                [f.to_ndarray(format="gray")[8 : MARK - 8, 8 : MARK - 8].mean() > 90 for f in container.decode(video=0)]
            )
        sound = np.abs(media.read_sound(result.video, RATE))
        step = RATE // FRAME_RATE
        sound = np.pad(sound, (0, max(0, len(shown) * step - len(sound))))[: len(shown) * step]
        heard = sound.reshape(-1, step).max(1) > 0.1
        last = len(shown) - 60 * FRAME_RATE
        pairs = zip(edges(shown[last:]), edges(heard[last:]), strict=True)
        worst = max(abs(int(a) - int(b)) for a, b in pairs)
        print(f"{result.seconds / 60:.1f} min; {len(edges(shown[last:]))} edges in the last minute")
        print(line("sound against picture at the end", worst, "frames", 1))


if __name__ == "__main__":
    main()
