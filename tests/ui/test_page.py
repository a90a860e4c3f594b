"""The page in a browser, with a worker that needs no engines."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from modules.errors import StudioError
from tests.ui import steps
from tests.ui.conftest import Site
from tests.ui.fakes import ECHOING, talking
from tests.waiting import wait_for

Visit = Callable[..., Any]
NAME = "小美 🌸 <b>粗</b> & ../x"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A small video under a name that is no path of ours."""
    path = tmp_path / "我 的 ..%2f视频 🎬.mp4"
    path.write_bytes(talking(1.0))
    return path


def test_the_whole_wizard(site: Site, visit: Visit, clip: Path) -> None:
    page = visit(site.url)
    steps.offer_video(page, clip)
    assert page.locator("#avatar-report .fs-second").count() == 32

    # Without the tick nothing is made, and one sentence says so.
    page.fill("#avatar-name input, #avatar-name textarea", NAME)
    page.click("#avatar-make")
    assert "同意" in steps.toast(page)
    assert not site.studio.jobs(kinds=["prepare_avatar"])

    steps.make_avatar(page, NAME)
    assert site.studio.avatars.list()[0].name == NAME
    assert page.inner_text("#shelf-avatar .fs-card-text b") == NAME  # as text, not as HTML

    page.click("#avatar-next")
    steps.clone_voice(page, NAME)  # extraction started by itself
    assert site.studio.voices.list()[0].transcript == "今天天气不错。"
    page.click("#voice-say")
    page.wait_for_selector("#voice-heard audio")

    page.click("#voice-next")
    steps.write_script(page, "第一句。第二句。")
    page.evaluate("document.querySelector('#script-text textarea').setSelectionRange(4, 4)")
    page.click("#pause-1")
    page.wait_for_function("document.querySelector('#script-text textarea').value === '第一句。[停1秒]第二句。'")
    page.evaluate("document.querySelector('#script-text textarea').setSelectionRange(2, 2)")
    page.click("#listen-one")
    page.wait_for_selector("#script-heard audio")
    assert site.studio.jobs(kinds=["speak"])[0].params["text"] == "第一句。"

    page.click("#script-next")
    page.wait_for_selector("#render-summary .fs-facts")
    page.click("#render-preview")
    assert steps.plays(page, "#preview-result video")
    page.click("#render-start")
    assert steps.plays(page, "#render-result video")
    with page.expect_download() as download:
        page.click("#render-result a[download$='.srt']")
    assert "hello" in Path(download.value.path()).read_text()
    render = site.studio.jobs(kinds=["render"])[0]
    assert (
        render.params["script"] == "第一句。[停1秒]第二句。" and render.params["label"] and not render.params["preview"]
    )

    page.click("#render-next")
    page.click(f"[data-job='{render.id}'] [data-do=open]")
    page.wait_for_selector(f"[data-job='{render.id}'] video")
    page.click(f"[data-job='{render.id}'] [data-do=delete]")
    page.click(f"[data-job='{render.id}'] [data-do=delete-sure]")
    page.wait_for_selector(f"[data-job='{render.id}']", state="detached")
    assert not site.studio.folder(render.id).exists()


def test_language_follows_the_browser_and_then_the_switch(site: Site, visit: Visit) -> None:
    page = visit(site.url, locale="en-GB")
    assert page.url.endswith("/en")
    seen = ""
    for tab in ("avatar", "voice", "script", "render", "projects", "models"):
        steps.open_tab(page, tab)
        seen += page.inner_text("body")
        hints = page.eval_on_selector_all("[placeholder]", "all => all.map((one) => one.placeholder)")
        seen += " ".join(hints)
    assert not re.search(r"[\u4e00-\u9fff]", seen.replace("简体中文", ""))
    assert not re.search(r"\b(ui|stage|error|check|engine|option|advice)\.[a-z]", seen)

    page.evaluate("localStorage.removeItem('fenshen.tab')")  # as if the switch had come before it was kept
    page.click("a[data-language='zh-CN']")
    page.wait_for_url(site.url)
    page.wait_for_selector("#models-heading h2")  # still the same step
    assert page.inner_text("#tab-avatar-button") == "形象"
    page.goto(site.url + "en")
    page.wait_for_url(site.url)  # the switch is remembered
    steps.open_tab(page, "avatar")
    assert "拖放" in page.inner_text("#avatar-file")


def test_a_reload_finds_the_running_job_and_another_browser_does_not(site: Site, visit: Visit, clip: Path) -> None:
    site.worker.seconds = 6.0
    page = visit(site.url)
    page.set_input_files("#avatar-file input[type=file]", str(clip))
    page.wait_for_selector("#job-check .fs-bar")
    page.reload()
    page.wait_for_selector("#job-check .fs-bar")

    stranger = visit(site.url)
    with stranger.expect_response(lambda answer: "queue/join" in answer.url):
        pass  # it has been asked again
    assert stranger.locator("#job-check .fs-bar").count() == 0

    page.goto("about:blank")  # the tab is closed until the job is done
    wait_for(lambda: site.studio.jobs()[0].state == "done")
    page.goto(site.url)
    page.wait_for_selector("#avatar-report .fs-timeline")
    assert stranger.locator("#avatar-report .fs-timeline").count() == 0


