"""A library on the page: cards to choose from, and to rename or delete the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gradio as gr

from modules.errors import StudioError
from modules.ui import html
from modules.ui.page import Page


class Entry(Protocol):
    """What avatars and voices have in common."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


class Library(Protocol):
    """The part of a library that the shelf uses."""

    def list(self) -> Sequence[Any]: ...
    def get(self, entry_id: str) -> Any: ...
    def rename(self, entry_id: str, name: str) -> None: ...
    def delete(self, entry_id: str) -> None: ...


class Shelf:
    """Cards of a library; the chosen entry's id is kept in ``choice``.

    describe: (picture or player as HTML, one line of detail) of an entry.
    name: 'avatar' or 'voice', for the texts and the element ids.
    """

    def __init__(
        self,
        page: Page,
        name: str,
        library: Library,
        choice: gr.BrowserState,
        describe: Callable[[Any], tuple[str, str]],
    ) -> None:
        self._page, self._name, self._library, self._describe = page, name, library, describe
        self.choice = choice
        t = page.t
        self.cards = html.panel(name=f"shelf-{name}")
        with gr.Group(visible=False, elem_classes="fs-edit") as self._edit:
            self._title = gr.Textbox(label=t("ui.shelf.rename"), max_lines=1, max_length=60, elem_id=f"rename-{name}")
            with gr.Row():
                save = gr.Button(t("ui.shelf.save"), size="sm", variant="primary", elem_id=f"save-{name}")
                close = gr.Button(t("ui.shelf.cancel"), size="sm")
        with gr.Group(visible=False, elem_classes="fs-edit") as self._sure:
            self._question = html.panel(name=f"sure-{name}")
            with gr.Row():
                delete = gr.Button(t("ui.shelf.delete_sure"), size="sm", variant="stop", elem_id=f"delete-{name}")
                keep = gr.Button(t("ui.shelf.cancel"), size="sm")
        # The entry that is being renamed or deleted; the server's own memory, not the browser's.
        self._handled = gr.State(None)
        self.outputs: list[Any] = [self.cards, self.choice]
        forms = [self._handled, self._edit, self._title, self._sure, self._question]
        page.on(page.opened(name), self.draw, [choice], self.outputs)
        page.on([self.cards.click], self._act, [choice], [*self.outputs, *forms])
        page.on(
            [save.click, self._title.submit], self._save, [self._handled, self._title, choice], [*self.outputs, *forms]
        )
        page.on([delete.click], self._delete, [self._handled, choice], [*self.outputs, *forms])
        page.on([close.click, keep.click], self._closed, [], forms)

    def draw(self, chosen: Any) -> tuple[Any, ...]:
        """The values of ``outputs``: the cards, and the choice if it still exists, else the newest entry."""
        entries = list(self._library.list())
        ids = [entry.id for entry in entries]
        if chosen not in ids:
            chosen = ids[0] if ids else None
        if not entries:
            return html.empty(self._page.t(f"ui.{self._name}.shelf.empty")), None
        return html.cards(self._card(entry, entry.id == chosen) for entry in entries), chosen

    def _card(self, entry: Any, chosen: bool) -> str:
        t = self._page.t
        picture, detail = self._describe(entry)
        label = t("ui.shelf.chosen") if chosen else t("ui.shelf.choose")
        buttons = (
            html.button(label, "choose", entry.id, kind="main" if chosen else "quiet", pressed=chosen)
            + html.button(t("ui.shelf.rename"), "rename", entry.id)
            + html.button(t("ui.shelf.delete"), "delete", entry.id)
        )
        return html.card(picture, entry.name, detail, buttons, chosen=chosen)

    def _closed(self) -> tuple[Any, ...]:
        return None, gr.Group(visible=False), "", gr.Group(visible=False), ""

    def _act(self, chosen: Any, event: gr.EventData) -> tuple[Any, ...]:
        action, entry_id = html.clicked(event)
        entry = self._library.get(entry_id)
        if action == "rename":
            return (*self.draw(chosen), entry.id, gr.Group(visible=True), entry.name, gr.Group(visible=False), "")
        if action == "delete":
            question = html.note(self._page.t(f"ui.{self._name}.shelf.delete_question", name=entry.name), "warning")
            return (*self.draw(chosen), entry.id, gr.Group(visible=False), "", gr.Group(visible=True), question)
        return (*self.draw(entry.id), *self._closed())

    def _save(self, handled: Any, title: str, chosen: Any) -> tuple[Any, ...]:
        if not title.strip():
            raise StudioError("name_missing")
        self._library.rename(str(handled), title.strip())
        return (*self.draw(chosen), *self._closed())

    def _delete(self, handled: Any, chosen: Any) -> tuple[Any, ...]:
        self._library.delete(str(handled))
        return (*self.draw(chosen), *self._closed())
