"""The main job from a video to a video, timed: python -m tests.bench.bench_end_to_end [VIDEO]

Prints the seconds of every stage, the frame rate of the render part and the
peak memory of the worker, for a first and a second script.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.bench.common import MEDIA, SCRIPT_A, SCRIPT_B, Watch, avatar_and_voice, line, studio


def main() -> None:
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else MEDIA / "talk_man_20s.mp4"
    with tempfile.TemporaryDirectory() as folder:
        house = studio(Path(folder))
        watch = Watch(house)
        began = time.monotonic()
        avatar, voice = avatar_and_voice(watch, video)
        prepared = time.monotonic()
        first = watch.run("render", avatar=avatar, voice=voice, script=SCRIPT_A)
        whole = time.monotonic() - began
        print(
            f"avatar and voice {prepared - began:.0f} s; stages: { {k: round(v, 1) for k, v in watch.stages.items()} }"
        )
        rate = first["frames"] / watch.stages["stage.render"]
        again = Watch(house)
        began = time.monotonic()
        second = again.run("render", avatar=avatar, voice=voice, script=SCRIPT_B)
        second_seconds = time.monotonic() - began
        print(f"first script {first['seconds']:.1f} s, second {second['seconds']:.1f} s of video")
        print(line("footage to avatar + voice + first video", whole, "s", 360))
        print(line("render part, first script", rate, "fps", 10, at_most=False))
        print(line("second script for the same avatar and voice", second_seconds, "s", 100))
        print(line("peak memory of the worker and its children", max(watch.peak, again.peak) / 1e9, "GB", 4))
        house.stop()


if __name__ == "__main__":
    main()
