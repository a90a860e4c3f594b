"""The whole way through the real page with the real worker and the real engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from modules import media, weights
from modules.progress import Progress
from modules.voice_clone import registry
from modules.voice_clone.base import EnrolledVoice
from modules.voice_clone.builtin.packs import voice_packs
from modules.voice_clone.builtin.voice import LearntVoice
from tests.ui import steps
from tests.ui.conftest import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
STEP_MS = 240_000
SPOKEN = "今天的天气非常好，我们一起去公园里走一走。路边的花都开了，孩子们在草地上放风筝，大家都很高兴。"
SCRIPT = "大家好，这是我的数字分身。[停0.5秒]It speaks English, too."

pytestmark = pytest.mark.slow


class Server:
    """webui.py as a user starts it, on a data folder of its own; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until the page answers."""
        log = self._folder / "webui.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "webui.py", "--port", str(self._port), "--data-dir", str(self._folder / "data")],
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(lambda: self._ended() or self._answers(), 60)
        except TimeoutError:
            pytest.fail(f"the page does not answer:\n{log.read_text()}")
        if self._ended():
            pytest.fail(f"the page has ended:\n{log.read_text()}")

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=5).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """As if the power went off for the page."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running studio."""
    running = Server(tmp_path)
    running.start()
    yield running
    running.kill()


@dataclass(frozen=True)
class Material:
    """A video of a talking face, and a clip of somebody's speech where the video has none that can be understood."""

    video: Path
    speech: Path | None


@pytest.fixture
def material(request: pytest.FixtureRequest, shared_media: Path | None, tmp_path: Path) -> Material:
    """A real clip where there is one, else a drawn face and a sentence in one of the shipped voices."""
    if shared_media is not None:
        return Material(shared_media / "talk_woman_10s.mp4", None)
    folder = tmp_path / "shipped voice"
    folder.mkdir()
    weights.ensure(ROOT / "models", ("kokoro-82m",), Progress())
    LearntVoice(tuple(map(float, voice_packs().timbres()[0])), 191.0).save(folder)
    engine = registry.create("builtin", ROOT / "models", threads=2)
    said = media.collect(engine.speak(EnrolledVoice("builtin", folder), SPOKEN, "zh", {}))
    engine.unload()
    media.write_wav(folder / "clip.wav", said.samples, said.sample_rate)
    return Material(request.getfixturevalue("talking_clip"), folder / "clip.wav")


def test_from_a_video_to_the_finished_result(
    server: Server, visit: Callable[..., Any], material: Material, tmp_path: Path
) -> None:
    page = visit(server.url)
    page.set_default_timeout(STEP_MS)
    steps.offer_video(page, material.video)
    assert page.query_selector("#avatar-report .fs-second.fs-is-good")
    steps.make_avatar(page, "端到端 🌸 test")
    page.click("#avatar-next")
    page.wait_for_selector("#job-extract .fs-box, #voice-found audio")  # the video's voice, without being asked for
    if material.speech is not None:
        page.check("#voice-source input[value=clip]")
        page.set_input_files("#voice-file input[type=file]", str(material.speech))
    steps.clone_voice(page, "端到端的声音")
    assert steps.plays(page, "#voice-found audio") and steps.plays(page, "#voice-made audio")
    page.click("#voice-next")
    steps.write_script(page, SCRIPT)
    page.click("#listen-one")
    assert steps.plays(page, "#script-heard audio")

    page.click("#script-next")
    page.click("#render-preview")
    assert steps.plays(page, "#preview-result video")

    # A cancel takes effect in the middle of the work, and the job can go on.
    page.click("#render-start")
    page.wait_for_selector("#job-render .fs-bar:not([aria-valuenow='0'])")
    page.click("#job-render [data-do=cancel]")
    page.wait_for_selector("#job-render [data-do=resume]")
    page.click("#job-render [data-do=resume]")
    page.wait_for_selector("#job-render .fs-bar")

    # The other language, and a reload in the middle: the page finds the job again.
    page.click("a[data-language=en]")
    page.wait_for_selector("#job-render .fs-bar, #render-result video")
    assert "Let it speak" in page.inner_text("#render-heading")
    page.reload()
    page.wait_for_selector("#job-render .fs-bar, #render-result video")

    # The page's server dies and comes back: the page says so, and goes on by itself.
    server.kill()
    page.wait_for_selector(".fs-lost")
    server.start()
    page.wait_for_selector(".fs-lost", state="detached")
    assert steps.plays(page, "#render-result video")

    saved = {}
    for ending in ("mp4", "wav", "srt"):
        with page.expect_download() as download:
            page.click(f"#render-result a[download$='.{ending}']")
        saved[ending] = tmp_path / f"saved.{ending}"
        download.value.save_as(saved[ending])
    footage = media.probe(saved["mp4"])
    assert footage.kind == "video" and footage.has_sound
    assert len(media.read_sound(saved["wav"], 24000)) / 24000 == pytest.approx(footage.duration, abs=0.1)
    assert "数字分身" in saved["srt"].read_text(encoding="utf-8")

    page.click("#render-next")
    page.wait_for_selector(".fs-job-row .fs-done")