def test_cancel_and_resume(site: Site, visit: Visit, clip: Path) -> None:
    site.worker.seconds = 4.0
    page = visit(site.url)
    page.set_input_files("#avatar-file input[type=file]", str(clip))
    page.wait_for_selector("#job-check .fs-bar")
    page.click("#job-check [data-do=cancel]")
    page.wait_for_selector("#job-check [data-do=resume]")
    assert site.studio.jobs()[0].state == "cancelled"
    page.click("#job-check [data-do=resume]")
    page.wait_for_selector("#avatar-report .fs-timeline")


@pytest.mark.parametrize(("locale", "sentence"), [("zh-CN", "无法读取"), ("en-US", "annot")])
def test_a_refused_footage_is_one_sentence_and_the_page_goes_on(
    site: Site, visit: Visit, clip: Path, locale: str, sentence: str
) -> None:
    site.worker.refuse["check_footage"] = StudioError("media_unreadable", name="a.mp4")
    page = visit(site.url, locale=locale)
    page.set_input_files("#avatar-file input[type=file]", str(clip))
    page.wait_for_selector("#job-check .fs-error")
    assert sentence in page.inner_text("#job-check .fs-error")
    assert page.locator("#job-check [data-do=resume]").count() == 0  # the same file would only be refused again
    site.worker.refuse.clear()
    page.click("#avatar-file [aria-label='清除'], #avatar-file [aria-label='Clear']")
    page.wait_for_selector("#job-check .fs-error", state="detached")
    steps.offer_video(page, clip)


