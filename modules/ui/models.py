"""The models: one card an engine, its weights to download, check, delete and import, and where they come from."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from modules.avatar.advice import usable_card
from modules.errors import StudioError
from modules.jobs.engines import EngineCard, only_of
from modules.ui import engine_words, html, model_card, words
from modules.ui.jobs_view import JobPanel
from modules.ui.page import ACTIVE, Page
from modules.weights import entries

SOURCES = ("auto", "huggingface", "mirror", "modelscope")
KINDS = ("lips", "voice", "score")


class ModelsTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.models.title"), t("ui.models.intro")), name="models-heading")
        self._machine = html.panel(name="models-machine")
        self._list = html.panel(name="models-list")
        with gr.Row(elem_classes="fs-columns"):
            with gr.Column(scale=1, min_width=320):
                self._build_import()
            with gr.Column(scale=1, min_width=320):
                self._build_source()
        # The engine whose weights are listed, and the one whose deletion is being asked about.
        self._open = gr.State(None)
        self._doomed = gr.State(None)
        self._bind()

    def _build_import(self) -> None:
        t = self._page.t
        html.panel(html.box_title(t("ui.models.import"), t("ui.models.import.help")), name="import-heading")
        self._folder = gr.Textbox(
            label=t("ui.models.import.folder"),
            placeholder=t("ui.models.import.folder.placeholder"),
            max_lines=1,
            elem_id="import-folder",
        )
        self._take = gr.Button(t("ui.models.import.button"), elem_id="import-start")
        self._file = gr.File(label=t("ui.models.import.file"), height=140, elem_id="import-file")
        self._import = JobPanel(self._page, "import")
        self._imported = html.panel(name="import-result")

    def _build_source(self) -> None:
        t = self._page.t
        html.panel(html.box_title(t("ui.models.source"), t("ui.models.source.help")), name="source-heading")
        self._source = gr.Radio(
            [(t(f"ui.models.source.{source}"), source) for source in SOURCES], show_label=False, elem_id="hub-source"
        )
        self._mirror = gr.Textbox(label=t("ui.models.mirror"), max_lines=1, elem_id="hub-mirror")
        self._token = gr.Textbox(
            label=t("ui.models.token"),
            info=t("ui.models.token.help"),
            type="password",
            max_lines=1,
            elem_id="hub-token",
        )
        self._folders = gr.Textbox(
            label=t("ui.models.folders"), info=t("ui.models.folders.help"), lines=2, max_lines=6, elem_id="hub-folders"
        )
        with gr.Row(elem_classes="fs-tight"):
            self._save = gr.Button(t("ui.shelf.save"), variant="primary", elem_id="hub-save", min_width=120)
            self._forget = gr.Button(t("ui.models.token.forget"), elem_id="hub-forget", min_width=120)
        self._saved = html.panel(name="hub-saved")

    def _bind(self) -> None:
        page, states = self._page, [self._open, self._doomed]
        shown = [self._machine, self._list]
        page.watch(self._look, [page.choices.tab, *states], shown)
        page.on([page.tab["models"].select], self._draw, states, shown)
        page.on([self._list.click], self._act, states, [*states, *shown, page.timer])
        page.on([self._take.click, self._folder.submit], self._import_folder, [self._folder], self._import.outputs)
        page.on([self._file.upload], self._import_file, [self._file], self._import.outputs)
        page.on([self._import.done.change], self._show_imported, [self._import.done], [self._imported])
        fields = [self._source, self._mirror, self._token, self._folders]
        page.on(page.opened("models"), self._settings, [], [*fields, self._forget])
        page.on([self._save.click], self._save_hub, fields, [*fields, self._forget, self._saved])
        page.on([self._forget.click], self._forget_token, [], [*fields, self._forget, self._saved])

    # --- the cards ------------------------------------------------------------------------------

    def _look(self, tab: Any, *states: Any) -> tuple[Any, ...]:
        return self._draw(*states) if tab == "models" else (gr.skip(), gr.skip())

    def _draw(self, opened: Any, doomed: Any) -> tuple[str, str]:
        page = self._page
        cards, machine = page.studio.engines(), page.studio.machine()
        groups = []
        for kind in KINDS:
            drawn = "".join(
                model_card.draw(
                    page, card, machine, card.key == opened, only_of(card, cards) if card.key == doomed else None
                )
                for card in cards
                if card.kind == kind
            )
            groups.append(f'<h3>{escape(page.t(f"ui.models.kind.{kind}"))}</h3><div class="fs-models">{drawn}</div>')
        return self._machine_html(cards), "".join(groups)

    def _machine_html(self, cards: list[EngineCard]) -> str:
        """What engines run on here, what keeps a card from being used, and what is recommended."""
        page = self._page
        machine = page.studio.machine()
        if machine is None:
            return html.note(page.t("ui.models.speed.looking"))
        card = usable_card(machine)
        sentences = [("error", page.error(problem)) for problem in machine.problems]
        if card is not None:
            found = page.t("ui.models.card", card=card.name, size=words.size(card.memory_bytes))
        else:
            found = page.t("ui.models.no_card")
        advice = page.studio.advice([one for one in cards if one.kind == "lips"])
        return html.notes([("info", f"{found} {engine_words.why(page, advice)}"), *sentences])

    def _act(self, opened: Any, doomed: Any, event: gr.EventData) -> tuple[Any, ...]:
        action, key = html.clicked(event)
        cards = self._page.studio.engines()
        card = next((one for one in cards if one.key == key), None)
        if card is None:
            raise StudioError("engine_unknown", engine=key)
        if action == "files":
            opened = None if opened == key else key
        else:
            self._do(action, card, cards)
        doomed = key if action == "delete" else None
        return opened, doomed, *self._draw(opened, doomed), gr.Timer(0.5)

    def _do(self, action: str, card: EngineCard, cards: list[EngineCard]) -> None:
        studio = self._page.studio
        if action == "fetch":
            for one in card.weights:
                if one.state != "ready" and one.can_fetch:
                    studio.fetch_weights(one.entry)
        elif action == "pause":
            for one in card.weights:
                if one.job is not None and one.job.kind == "fetch_weights" and one.job.state in ACTIVE:
                    studio.cancel(one.job.id)
        elif action == "discard":
            for one in card.weights:
                if one.state in ("downloading", "queued", "partial"):
                    studio.discard_weights(one.entry)
        elif action == "verify":
            for one in card.weights:
                if one.state in ("ready", "broken"):
                    studio.submit("verify_weights", entry=one.entry)
        elif action == "delete-sure":
            for one in only_of(card, cards):
                studio.delete_weights(one.entry)

    # --- importing ------------------------------------------------------------------------------

    def _import_folder(self, folder: str) -> tuple[Any, ...]:
        if not folder.strip():
            raise StudioError("weights_import_empty", name="")
        return self._import.begin(self._page.studio.submit("import_weights", folder=folder.strip()))

    def _import_file(self, file: str | None) -> tuple[Any, ...]:
        if file is None:
            raise StudioError("upload_empty")
        upload = self._page.studio.accept(Path(file))
        return self._import.begin(self._page.studio.submit("import_weights", upload=upload, name=Path(file).name))

    def _show_imported(self, job_id: Any) -> str:
        if job_id is None:
            return ""
        taken = (self._page.studio.job(job_id).result or {})["entries"]
        names = self._page.t("ui.list.comma").join(entries()[name].title for name in taken if name in entries())
        return html.note(self._page.t("weights.imported", names=names), "good")

    # --- where from -----------------------------------------------------------------------------

    def _settings(self) -> tuple[Any, ...]:
        """What is kept now. A token is never sent to a browser, only whether there is one."""
        settings = self._page.studio.settings
        there = settings.hub_token is not None
        placeholder = self._page.t("ui.models.token.there") if there else "hf_…"
        return (
            settings.hub_source,
            settings.hub_mirror,
            gr.Textbox("", placeholder=placeholder),
            "\n".join(map(str, settings.extra_models_dirs)),
            gr.Button(visible=there),
        )

    def _save_hub(self, source: str, mirror: str, token: str, folders: str) -> tuple[Any, ...]:
        if source not in SOURCES:
            source = "auto"
        values: dict[str, Any] = {
            "hub_source": source,
            "hub_mirror": mirror.strip() or None,
            "extra_models_dirs": [Path(line.strip()) for line in folders.splitlines() if line.strip()],
        }
        if token.strip():
            values["hub_token"] = token.strip()
        self._page.studio.save_hub(**values)
        return *self._settings(), html.note(self._page.t("ui.models.saved"), "good")

    def _forget_token(self) -> tuple[Any, ...]:
        self._page.studio.save_hub(hub_token=None)
        return *self._settings(), html.note(self._page.t("ui.models.token.forgotten"), "good")
