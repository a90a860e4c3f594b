"""A real page in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# As webui.py does: of this process alone, for the workers inherit the environment.
constants.HF_HUB_OFFLINE = True

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
PATIENCE_MS = 20_000


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One chromium for all tests; each test opens its own, empty profile in it."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """visit(url, locale='zh-CN', width=1280): a page in a browser profile of its own.

    At the end no page may have thrown an error or asked anybody but this machine for anything.
    """
    contexts: list[Any] = []
    faults: list[str] = []

    def watch(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            faults.append(f"asked {request.url}")

    def open_page(url: str, locale: str = "zh-CN", width: int = 1280) -> Any:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 900}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", watch)
        page.goto(url)
        # The first answers of the server have arrived: the page can be used.
        page.wait_for_selector("#shelf-avatar .fs-empty, #shelf-avatar .fs-cards", state="attached")
        page.wait_for_function("window.fenshenRestored")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


@dataclass
class Site:
    """A served page whose jobs a FakeWorker does."""

    url: str
    studio: Any
    worker: Any


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The page on an empty data folder."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "tmp"))
    from modules.jobs.studio import Studio
    from modules.settings import Settings
    from modules.ui import app
    from tests.ui.fakes import FakeWorker, pretend_machine

    settings = Settings(data_dir=tmp_path / "my data 数据", models_dir=tmp_path / "models", port=free_port())
    pretend_machine(settings.data_dir)
    studio = Studio(settings)
    blocks = app.build(studio, settings)
    with FakeWorker(studio, seconds=0.6) as worker:
        blocks.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(settings))
        yield Site(f"http://127.0.0.1:{settings.port}/", studio, worker)
        blocks.close()
