"""How fast a cancel takes effect in every stage of the main way: python -m tests.bench.bench_cancel [VIDEO]

Each job is cancelled in each of its stages, then resumed to its end: nothing may be lost.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from modules.jobs.studio import Studio
from tests.bench.common import MEDIA, SCRIPT_A, line, studio
from tests.waiting import wait_for

STAGES = {
    "check_footage": ("stage.check", "stage.track"),
    "prepare_avatar": ("stage.prepare",),
    "extract_voice": ("stage.extract",),
    "clone_voice": ("stage.clone",),
    "speak": ("stage.speak",),
    "render": ("stage.speak", "stage.render"),
}


def ended(house: Studio, job_id: str) -> bool:
    return house.job(job_id).state not in ("queued", "running")


def cancelled_in(house: Studio, job_id: str, stage: str) -> float | None:
    """Seconds that a cancel in ``stage`` took, or None when the job was through that stage too quickly."""
    wait_for(lambda: house.job(job_id).stage == stage or ended(house, job_id), 1800)
    time.sleep(0.7)  # well inside the stage, where the long native calls are
    if ended(house, job_id):
        return None
    asked = time.monotonic()
    house.cancel(job_id)
    wait_for(lambda: ended(house, job_id))
    return time.monotonic() - asked if house.job(job_id).state == "cancelled" else None


def main() -> None:
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else MEDIA / "talk_woman_10s.mp4"
    with tempfile.TemporaryDirectory() as folder:
        house = studio(Path(folder))
        worst = 0.0

        def whole(kind: str, **params: Any) -> dict[str, Any]:
            nonlocal worst
            job_id = house.submit(kind, **params)
            for stage in STAGES[kind]:
                seconds = cancelled_in(house, job_id, stage)
                print(f"      {kind:15s} {stage:14s} {'too quick' if seconds is None else f'{seconds:.2f} s'}")
                worst = max(worst, seconds or 0.0)
                if house.job(job_id).state == "cancelled":
                    house.resume(job_id)
            wait_for(lambda: ended(house, job_id), 1800)
            job = house.job(job_id)
            assert job.state == "done" and job.result is not None, (kind, job.state, job.error)
            return {"job": job_id, **job.result}

        upload = house.accept(video)
        whole("check_footage", upload=upload)
        consent = house.consent("face", upload, "en")
        avatar = whole("prepare_avatar", upload=upload, name="bench", consent=consent)["avatar"]
        found = whole("extract_voice", avatar=avatar)
        voice = whole(
            "clone_voice",
            extraction=found["job"],
            name="bench",
            transcript=found["transcript"],
            language=found["language"],
            consent=house.consent("voice", found["job"], "en"),
        )["voice"]
        whole("speak", voice=voice, text=SCRIPT_A)
        whole("render", avatar=avatar, voice=voice, script=SCRIPT_A)
        print(line("longest time from cancel to cancelled", worst, "s", 1))
        house.stop()


if __name__ == "__main__":
    main()
