"""What a person does on the page, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_tab(page: Any, name: str) -> None:
    """Go to a step by its tab."""
    page.click(f"#tab-{name}-button")
    page.wait_for_selector(f"#{name}-heading h2")


def offer_video(page: Any, clip: Path) -> None:
    """Drop a video into the first step and wait for its report."""
    page.set_input_files("#avatar-file input[type=file]", str(clip))
    page.wait_for_selector("#avatar-report .fs-box")


def make_avatar(page: Any, name: str) -> None:
    """Agree, name and prepare what has been checked."""
    page.fill("#avatar-name input, #avatar-name textarea", name)
    page.check("#avatar-consent input")
    page.click("#avatar-make")
    page.wait_for_selector("#avatar-made .fs-good")


def clone_voice(page: Any, name: str) -> None:
    """Agree, name and clone what has been extracted."""
    page.wait_for_selector("#voice-found audio")
    page.fill("#voice-name input, #voice-name textarea", name)
    page.check("#voice-consent input")
    page.click("#voice-make")
    page.wait_for_selector("#voice-made audio")


def write_script(page: Any, text: str) -> None:
    """Type a script and wait until its length is shown."""
    page.fill("#script-text textarea", text)
    page.wait_for_selector("#script-length .fs-facts")


def plays(page: Any, player: str) -> bool:
    """Whether an <audio> or <video> really plays: its clock advances and it has a length."""
    page.wait_for_selector(player)
    result: bool = page.evaluate(
        """async (selector) => {
          const player = document.querySelector(selector);
          player.muted = true;
          await player.play();
          await new Promise((done) => setTimeout(done, 700));
          const played = player.currentTime;
          player.pause();
          return played > 0.2 && player.duration > 0.5 && Number.isFinite(player.duration);
        }""",
        player,
    )
    return result


def toast(page: Any) -> str:
    """The sentence that appeared at the edge of the page."""
    page.wait_for_selector("[data-testid=toast-body]")
    return str(page.inner_text("[data-testid=toast-body]"))