def test_an_empty_file_is_refused_at_once(site: Site, visit: Visit, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    page = visit(site.url)
    page.set_input_files("#avatar-file input[type=file]", str(empty))
    assert "0" in steps.toast(page)
    assert not site.studio.jobs()


def test_of_several_people_the_chosen_one_is_prepared(site: Site, visit: Visit, clip: Path) -> None:
    site.worker.people = 2
    page = visit(site.url)
    steps.offer_video(page, clip)
    assert page.locator("#avatar-people img").count() == 2
    page.click("#avatar-people [data-id='1']")
    page.wait_for_selector("#avatar-people .fs-card:nth-child(2).fs-chosen")
    steps.make_avatar(page, "B")
    assert site.studio.jobs(kinds=["prepare_avatar"])[0].params["person"] == 1


def test_rename_and_delete_in_the_library(site: Site, visit: Visit, clip: Path) -> None:
    page = visit(site.url)
    steps.offer_video(page, clip)
    steps.make_avatar(page, "old")
    page.click("#shelf-avatar [data-do=rename]")
    page.fill("#rename-avatar input, #rename-avatar textarea", "新名字")
    page.click("#save-avatar")
    page.wait_for_selector("#shelf-avatar b[title='新名字']")
    page.click("#shelf-avatar [data-do=delete]")
    page.wait_for_selector("#sure-avatar .fs-warning")
    page.click("#delete-avatar")
    page.wait_for_selector("#shelf-avatar .fs-empty")
    assert site.studio.avatars.list() == []


def test_a_script_too_long_or_empty_is_said_in_a_sentence(site: Site, visit: Visit) -> None:
    page = visit(site.url)
    steps.open_tab(page, "script")
    page.fill("#script-text textarea", "长" * 100_000)
    page.wait_for_selector("#script-length .fs-error")
    page.fill("#script-text textarea", "……。")
    page.wait_for_selector("#script-length .fs-error")
    page.fill("#script-text textarea", "")
    page.wait_for_selector("#script-length .fs-empty")
    page.click("#listen-all")
    assert "声音" in steps.toast(page)


def test_it_fits_a_phone(site: Site, visit: Visit) -> None:
    for locale in ("zh-CN", "en-US"):
        page = visit(site.url, locale=locale, width=390)
        for tab in ("avatar", "voice", "script", "render", "projects", "models"):
            steps.open_tab(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_was_written_outlives_the_page(site: Site, visit: Visit) -> None:
    page = visit(site.url)
    steps.open_tab(page, "script")
    steps.write_script(page, "写了就不会丢。")
    page.reload()
    page.wait_for_function("document.querySelector('#script-text textarea')?.value === '写了就不会丢。'")
    page.click("a[data-language=en]")
    page.wait_for_url(site.url + "en")
    page.wait_for_function("document.querySelector('#script-text textarea')?.value === '写了就不会丢。'")


def test_only_results_are_served(site: Site) -> None:
    data = site.studio.settings.data_dir
    for path in ("/etc/passwd", str(data / "studio.sqlite3"), str(data / "jobs" / ".." / "studio.sqlite3")):
        answer = httpx.get(f"{site.url}gradio_api/file={quote(path)}", timeout=10)
        assert answer.status_code in (403, 404)


def test_a_recording_from_the_webcam_is_checked(site: Site, visit: Visit) -> None:
    page = visit(site.url)
    page.click("#source-webcam-button")
    page.click("#avatar-webcam button")  # asks for the camera
    page.wait_for_function("document.querySelector('#avatar-webcam video')?.videoWidth > 0")
    page.click("#avatar-webcam .capture-button")
    camera = "document.querySelector('#avatar-webcam video').currentTime"
    begun = page.evaluate(camera)
    page.wait_for_function(f"{camera} > {begun + 2}")
    page.click("#avatar-webcam .capture-button")
    page.wait_for_selector("#avatar-report .fs-box")
    source = next((site.studio.settings.data_dir / "uploads").glob("*/source"))
    assert source.stat().st_size > 1000


def test_a_voice_from_a_clip_of_its_own_stays_chosen(site: Site, visit: Visit, clip: Path) -> None:
    page = visit(site.url)
    steps.offer_video(page, clip)
    steps.make_avatar(page, "A")
    steps.open_tab(page, "voice")
    page.wait_for_selector("#voice-found audio")
    page.check("#voice-source input[value=clip]")
    page.set_input_files("#voice-file input[type=file]", str(clip))
    page.wait_for_selector("#job-extract .fs-bar")
    page.wait_for_selector("#voice-found audio")
    own = site.studio.jobs(kinds=["extract_voice"])[0]
    assert "upload" in own.params
    steps.open_tab(page, "avatar")
    page.reload()
    page.wait_for_selector("#shelf-avatar .fs-cards", state="attached")
    steps.open_tab(page, "voice")
    steps.clone_voice(page, "B")
    assert site.studio.jobs(kinds=["clone_voice"])[0].params["extraction"] == own.id


def test_a_room_can_be_taken_away_where_there_is_one(site: Site, visit: Visit, clip: Path) -> None:
    page = visit(site.url)
    steps.offer_video(page, clip)
    steps.make_avatar(page, "A")
    for name, has_room in (("dry", False), (ECHOING, True)):
        steps.open_tab(page, "voice")
        steps.clone_voice(page, name)
        page.wait_for_selector(f"#shelf-voice .fs-chosen b[title='{name}']")
        steps.open_tab(page, "script")
        page.wait_for_selector("#script-room", state="visible" if has_room else "hidden")
    steps.write_script(page, "今天天气不错。")
    page.fill("#script-room input[type=number]", "0.3")
    page.press("#script-room input[type=number]", "Tab")
    page.click("#listen-one")
    page.wait_for_selector("#script-heard audio")
    assert site.studio.jobs(kinds=["speak"])[0].params["room"] == 0.3
    page.reload()
    page.wait_for_function("document.querySelector('#script-room input[type=number]')?.value === '0.3'")


def test_another_avatar_can_be_taken_for_the_video(site: Site, visit: Visit, clip: Path) -> None:
    page = visit(site.url)
    for name in ("first", "second"):
        steps.offer_video(page, clip)
        steps.make_avatar(page, name)
        page.wait_for_selector("#job-prepare .fs-bar", state="detached")
        page.wait_for_selector(f"#shelf-avatar .fs-chosen b[title='{name}']")
    steps.open_tab(page, "render")
    page.wait_for_function("document.querySelector('#render-avatar input').value === 'second'")
    page.click("#render-avatar input")
    page.click("#render-avatar [role=option]:has-text('first')")
    steps.open_tab(page, "avatar")
    page.wait_for_selector("#shelf-avatar .fs-chosen b[title='first']")


def test_doubtful_sentences_are_shown_and_played_by_one_click(site: Site, visit: Visit) -> None:
    first, second = "All is well here.", "This one was misheard <b>badly</b>."
    job_id = site.studio.store.add("speak", "Two sentences", {"voice": "", "text": f"{first} {second}"})
    page = visit(site.url, locale="en-GB")
    steps.open_tab(page, "projects")
    page.check("#projects-only input[value=all]")
    row = f"[data-job='{job_id}']"
    page.click(f"{row} [data-do=open]")
    page.wait_for_selector(f"{row} .fs-listened li")
    assert page.locator(f"{row} .fs-listened li").count() == 1
    shown = page.inner_text(f"{row} .fs-listened")
    assert second in shown and "<i>something else</i>" in shown and first not in shown  # as text, not as HTML
    page.evaluate(f"document.querySelector(`{row} audio`).muted = true")
    page.click(f"{row} [data-do=seek]")
    page.wait_for_function(f"document.querySelector(`{row} audio`).currentTime > 1.25")
