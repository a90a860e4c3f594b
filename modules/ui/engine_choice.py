"""The lip-sync engine on the render page: which one, its own controls, and one frame of it before a long render."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from modules.avatar import registry as lip_sync
from modules.errors import StudioError
from modules.jobs import engines
from modules.jobs.engines import EngineCard
from modules.ui import engine_words, html
from modules.ui.controls import accepted, controls, for_renders
from modules.ui.jobs_view import JobPanel
from modules.ui.page import Page


class EngineChoice:
    """Built in two places: the choice with ``__init__``, the frame beside it with ``build_preview``; then ``bind``.

    The engine is kept in ``page.choices.engine`` ('' is: as recommended), its values in ``page.choices.options`` as
    {engine: {name: value}}.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._list = html.panel(name="render-engines")
        self._controls = html.panel(name="engine-controls")
        self._note = html.panel(name="engine-note")

    def build_preview(self) -> None:
        """Where the single frame appears."""
        self._frame = JobPanel(self._page, "frame")
        self._picture = html.panel(name="frame-result")

    def bind(self, *done: Any) -> None:
        """Connect all of it. ``done``: states that change when a job ends which may have prepared the avatar."""
        page, choices = self._page, self._page.choices
        drawn = [self._list, self._controls, self._note]
        given = [choices.engine, choices.options, choices.avatar]
        page.on(
            [
                *page.opened("render"),
                *(state.change for state in (choices.engine, choices.avatar, self._frame.done, *done)),
            ],
            self._draw,
            given,
            drawn,
        )
        page.on([self._list.click], self._choose, [], [choices.engine, page.tabs])
        page.on(
            [self._controls.click],
            self._act,
            given,
            [choices.options, self._controls, self._note, *self._frame.outputs],
            trigger_mode="multiple",
        )
        page.on([self._frame.done.change], self._show_frame, [self._frame.done], [self._picture])

    def chosen(self, engine: Any, kept: Any, avatar: Any) -> tuple[str, dict[str, Any]]:
        """What a job is to be told: the engine and its options; StudioError if it cannot be used now."""
        card = self._card(engine, self._cards())
        if not card.usable:
            raise StudioError("engine_not_ready", name=card.title)
        if avatar and not engines.trained(self._page.studio.avatars.get(str(avatar)), card.id):
            raise StudioError("engine_not_trained", name=card.title)
        return card.id, self._values(card, kept)

    def _cards(self) -> list[EngineCard]:
        return [card for card in self._page.studio.engines() if card.kind == "lips"]

    def _card(self, engine: Any, cards: list[EngineCard]) -> EngineCard:
        known = {card.id: card for card in cards}
        return known.get(engine) or known[self._page.studio.advice(cards).engine]

    def _values(self, card: EngineCard, kept: Any) -> dict[str, Any]:
        options = for_renders(lip_sync.info(card.id).options)
        return accepted(options, kept.get(card.id) if isinstance(kept, Mapping) else None)

    def _draw(self, engine: Any, kept: Any, avatar: Any) -> tuple[str, str, str]:
        cards = self._cards()
        card = self._card(engine, cards)
        values = self._values(card, kept)
        return (
            self._list_html(card, cards, avatar),
            self._controls_html(card, values),
            self._note_html(card, values, avatar),
        )

    def _list_html(self, chosen: EngineCard, cards: list[EngineCard], avatar: Any) -> str:
        """A closed list that shows the chosen engine; open, it shows all."""
        page, t = self._page, self._page.t
        advice, machine = page.studio.advice(cards), page.studio.machine()
        person = next((entry for entry in page.studio.avatars.list() if entry.id == avatar), None)
        recommended = html.chip(t("ui.engine.recommended"), "good")
        rows = []
        for card in cards:
            untrained = person is not None and not engines.trained(person, card.id)
            action, hint = ("engine", "") if card.usable else ("models", t("ui.engine.get"))
            if card.usable and untrained:
                action, hint = "train", t("ui.engine.train")
            state = "" if card.usable else engine_words.state_chip(page, card)
            if action == "train":
                state = html.chip(t("ui.engine.untrained"), "warning")
            marks = state + (recommended if card.id == advice.engine else "")
            lines = [t(f"engine.{card.key}.about"), engine_words.speed(page, card, machine)]
            rows.append(
                f'<button type="button" class="fs-engine" data-do="{action}" data-id="{escape(card.id)}"'
                f' aria-pressed="{str(card is chosen).lower()}">'
                f'<span class="fs-engine-head"><b>{escape(engine_words.title(page, card))}</b>'
                f"{marks}{engine_words.commercial_chip(page, card)}</span>"
                f"{''.join(f'<small>{escape(line)}</small>' for line in lines)}"
                f"{f'<em>{escape(hint)}</em>' if hint else ''}</button>"
            )
        mark = recommended if chosen.id == advice.engine else ""
        reason = engine_words.why(page, advice)
        better = html.button(t("ui.engine.get_other", other=advice.other), "models") if advice.better else ""
        return (
            f'<details class="fs-engines"><summary><span>{escape(t("ui.engine.title"))}</span>'
            f"<b>{escape(engine_words.title(page, chosen))}</b>{mark}<i>{escape(t('ui.engine.change'))}</i></summary>"
            f'<div class="fs-engine-list">{"".join(rows)}</div></details>'
            f'<p class="fs-why">{escape(reason)}</p>{html.row(better)}'
        )

    def _controls_html(self, card: EngineCard, values: Mapping[str, Any]) -> str:
        options = for_renders(lip_sync.info(card.id).options)
        if not options:
            return ""
        t = self._page.t
        buttons = html.row(
            html.button(t("ui.engine.frame"), "frame", card.id, kind="main"),
            html.button(t("ui.engine.defaults"), "defaults", card.id),
        )
        # The frame comes first: who has moved one control wants to look before the next.
        title = f'<b class="fs-box-title">{escape(t("ui.engine.controls", engine=card.title))}</b>'
        return f'<div class="fs-box">{title}{controls(self._page, options, values, card.id)}{buttons}</div>'

    def _note_html(self, card: EngineCard, values: Mapping[str, Any], avatar: Any) -> str:
        """Whether the avatar is to be prepared for this engine, and whether that is because of an option."""
        person = next((entry for entry in self._page.studio.avatars.list() if entry.id == avatar), None)
        if person is None or not values:
            return ""
        if not engines.trained(person, card.id):
            return html.note(self._page.error(StudioError("engine_not_trained", name=card.title)), "warning")
        before = engines.prepared_with(person, card.id)
        if before is None:
            return html.note(self._page.t("ui.engine.first", name=person.name, engine=card.title))
        names = [
            self._page.t(option.key)
            for option in lip_sync.info(card.id).options
            if option.name in before and before[option.name] != values.get(option.name)
        ]
        if not names:
            return ""
        listed = self._page.t("ui.list.comma").join(names)
        return html.note(self._page.t("ui.engine.again", name=person.name, options=listed), "warning")

    def _choose(self, event: gr.EventData) -> tuple[Any, Any]:
        action, engine = html.clicked(event)
        if action == "models":
            return gr.skip(), gr.Tabs(selected="models")
        if action == "train":
            return gr.skip(), gr.Tabs(selected="avatar")
        return lip_sync.info(engine).id, gr.skip()

    def _act(self, engine: Any, kept: Any, avatar: Any, event: gr.EventData) -> tuple[Any, ...]:
        action, _ = html.clicked(event)
        card = self._card(engine, self._cards())
        given = None if action == "defaults" else html.given(event)
        values = self._values(card, {card.id: given})
        all_kept = {**(kept if isinstance(kept, Mapping) else {}), card.id: values}
        drawn: Any = self._controls_html(card, values) if action == "defaults" else gr.skip()
        frame: Any = [gr.skip() for _ in self._frame.outputs]
        if action == "frame":
            frame = self._begin_frame(engine, all_kept, avatar)
        return all_kept, drawn, self._note_html(card, values, avatar), *frame

    def _begin_frame(self, engine: Any, kept: Any, avatar: Any) -> tuple[Any, ...]:
        if not avatar:
            raise StudioError("avatar_not_chosen")
        name, options = self.chosen(engine, kept, avatar)
        job = self._page.studio.submit("preview_frame", avatar=avatar, engine=name, options=options)
        return self._frame.begin(job)

    def _show_frame(self, job_id: Any) -> str:
        """Frame, mask and result side by side, each with its name below."""
        if job_id is None:
            return ""
        page, t = self._page, self._page.t
        job = page.studio.job(job_id)
        link = page.link(page.studio.file(job_id, (job.result or {})["picture"]))
        engine = lip_sync.info(job.params["engine"]).title
        captions = "".join(
            f"<span>{escape(t(f'ui.engine.frame.{part}'))}</span>" for part in ("before", "mask", "after")
        )
        title = f'<b class="fs-box-title">{escape(t("ui.engine.frame.title", engine=engine))}</b>'
        alt = escape(t("ui.engine.frame.title", engine=engine))
        return (
            f'{title}<figure class="fs-frame"><img src="{escape(link)}" alt="{alt}">'
            f"<figcaption>{captions}</figcaption></figure>"
        )
