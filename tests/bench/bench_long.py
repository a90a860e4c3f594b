"""Memory, disk and sync of 20 s against 10 min of output: python -m tests.bench.bench_long [VIDEO] [SECONDS]

The long script repeats the short one, so that only the length differs.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

import av

from modules import media
from tests.bench.common import MEDIA, SCRIPT_A, Watch, avatar_and_voice, line, studio


class Disk:
    """The largest total of the files in a folder, looked at ten times a second."""

    def __init__(self, folder: Path) -> None:
        self.peak = 0
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            total = 0
            for file in self._folder.rglob("*"):
                try:
                    total += file.stat().st_size if file.is_file() else 0
                except OSError:
                    continue
            self.peak = max(self.peak, total)


def main() -> None:
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else MEDIA / "talk_man_20s.mp4"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    with tempfile.TemporaryDirectory() as folder:
        house = studio(Path(folder))
        avatar, voice = avatar_and_voice(Watch(house), video)
        short_watch, long_watch = Watch(house), Watch(house)
        short = short_watch.run("render", avatar=avatar, voice=voice, script=SCRIPT_A)
        script = "\n".join([SCRIPT_A] * max(1, round(seconds / short["seconds"])))
        stated = house.disk_needed(avatar, house.estimate(script)["seconds"])["needed_bytes"]
        with Disk(Path(folder) / "jobs") as disk:
            long = long_watch.run("render", avatar=avatar, voice=voice, script=script)
        film = house.file(long["job"], long["files"]["video"])
        with av.open(str(film)) as container:
            last = max(float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None)
        sound = len(media.read_sound(film, 24000)) / 24000
        for name, made, seen in (("short", short, short_watch), ("long", long, long_watch)):
            print(f"{name}: {made['seconds']:.1f} s, peak {seen.peak / 1e9:.2f} GB")
        print(f"{long_watch.stages['stage.render']:.0f} s to render the long one")
        print(line("memory, long against short", long_watch.peak / short_watch.peak, "ratio", 1.1))
        print(line("disk used against disk stated", disk.peak / stated, "ratio", 1.0))
        print(line("end of sound against end of picture", abs(sound - last - 0.04) * 25, "frames", 1))
        print(line("length of picture against frames asked", abs(last + 0.04 - long["seconds"]) * 25, "frames", 0.5))
        house.stop()


if __name__ == "__main__":
    main()
