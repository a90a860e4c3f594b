"""The panel that trains a model of an avatar's own, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.errors import StudioError
from modules.jobs import lessons
from tests.ui import steps
from tests.ui.conftest import Site
from tests.ui.fakes import CARD, pretend_machine, pretend_weights, talking
from tests.waiting import wait_for

Visit = Callable[..., Any]
ULTRALIGHT = "#models-list [data-engine='lips.ultralight']"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(talking(1.0))
    return path


def sample(page: Any) -> str:
    """The name of the picture that is shown."""
    page.wait_for_function("document.querySelector('#training-sample img')?.naturalWidth > 0")
    return str(page.get_attribute("#training-sample img", "src")).rpartition("/")[2]


def test_train_stop_resume_and_use(site: Site, visit: Visit, clip: Path) -> None:
    pretend_weights(site.studio.settings.models_dir, "whisper-base")
    page = visit(site.url)
    assert not page.is_visible("#training")
    steps.offer_video(page, clip)
    steps.make_avatar(page, "小美")
    page.wait_for_selector("#training-start")
    assert not page.is_visible("#training-curve")
    assert "没有可用的显卡" in page.inner_text("#training-hint")
    assert page.input_value("#training-minutes input[type=number]") == "60"

    # Not trained yet: both pickers say so and where to do it.
    steps.open_tab(page, "models")
    assert page.inner_text(f"{ULTRALIGHT} .fs-chip") == "需要先训练"
    steps.open_tab(page, "render")
    page.click("#render-engines summary")
    assert "需要先训练" in page.inner_text("#render-engines [data-id=ultralight]")
    page.click("#render-engines [data-id=ultralight]")
    page.wait_for_selector("#training-start")

    site.worker.seconds = 60.0
    page.fill("#training-minutes input[type=number]", "30")
    page.click("#training-start")
    page.wait_for_selector("#training-start", state="hidden")
    first = sample(page)
    page.wait_for_selector("#training-curve canvas, #training-curve svg")
    page.wait_for_function(f"!document.querySelector('#training-sample img').src.endsWith('{first}')")
    assert "%" in page.inner_text("#job-train")
    job = site.studio.jobs(kinds=["train_avatar"])[0]
    assert job.params["minutes"] == 30 and job.title == "小美"

    # A page that is opened in another browser follows it as well, and so does one that is loaded again.
    other = visit(site.url, locale="en-GB")
    other.wait_for_selector("#job-train [data-do=cancel]")
    assert other.inner_text("#job-train [data-do=cancel]") == "Stop"
    page.reload()
    page.wait_for_selector("#job-train [data-do=cancel]")
    page.click("#job-train [data-do=cancel]")
    page.wait_for_selector("#job-train [data-do=resume]")
    assert "已训练" in page.inner_text("#training-state")
    learnt = lessons.trained_seconds(site.studio.avatars.list()[0]) or 0.0
    assert not page.is_visible("#training-start")
    page.click("#job-train [data-do=resume]")
    page.wait_for_selector("#job-train [data-do=cancel]")
    site.worker.seconds = 0.1
    page.wait_for_selector("#training-start", state="visible")
    assert site.studio.job(job.id).state == "done"
    avatar = site.studio.avatars.list()[0]
    assert (lessons.trained_seconds(avatar) or 0.0) > learnt > 0
    assert page.inner_text("#training-start") == "继续训练"

    # It can be chosen now, and is what a render is told.
    steps.open_tab(page, "models")
    page.wait_for_selector(f"{ULTRALIGHT} .fs-note.fs-good")
    assert "小美" in page.inner_text(ULTRALIGHT)
    steps.open_tab(page, "render")
    page.click("#render-engines summary")
    page.click("#render-engines [data-id=ultralight]")
    page.wait_for_selector("#option-ultralight-batch")
    page.click("#engine-controls [data-do=frame]")
    page.wait_for_selector("#frame-result img")
    assert site.studio.jobs(kinds=["preview_frame"])[0].params["engine"] == "ultralight"

    # Deleted: asked first, and then it is as before.
    steps.open_tab(page, "avatar")
    page.click("#training-state [data-do=delete]")
    page.click("#training-state [data-do=delete-sure]")
    page.wait_for_function("document.querySelector('#training-start').innerText === '开始训练'")
    assert not avatar.engine_folder("ultralight").exists() and not page.is_visible("#training-sample img")
    with pytest.raises(StudioError, match="engine_not_trained"):
        site.studio.submit("preview_frame", avatar=avatar.id, engine="ultralight")


def test_a_failed_training_says_why_and_a_card_needs_minutes(site: Site, visit: Visit, clip: Path) -> None:
    pretend_machine(site.studio.settings.data_dir, CARD)
    site.worker.refuse["train_avatar"] = StudioError("training_silent")
    page = visit(site.url, locale="en-GB")
    steps.offer_video(page, clip)
    steps.make_avatar(page, "Mei")
    page.wait_for_selector("#training-start")
    assert page.input_value("#training-minutes input[type=number]") == "10"
    page.click("#training-start")
    page.wait_for_selector("#job-train .fs-error")
    assert "Hardly anybody speaks" in page.inner_text("#job-train .fs-error")
    wait_for(lambda: page.is_visible("#training-start"), 10)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
