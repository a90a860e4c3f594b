"""Step 4: put avatar, voice and script together: a preview, then the whole video."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.errors import StudioError
from modules.jobs.store import Job
from modules.ui import html, words
from modules.ui.engine_choice import EngineChoice
from modules.ui.jobs_view import JobPanel
from modules.ui.listened import listened_html
from modules.ui.page import Page


def file_name(title: str, ending: str) -> str:
    """A name for a download that every system accepts, with the job's title in it."""
    kept = "".join(letter for letter in title if letter.isalnum() or letter in " -_")[:30].strip()
    return f"{kept or 'fenshen'}.{ending}"


def result_html(page: Page, job: Job) -> str:
    """The finished video with its downloads."""
    result = job.result or {}
    files = {kind: page.link(page.studio.file(job.id, name)) for kind, name in result["files"].items()}
    downloads = [
        html.download(files[kind], file_name(job.title, ending), page.t(f"ui.render.download.{kind}"))
        for kind, ending in (("video", "mp4"), ("sound", "wav"), ("subtitles", "srt"))
        if kind in files
    ]
    told = listened_html(page, job) + sync_html(page, result.get("sync"))
    return f'<div class="fs-result">{html.video(files["video"])}{html.row(*downloads)}{told}</div>'


def sync_html(page: Page, found: dict[str, float] | None) -> str:
    """The lip-sync scores of a finished video, where SyncNet was here to give them."""
    if found is None:
        return ""
    confidence, distance = f"{found['lse_c']:.1f}", f"{found['lse_d']:.1f}"
    offset = round(found["offset"])
    return html.note(page.t("ui.render.sync", confidence=confidence, distance=distance, frames=offset))


class RenderTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.render.title"), t("ui.render.intro")), name="render-heading")
        with gr.Row(elem_classes="fs-columns"):
            with gr.Column(scale=4, min_width=320):
                self._avatar = gr.Dropdown([], label=t("ui.render.avatar"), elem_id="render-avatar", filterable=False)
                self._voice = gr.Dropdown([], label=t("ui.render.voice"), elem_id="render-voice", filterable=False)
                self._engine = EngineChoice(page)
                self._summary = html.panel(name="render-summary")
                self._label = gr.Checkbox(
                    True, label=t("ui.render.label"), info=t("ui.render.label.help"), elem_id="render-label"
                )
                with gr.Row(elem_classes="fs-tight"):
                    preview = gr.Button(t("ui.render.preview"), size="lg", elem_id="render-preview", min_width=140)
                    start = gr.Button(
                        t("ui.render.start"), variant="primary", size="lg", elem_id="render-start", min_width=140
                    )
            with gr.Column(scale=5, min_width=320):
                self._render = JobPanel(page, "render")
                self._result = html.panel(html.empty(t("ui.render.empty")), name="render-result")
                self._engine.build_preview()
                self._preview = JobPanel(page, "preview")
                self._preview_result = html.panel(name="preview-result")
        next_step = gr.Button(t("ui.render.next"), size="lg", elem_classes="fs-next", elem_id="render-next")
        page.leads_to(next_step, "projects")
        self._bind(preview, start)

    def _bind(self, preview: gr.Button, start: gr.Button) -> None:
        page, choices = self._page, self._page.choices
        chosen = [choices.avatar, choices.voice, choices.script, choices.speed]
        page.on(
            [*page.opened("render"), *(choice.change for choice in chosen)],
            self._draw,
            chosen,
            [self._avatar, self._voice, self._summary],
        )
        for dropdown, choice in ((self._avatar, choices.avatar), (self._voice, choices.voice)):
            page.on([dropdown.input], lambda picked: picked, [dropdown], [choice])
        self._engine.bind(self._preview.done, self._render.done)
        given = [*chosen, choices.room, self._label, choices.engine, choices.options]
        page.on([preview.click], self._start_preview, given, self._preview.outputs)
        page.on([start.click], self._start, given, self._render.outputs)
        page.on([self._preview.done.change], self._show_preview, [self._preview.done], [self._preview_result])
        page.on([self._render.done.change], self._show_result, [self._render.done], [self._result])

    def _draw(self, avatar_id: Any, voice_id: Any, text: str, speed: float) -> tuple[Any, ...]:
        studio = self._page.studio
        avatars = {entry.id: entry for entry in studio.avatars.list()}
        voices = {entry.id: entry for entry in studio.voices.list()}
        avatar, voice = avatars.get(avatar_id), voices.get(voice_id)
        return (
            gr.Dropdown([(entry.name, entry.id) for entry in avatars.values()], value=avatar.id if avatar else None),
            gr.Dropdown([(entry.name, entry.id) for entry in voices.values()], value=voice.id if voice else None),
            self._summary_html(avatar, voice, text, speed),
        )

    def _summary_html(self, avatar: Any, voice: Any, text: str, speed: float) -> str:
        """What is about to be made, how long and how large; or which step is still missing."""
        page, t = self._page, self._page.t
        missing = [
            t(f"ui.render.missing.{step}")
            for step, there in (("avatar", avatar), ("voice", voice), ("script", text.strip()))
            if not there
        ]
        picture = html.picture(page.link(avatar.picture), avatar.name) if avatar else ""
        if missing:
            return f'<div class="fs-summary">{picture}{html.notes(("info", sentence) for sentence in missing)}</div>'
        try:
            estimate = page.studio.estimate(text, speed)
            disk = page.studio.disk_needed(avatar.id, estimate["seconds"])
        except StudioError as error:
            return html.note(page.error(error), "error")
        rows = [
            (t("ui.render.script"), " ".join(text.split())[:80]),
            (t("ui.render.length"), words.duration(page, estimate["seconds"])),
            (
                t("ui.render.disk"),
                t("ui.render.disk.value", needed=words.size(disk["needed_bytes"]), free=words.size(disk["free_bytes"])),
            ),
        ]
        return f'<div class="fs-summary">{picture}{html.facts(rows)}</div>'

    def _submit(
        self,
        preview: bool,
        avatar: Any,
        voice: Any,
        text: str,
        speed: float,
        room: float,
        label: bool,
        engine: Any,
        kept: Any,
    ) -> str:
        if not avatar:
            raise StudioError("avatar_not_chosen")
        if not voice:
            raise StudioError("voice_not_chosen")
        name, options = self._engine.chosen(engine, kept, avatar)
        return self._page.studio.submit(
            "render",
            avatar=avatar,
            voice=voice,
            script=text,
            speed=speed,
            room=room,
            preview=preview,
            label=label,
            label_language=self._page.language,
            options=options,
            engine=name,
        )

    def _start_preview(self, *choices: Any) -> tuple[Any, ...]:
        return self._preview.begin(self._submit(True, *choices))

    def _start(self, *choices: Any) -> tuple[Any, ...]:
        return self._render.begin(self._submit(False, *choices))

    def _show_preview(self, job_id: Any) -> str:
        if job_id is None:
            return ""
        job = self._page.studio.job(job_id)
        link = self._page.link(self._page.studio.file(job_id, (job.result or {})["files"]["video"]))
        title = f'<b class="fs-box-title">{self._page.t("ui.render.preview.title")}</b>'
        return f'{title}<div class="fs-result">{html.video(link)}{listened_html(self._page, job)}</div>'

    def _show_result(self, job_id: Any) -> str:
        if job_id is None:
            return html.empty(self._page.t("ui.render.empty"))
        job = self._page.studio.job(job_id)
        length = words.duration(self._page, (job.result or {})["seconds"])
        return html.note(self._page.t("ui.render.done", time=length), "good") + result_html(self._page, job)
