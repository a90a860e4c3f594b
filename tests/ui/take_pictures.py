"""Take the pictures of docs/pictures anew: python -m tests.ui.take_pictures

The page is the real one; the person is drawn and the jobs are done by the
FakeWorker, so that the pictures show nobody and come out alike every time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tests.ui import steps
from tests.ui.conftest import CHROMIUM, FLAGS, free_port

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SCRIPT = {
    "zh-CN": "大家好，我是小美的数字分身。[停1秒]\n今天想和大家聊三件小事。第一件，怎么用一段视频，做出会说话的自己。",
    "en": "Hello, I am Mei's digital double. [1s]\nToday I have three things to tell you.",
}
# Language, width in pixels, colours, and which pictures to keep.
LOOKS = (
    ("zh-CN", 1280, "light", ("avatar", "voice", "script", "render", "models", "engine", "training")),
    ("en", 1280, "light", ("avatar", "render", "models", "engine", "training")),
    ("en", 390, "dark", ("render", "models")),
)
COLOURS = 256  # of a picture: enough for pages, at a third of the bytes
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


def walk_engines(page: Any, take: Any) -> None:
    """The Models tab with a paused download, a ready engine and a damaged one; then an engine's controls and frame."""
    steps.open_tab(page, "models")
    page.wait_for_selector("[data-engine='lips.wav2lip256'] .fs-error")
    take("models")
    steps.open_tab(page, "render")
    page.wait_for_selector("#option-musetalk15-parsing")
    page.click("#engine-controls [data-do=frame]")
    page.wait_for_function("document.querySelector('#frame-result img')?.naturalWidth > 0")
    take("engine")


def walk_training(page: Any, take: Any) -> None:
    """The avatar's own model while it is trained, some way after its beginning."""
    steps.open_tab(page, "avatar")
    page.click("#training-start")
    page.wait_for_function("document.querySelector('#training-sample img')?.naturalWidth > 0")
    page.wait_for_function("document.querySelector('#job-train .fs-bar')?.ariaValueNow >= 30")
    take("training")


def pretend_engines(studio: Any) -> None:
    """A machine with a card, some weights there, and what a render has measured."""
    from modules.jobs import speeds
    from tests.ui.fakes import CARD, pretend_machine, pretend_weights

    settings = studio.settings
    pretend_machine(settings.data_dir, CARD)
    models = settings.models_dir
    pretend_weights(models, "musetalk-1.5", "sd-vae-ft-mse", "whisper-tiny", "face-parsing", "wav2lip-256")
    (models / "wav2lip-256" / "wav2lipv2.pth").write_bytes(b"half")
    part = models / ".downloads" / "wav2lip-384" / "wav2lip384.pth.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as hollow:
        hollow.truncate(297_000_000)
    speeds.note(settings.data_dir, "musetalk15", 750, 9.6, 1080, 1920)


def main() -> None:
    """Chinese and English at a desk, English in the dark on a phone."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from playwright.sync_api import sync_playwright

    from modules.jobs.studio import Studio
    from modules.settings import Settings
    from modules.ui import app
    from tests.ui.fakes import FakeWorker, pretend_machine

    OUTPUT.mkdir(parents=True, exist_ok=True)
    for language, width, scheme, wanted in LOOKS:
        with TemporaryDirectory() as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "tmp")
            settings = Settings(data_dir=Path(folder) / "data", models_dir=Path(folder) / "models", port=free_port())
            studio = Studio(settings)
            pretend_machine(settings.data_dir)
            blocks = app.build(studio, settings)
            with FakeWorker(studio, seconds=3.0) as worker, sync_playwright() as driver:
                blocks.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(settings))
                chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = chromium.new_page(locale=language, viewport={"width": width, "height": 800}, color_scheme=scheme)

                def take(
                    name: str, page: Any = page, look: str = f"{language}-{width}", wanted: Sequence[str] = wanted
                ) -> None:
                    if name in wanted:
                        page.wait_for_timeout(800)
                        # All of a phone's long list of models would be a ribbon.
                        whole = name != "models" or not look.endswith("-390")
                        shot = Image.open(BytesIO(page.screenshot(full_page=whole)))
                        shot.convert("RGB").quantize(COLOURS).save(OUTPUT / f"{name}-{look}.png", optimize=True)

                page.goto(f"http://127.0.0.1:{settings.port}/")
                page.wait_for_selector("#shelf-avatar .fs-empty")
                walk(page, language, take)
                pretend_engines(studio)
                walk_engines(page, take)
                worker.seconds = 24.0
                walk_training(page, take)
                chromium.close()
            blocks.close()


if __name__ == "__main__":
    main()
