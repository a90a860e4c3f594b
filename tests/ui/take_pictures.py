"""Take the pictures of docs/pictures anew: python -m tests.ui.take_pictures

The page is the real one; the person is drawn and the jobs are done by the
FakeWorker, so that the pictures show nobody and come out alike every time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.ui import steps
from tests.ui.conftest import CHROMIUM, FLAGS, free_port

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SCRIPT = {
    "zh-CN": "大家好，我是小美的数字分身。[停1秒]\n今天想和大家聊三件小事。第一件，怎么用一段视频，做出会说话的自己。",
    "en": "Hello, I am Mei's digital double. [1s]\nToday I have three things to tell you.",
}
# Language, width in pixels, colours, and which pictures to keep.
LOOKS = (
    ("zh-CN", 1280, "light", ("avatar", "voice", "script", "render")),
    ("en", 1280, "light", ("avatar", "render")),
    ("en", 390, "dark", ("render",)),
)
NAMES = {"zh-CN": "小美", "en": "Mei"}


def walk(page: Any, language: str, take: Any) -> None:
    """Go through the wizard, taking pictures on the way."""
    from tests.ui.fakes import talking

    page.set_input_files(
        "#avatar-file input[type=file]", {"name": "me.mp4", "mimeType": "video/mp4", "buffer": talking(2.0)}
    )
    page.wait_for_selector("#avatar-report .fs-box")
    page.fill("#avatar-name input, #avatar-name textarea", NAMES[language])
    page.check("#avatar-consent input")
    take("avatar")
    steps.make_avatar(page, NAMES[language])
    page.click("#avatar-next")
    page.wait_for_selector("#voice-found audio")
    steps.clone_voice(page, NAMES[language])
    take("voice")
    page.click("#voice-next")
    steps.write_script(page, SCRIPT[language])
    take("script")
    page.click("#script-next")
    page.click("#render-start")
    steps.plays(page, "#render-result video")
    take("render")


def main() -> None:
    """Chinese and English at a desk, English in the dark on a phone."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from playwright.sync_api import sync_playwright

    from modules.jobs.studio import Studio
    from modules.settings import Settings
    from modules.ui import app
    from tests.ui.fakes import FakeWorker

    OUTPUT.mkdir(parents=True, exist_ok=True)
    for language, width, scheme, wanted in LOOKS:
        with TemporaryDirectory() as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "tmp")
            settings = Settings(data_dir=Path(folder) / "data", port=free_port())
            studio = Studio(settings)
            blocks = app.build(studio, settings)
            with FakeWorker(studio, seconds=3.0), sync_playwright() as driver:
                blocks.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(settings))
                chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = chromium.new_page(locale=language, viewport={"width": width, "height": 800}, color_scheme=scheme)

                def take(
                    name: str, page: Any = page, look: str = f"{language}-{width}", wanted: Sequence[str] = wanted
                ) -> None:
                    if name in wanted:
                        page.wait_for_timeout(800)
                        page.screenshot(path=OUTPUT / f"{name}-{look}.png", full_page=True)

                page.goto(f"http://127.0.0.1:{settings.port}/")
                page.wait_for_selector("#shelf-avatar .fs-empty")
                walk(page, language, take)
                chromium.close()
            blocks.close()


if __name__ == "__main__":
    main()
