"""Step 1: footage in, footage check, consent, and the avatar library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from modules.errors import StudioError
from modules.ui import html, words
from modules.ui.jobs_view import JobPanel
from modules.ui.page import ACTIVE, Page
from modules.ui.shelf import Shelf
from modules.ui.training import TrainingPanel

SECOND_STATES = ("good", "turned", "small", "cut_off", "no_face")


class AvatarTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.avatar.title"), t("ui.avatar.intro")), name="avatar-heading")
        with gr.Row(elem_classes="fs-columns"):
            with gr.Column(scale=5, min_width=320):
                file, webcam = self._build_sources()
                self._check = JobPanel(page, "check")
            with gr.Column(scale=4, min_width=320):
                self._tips = html.panel(self._tips_html(), name="avatar-tips")
                self._report = html.panel(name="avatar-report")
                self._people = html.panel(name="avatar-people")
                with gr.Column(visible=False, elem_classes="fs-form") as self._form:
                    self._name = gr.Textbox(
                        label=t("ui.avatar.name"),
                        placeholder=t("ui.avatar.name.placeholder"),
                        max_lines=1,
                        max_length=60,
                        elem_id="avatar-name",
                    )
                    self._consent = gr.Checkbox(label=t("ui.consent.face"), elem_id="avatar-consent")
                    make = gr.Button(t("ui.avatar.make"), variant="primary", size="lg", elem_id="avatar-make")
                self._prepare = JobPanel(page, "prepare")
                self._made = html.panel(name="avatar-made")
        html.panel(f"<h3>{t('ui.avatar.shelf')}</h3>", name="avatar-shelf-title")
        self._shelf = Shelf(page, "avatar", page.studio.avatars, page.choices.avatar, self._describe)
        self._training = TrainingPanel(page)
        next_step = gr.Button(
            t("ui.avatar.next"), variant="primary", size="lg", elem_classes="fs-next", elem_id="avatar-next"
        )
        page.leads_to(next_step, "voice")
        self._person = gr.State(0)
        self._bind(file, webcam, make)

    def _build_sources(self) -> tuple[gr.File, gr.Video]:
        t = self._page.t
        with gr.Tabs(elem_classes="fs-sources"):
            with gr.Tab(t("ui.avatar.source.file")):
                # Any file is let in here: what it is, the footage check says, in the user's language.
                file = gr.File(show_label=False, height=220, elem_id="avatar-file")
            with gr.Tab(t("ui.avatar.source.webcam"), elem_id="source-webcam"):
                html.panel(html.note(t("ui.avatar.webcam.help")), name="avatar-webcam-help")
                # Not mirrored: the recording is taken as the camera saw it, and so it is shown.
                webcam = gr.Video(
                    sources=["webcam"],
                    webcam_options=gr.WebcamOptions(mirror=False),
                    include_audio=True,
                    show_label=False,
                    height=360,
                    elem_id="avatar-webcam",
                )
        return file, webcam

    def _bind(self, file: gr.File, webcam: gr.Video, make: gr.Button) -> None:
        page = self._page
        taken = [*self._check.outputs, *self._prepare.outputs]
        page.on([file.upload], self._take, [file], taken)
        page.on([webcam.stop_recording], self._take, [webcam], taken)
        page.on([file.clear, webcam.clear], self._forget, [self._check.job], self._check.outputs)
        shown = [self._tips, self._report, self._people, self._form, self._name, self._consent, self._person]
        page.on([self._check.done.change], self._show_report, [self._check.done], shown)
        page.on([self._people.click], self._choose_person, [self._check.done], [self._people, self._person])
        page.on(
            [make.click],
            self._make,
            [self._check.done, self._name, self._consent, self._person],
            [self._made, *self._prepare.outputs],
        )
        page.on(
            [self._prepare.done.change],
            self._show_made,
            [self._prepare.done],
            [self._made, *self._shelf.outputs, self._prepare.job, *self._check.outputs, file],
        )

    def _tips_html(self) -> str:
        t = self._page.t
        items = "".join(f"<li>{t(f'ui.avatar.tip.{number}')}</li>" for number in range(1, 6))
        return f'<div class="fs-tips"><b>{t("ui.avatar.tips")}</b><ul>{items}</ul></div>'

    def _describe(self, avatar: Any) -> tuple[str, str]:
        kind = self._page.t(f"ui.avatar.kind.{avatar.kind}")
        detail = f"{kind} · {words.duration(self._page, avatar.seconds)}" if avatar.kind == "video" else kind
        return html.picture(self._page.link(avatar.picture), avatar.name), detail

    def _take(self, file: str | None) -> tuple[Any, ...]:
        if file is None:
            raise StudioError("upload_empty")
        upload = self._page.studio.accept(Path(file))
        job_id = self._page.studio.submit("check_footage", upload=upload)
        return (*self._check.begin(job_id), *self._prepare.clear())

    def _forget(self, job_id: Any) -> tuple[Any, ...]:
        """The footage was taken out of the drop zone: stop checking it. What is being prepared goes on."""
        if job_id and self._page.studio.job(str(job_id)).state in ACTIVE:
            self._page.studio.cancel(str(job_id))
        return self._check.clear()

    def _show_report(self, job_id: Any) -> tuple[Any, ...]:
        if job_id is None:
            return gr.HTML(visible=True), "", "", gr.Column(visible=False), "", False, 0
        result = self._page.studio.job(job_id).result or {}
        usable = not any(finding["level"] == "error" for finding in result["report"]["findings"])
        report = self._report_html(job_id, result)
        people = self._people_html(job_id, result["people"], 0)
        name = self._page.t("ui.avatar.name.default", number=len(self._page.studio.avatars.list()) + 1)
        return gr.HTML(visible=False), report, people, gr.Column(visible=usable), name, False, 0

    def _report_html(self, job_id: str, result: dict[str, Any]) -> str:
        page, report, people = self._page, result["report"], result["people"]
        findings = html.notes(
            (finding["level"], page.t(finding["key"], **finding["values"])) for finding in report["findings"]
        )
        timeline = self._timeline_html(report["seconds"]) if result["kind"] == "video" else ""
        title = f'<b class="fs-box-title">{page.t("ui.avatar.report")}</b>'
        seen = ""
        if len(people) == 1:
            picture = page.link(page.studio.file(job_id, people[0]["picture"]))
            seen = html.picture(picture, page.t("ui.avatar.person", number=1))
        return f'<div class="fs-box"><div class="fs-seen">{seen}<div>{title}{timeline}</div></div>{findings}</div>'

    def _timeline_html(self, seconds: list[str]) -> str:
        names = {state: self._page.t(f"ui.avatar.state.{state}") for state in SECOND_STATES}
        cells = [
            (state, self._page.t("ui.avatar.second", second=second, state=names[state]))
            for second, state in enumerate(seconds, start=1)
        ]
        return html.timeline(cells, [(state, name) for state, name in names.items() if state in seconds])

    def _people_html(self, job_id: str, people: list[dict[str, Any]], chosen: int) -> str:
        page = self._page
        if len(people) < 2:
            return ""
        entries = []
        for number, person in enumerate(people):
            name = page.t("ui.avatar.person", number=number + 1)
            picture = html.picture(page.link(page.studio.file(job_id, person["picture"])), name)
            share = page.t("ui.avatar.person.share", percent=round(100 * person["share"]))
            label = page.t("ui.shelf.chosen") if number == chosen else page.t("ui.shelf.choose")
            button = html.button(label, "person", str(number), kind="main" if number == chosen else "quiet")
            entries.append(html.card(picture, name, share, button, chosen=number == chosen))
        return f'<b class="fs-box-title">{page.t("ui.avatar.people")}</b>{html.cards(entries)}'

    def _choose_person(self, job_id: str, event: gr.EventData) -> tuple[str, int]:
        _, number = html.clicked(event)
        people = (self._page.studio.job(job_id).result or {})["people"]
        chosen = int(number) if number.isdigit() and int(number) < len(people) else 0
        return self._people_html(job_id, people, chosen), chosen

    def _make(self, check_id: Any, name: str, agreed: bool, person: int) -> tuple[Any, ...]:
        studio = self._page.studio
        if not agreed:
            raise StudioError("consent_missing")
        if not name.strip():
            raise StudioError("name_missing")
        check = studio.job(str(check_id))
        upload = check.params["upload"]
        people = (check.result or {})["people"]
        job_id = studio.submit(
            "prepare_avatar",
            upload=upload,
            name=name.strip(),
            person=people[person]["id"] if people else None,
            consent=studio.consent("face", upload, self._page.language),
            engine="builtin",
        )
        return "", *self._prepare.begin(job_id)

    def _show_made(self, job_id: Any) -> Any:
        """Choose the new avatar, once: the browser then forgets the job, and the step is ready for the next footage."""
        if job_id is None:
            return gr.skip()
        avatar = self._page.studio.avatars.get((self._page.studio.job(job_id).result or {})["avatar"])
        note = html.note(self._page.t("ui.avatar.made", name=avatar.name), "good")
        return note, *self._shelf.draw(avatar.id), None, *self._check.clear(), None
