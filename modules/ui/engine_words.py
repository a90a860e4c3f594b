"""What the page says of an engine, wherever it shows one."""

from __future__ import annotations

from modules.avatar.advice import Advice, fits, usable_card
from modules.avatar.base import LipSyncEngineInfo
from modules.devices import Machine
from modules.jobs.engines import EngineCard
from modules.ui import html
from modules.ui.page import Page

FRAME_RATE = 25
LEVELS = {
    "ready": "good",
    "downloading": "info",
    "queued": "info",
    "broken": "error",
    "partial": "warning",
    "import_only": "warning",
    "missing": "info",
}
COMMERCIAL_LEVELS = {"yes": "good", "unknown": "warning", "no": "warning"}


def title(page: Page, card: EngineCard) -> str:
    """The name of an engine; the studio's own are called so in the page's language."""
    return page.t(f"ui.engine.{card.key}") if card.id == "builtin" else card.title


def state(page: Page, card: EngineCard) -> str:
    """The state of an engine in a word or two."""
    if card.state == "missing" and card.comes_by_itself:
        return page.t("ui.models.state.by_itself")
    return page.t(f"ui.models.state.{card.state}")


def state_chip(page: Page, card: EngineCard) -> str:
    """The same, coloured."""
    return html.chip(state(page, card), LEVELS[card.state])


def commercial_chip(page: Page, card: EngineCard) -> str:
    """May what it makes be sold, in a word or two."""
    return html.chip(page.t(f"ui.models.commercial.{card.commercial}"), COMMERCIAL_LEVELS[card.commercial])


def speed(page: Page, card: EngineCard, machine: Machine | None) -> str:
    """How fast an engine is on this machine: what renders measured, else what can honestly be said before one."""
    if card.measured is not None:
        values = card.measured
        return page.t(
            "ui.models.speed.measured",
            fps=f"{values.frames_per_second:g}",
            times=f"{values.frames_per_second / FRAME_RATE:.1f}",
            width=values.width,
            height=values.height,
        )
    info = card.info
    if info is None or info.gpu_memory_mb == 0:
        return page.t("ui.models.speed.processor")
    if machine is None:
        return page.t("ui.models.speed.looking")
    found = usable_card(machine)
    if found is None:
        light = isinstance(info, LipSyncEngineInfo) and info.light
        return page.t("ui.models.speed.processor" if light else "ui.models.speed.needs_card")
    if isinstance(info, LipSyncEngineInfo) and not fits(info, found):
        return page.t("ui.models.speed.card_small", card=found.name)
    return page.t("ui.models.speed.card", card=found.name)


def why(page: Page, advice: Advice) -> str:
    """The reason of an advice, in one sentence."""
    return page.t(advice.reason, card=advice.card, other=advice.other)
