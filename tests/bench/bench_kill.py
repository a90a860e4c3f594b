"""kill -9 of worker and page at random moments of a render: python -m tests.bench.bench_kill [VIDEO] [KILLS]

The page is started again after each kill, as a user would; the render must end
with the length of one that nobody disturbed, and nothing else may be left behind.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from modules.jobs.supervisor import kill_tree
from modules.settings import ROOT
from tests.bench.common import MEDIA, SCRIPT_A, Watch, avatar_and_voice, line, studio
from tests.waiting import wait_for

PORT = 7899


def page(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "webui.py", "--data-dir", str(folder), "--port", str(PORT)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else MEDIA / "talk_woman_10s.mp4"
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    dice = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        house = studio(folder)
        avatar, voice = avatar_and_voice(Watch(house), video)
        whole = Watch(house).run("render", avatar=avatar, voice=voice, script=SCRIPT_A)
        house.stop()
        job_id = house.submit("render", avatar=avatar, voice=voice, script=SCRIPT_A)
        done = 0
        for _ in range(kills):
            web = page(folder)
            time.sleep(dice.uniform(4.0, 14.0))  # it is killed at any moment
            if house.job(job_id).state == "done":
                kill_tree(psutil.Process(web.pid))
                web.wait()
                break
            sign = house.store.worker()
            if sign is not None and psutil.pid_exists(sign.pid):
                kill_tree(psutil.Process(sign.pid))
            kill_tree(psutil.Process(web.pid))
            web.wait()
            done += 1
            print(f"kill {done}: at {house.job(job_id).progress:.0%} {house.job(job_id).stage}")
        web = page(folder)
        wait_for(lambda: house.job(job_id).state not in ("queued", "running"), 1800)
        job = house.job(job_id)
        wait_for(lambda: not (folder / "jobs" / job_id / "work").exists(), 60)
        kill_tree(psutil.Process(web.pid))
        web.wait()
        assert job.state == "done" and job.result is not None, (job.state, job.error)
        left = [p.relative_to(folder) for p in (folder / "jobs" / job_id).rglob("*") if p.is_file()]
        expected = {f"output/{file}" for file in job.result["files"].values()}
        orphans = [*folder.rglob("*.part*")] + [p for p in left if str(p.relative_to(f"jobs/{job_id}")) not in expected]
        print(f"{done} kills; files of the job: {[str(p) for p in left]}")
        print(line("difference in length", abs(job.result["frames"] - whole["frames"]), "frames", 0))
        print(line("orphan files", len(orphans), "files", 0))


if __name__ == "__main__":
    main()
