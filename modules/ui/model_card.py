"""One engine on the Models tab, as HTML."""

from __future__ import annotations

from html import escape

from modules.avatar.base import LipSyncEngineInfo
from modules.devices import Machine
from modules.errors import StudioError
from modules.jobs import engines
from modules.jobs.cards import WeightsCard
from modules.jobs.engines import EngineCard
from modules.ui import engine_words, html, words
from modules.ui.page import ACTIVE, Page

GOING_ON = ("downloading", "queued")


def draw(page: Page, card: EngineCard, machine: Machine | None, opened: bool, doomed: list[WeightsCard] | None) -> str:
    """An engine with all that a user decides by, its state and its buttons.

    opened: with a list of its weights. doomed: weights whose deletion is being asked about, or None.
    """
    title = escape(engine_words.title(page, card))
    about = escape(page.t(f"engine.{card.key}.about"))
    files = _weights(page, card) if opened else ""
    return (
        f'<div class="fs-box fs-model" data-engine="{escape(card.key)}">'
        f'<div class="fs-job-head"><b>{title}</b>{_state(page, card)}</div><p>{about}</p>'
        f"{html.facts(_facts(page, card, machine))}{_commercial(page, card)}{_progress(page, card)}{_notes(page, card)}"
        f"{files}{_question(page, card, doomed)}{html.row(*_buttons(page, card, opened))}</div>"
    )


def _trained(page: Page, card: EngineCard) -> list[str] | None:
    """Names of the avatars that an engine has been trained for; None for an engine that needs no training."""
    if not isinstance(card.info, LipSyncEngineInfo) or not card.info.trained:
        return None
    return [avatar.name for avatar in page.studio.avatars.list() if engines.trained(avatar, card.id)]


def _state(page: Page, card: EngineCard) -> str:
    if card.usable and _trained(page, card) == []:
        return html.chip(page.t("ui.engine.untrained"), "warning")
    return engine_words.state_chip(page, card)


def _facts(page: Page, card: EngineCard, machine: Machine | None) -> list[tuple[str, str]]:
    t = page.t
    rows = []
    pixels = getattr(card.info, "face_size", 0)
    if card.kind == "lips":
        rows.append(
            (t("ui.models.face"), t("ui.models.face.pixels", pixels=pixels) if pixels else t("ui.models.face.own"))
        )
    if card.kind != "score":
        rows.append((t("ui.models.speed"), engine_words.speed(page, card, machine)))
    if card.need.main_mb:
        memory = words.size(card.need.main_mb * 1e6)
        with_card = t("ui.models.memory.card", size=words.size(card.need.gpu_mb * 1e6)) if card.need.gpu_mb else ""
        rows.append((t("ui.models.memory"), memory + with_card))
    if card.weights:
        here = t("ui.models.disk.here", size=words.size(card.bytes)) if 0 < card.bytes < card.size else ""
        rows.append((t("ui.models.disk"), words.size(card.size) + here))
    return rows


def _commercial(page: Page, card: EngineCard) -> str:
    """May it be used commercially, and what of it forbids that."""
    t = page.t
    reasons = [
        (weights.title, t(weights.about))
        for weights in card.weights
        if weights.commercial == card.commercial and card.commercial != "yes"
    ]
    said = "".join(f"<li><b>{escape(title)}</b> {escape(reason)}</li>" for title, reason in reasons)
    listed = f"<ul>{said}</ul>" if said else ""
    return (
        f'<div class="fs-may"><span>{escape(t("ui.models.commercial"))}</span>'
        f"{engine_words.commercial_chip(page, card)}{listed}</div>"
    )


def _progress(page: Page, card: EngineCard) -> str:
    t = page.t
    if card.state in GOING_ON or card.state == "partial":
        share = card.bytes / card.size if card.size else 0.0
        pieces = [f"{100 * share:.0f} %"]
        if card.state == "downloading" and card.speed > 0:
            pieces.append(t("weights.speed", speed=f"{card.speed / 1e6:.1f}"))
        if card.state == "downloading" and card.remaining is not None:
            pieces.append(t("ui.models.left", time=words.duration(page, card.remaining)))
        return _line(engine_words.state(page, card), " · ".join(pieces), share)
    checking = [one.job for one in card.weights if one.job and one.job.kind == "verify_weights"]
    going = [job for job in checking if job.state in ACTIVE]
    if not going:
        return ""
    share = sum(job.progress if job.state in ACTIVE else 1.0 for job in checking) / len(checking)
    return _line(t("stage.verify"), f"{100 * share:.0f} %", share)


def _line(doing: str, numbers: str, share: float) -> str:
    return (
        f'<div class="fs-progress-line"><span>{escape(doing)}</span><span>{escape(numbers)}</span></div>'
        f"{html.bar(share)}"
    )


def _notes(page: Page, card: EngineCard) -> str:
    """What went wrong, what a check found, and what only the user can bring."""
    t = page.t
    sentences: list[tuple[str, str]] = []
    for one in card.weights:
        job = one.job
        if one.state == "import_only":
            by_hand = StudioError("weights_import_only", name=one.title, files=", ".join(one.files), page=one.page)
            sentences.append(("warning", page.error(by_hand)))
        elif job is not None and job.state == "failed" and job.error is not None and one.state != "ready":
            sentences.append(("error", page.error(job.error)))
        elif one.state == "broken":
            sentences.append(("error", t("ui.models.broken", name=one.title)))
    names = _trained(page, card)
    if names is not None:
        trained = t("ui.models.trained", names=t("ui.list.comma").join(names))
        sentences.append(("good", trained) if names else ("info", t("ui.models.untrained")))
    checks = [
        one.job for one in card.weights if one.job and one.job.kind == "verify_weights" and one.job.state == "done"
    ]
    if card.state == "ready" and len(checks) == len(card.weights) > 0:
        moment = max(job.finished or 0.0 for job in checks)
        sentences.append(("good", t("ui.models.verified", date=words.date(moment))))
    return html.notes(sentences)


def _question(page: Page, card: EngineCard, doomed: list[WeightsCard] | None) -> str:
    if doomed is None:
        return ""
    t = page.t
    if not doomed:
        return html.note(t("ui.models.delete.shared"), "info")
    names = t("ui.list.comma").join(one.title for one in doomed)
    size = words.size(sum(one.bytes for one in doomed))
    buttons = html.row(
        html.button(t("ui.shelf.delete_sure"), "delete-sure", card.key, kind="danger"),
        html.button(t("ui.shelf.cancel"), "keep", card.key),
    )
    return html.note(t("ui.models.delete.question", names=names, size=size), "warning") + buttons


def _buttons(page: Page, card: EngineCard, opened: bool) -> list[str]:
    t = page.t
    buttons = []
    if card.state in GOING_ON:
        buttons.append(html.button(t("ui.models.pause"), "pause", card.key, kind="main"))
        buttons.append(html.button(t("ui.job.cancel"), "discard", card.key))
    elif any(one.can_fetch and one.state != "ready" for one in card.weights):
        label = {"partial": "ui.job.resume", "broken": "ui.models.again"}.get(card.state, "ui.models.download")
        buttons.append(html.button(t(label), "fetch", card.key, kind="main"))
        if card.state == "partial":
            buttons.append(html.button(t("ui.models.discard"), "discard", card.key))
    if card.state in ("ready", "broken"):
        buttons.append(html.button(t("ui.models.verify"), "verify", card.key))
    if card.state not in (*GOING_ON, "partial") and any(one.deletable for one in card.weights):
        buttons.append(html.button(t("ui.shelf.delete"), "delete", card.key))
    if card.weights:
        label = t("ui.models.files.close" if opened else "ui.models.files", count=len(card.weights))
        buttons.append(html.button(label, "files", card.key, pressed=opened))
    return buttons


def _weights(page: Page, card: EngineCard) -> str:
    """Each of an engine's weights: size, state, licence in plain words, files, and where they come from."""
    t = page.t
    entries = []
    for one in card.weights:
        state = html.chip(t(f"ui.models.state.{one.state}"), engine_words.LEVELS[one.state])
        lines = [
            t(one.about),
            t("ui.models.files.licence", licence=one.licence),
            t("ui.models.files.names", names=", ".join(one.files)),
        ]
        if one.shared:
            lines.append(t("ui.models.files.shared", places=", ".join(map(str, one.places))))
        origin = ""
        if one.page.startswith("https://"):
            link = escape(one.page)
            origin = f'<a href="{link}" target="_blank" rel="noopener noreferrer">{link}</a>'
        said = "".join(f"<small>{escape(line)}</small>" for line in lines)
        entries.append(
            f'<li><div class="fs-job-head"><b>{escape(one.title)} · {words.size(one.size)}</b>{state}</div>'
            f"{said}{origin}</li>"
        )
    return f'<ul class="fs-weights">{"".join(entries)}</ul>'
