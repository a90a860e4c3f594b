"""Step 5: every job, with its state, and what can be done with it."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from modules.jobs.store import Job
from modules.ui import html, words
from modules.ui.jobs_view import can_resume, ending, progress
from modules.ui.page import ACTIVE, Page
from modules.ui.render import result_html
from modules.ui.script import sound_html

SHOWN = 100


class ProjectsTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.projects.title"), t("ui.projects.intro")), name="projects-heading")
        self._only = gr.Radio(
            [(t("ui.projects.videos"), "render"), (t("ui.projects.all"), "all")],
            value="render",
            show_label=False,
            container=False,
            elem_id="projects-only",
        )
        self._list = html.panel(name="projects-list")
        # The job whose result is open, and the job whose deletion is being asked about.
        self._open = gr.State(None)
        self._doomed = gr.State(None)
        states = [self._only, self._open, self._doomed]
        page.watch(self._look, [page.choices.tab, *states], [self._list])
        page.on([page.tab["projects"].select, self._only.change], self._draw, states, [self._list])
        page.on([self._list.click], self._act, states, [self._open, self._doomed, self._list])

    def _look(self, tab: Any, *states: Any) -> tuple[Any]:
        return (self._draw(*states) if tab == "projects" else gr.skip(),)

    def _draw(self, only: str, opened: Any, doomed: Any) -> str:
        jobs = self._page.studio.jobs(limit=SHOWN, kinds=["render"] if only == "render" else None)
        if not jobs:
            return html.empty(self._page.t("ui.projects.empty"))
        rows = "".join(self._row(job, job.id == opened, job.id == doomed) for job in jobs)
        return f'<div class="fs-jobs">{rows}</div>'

    def _row(self, job: Job, opened: bool, doomed: bool) -> str:
        t = self._page.t
        kind = t("ui.job.kind.preview" if job.params.get("preview") else f"ui.job.kind.{job.kind}")
        title = job.title or kind
        if job.state in ACTIVE:
            middle = progress(self._page, job)
        else:
            middle = "" if job.state == "done" else ending(self._page, job)
        buttons = []
        if job.state in ACTIVE and not job.cancelling:
            buttons.append(html.button(t("ui.job.cancel"), "cancel", job.id))
        if can_resume(job):
            buttons.append(html.button(t("ui.job.resume"), "resume", job.id, kind="main"))
        if job.state == "done" and job.kind in ("render", "speak"):
            label = t("ui.job.close") if opened else t("ui.projects.open")
            buttons.append(html.button(label, "open", job.id, kind="main"))
        if doomed:
            buttons.append(html.button(t("ui.shelf.delete_sure"), "delete-sure", job.id, kind="danger"))
            buttons.append(html.button(t("ui.shelf.cancel"), "keep", job.id))
        else:
            buttons.append(html.button(t("ui.shelf.delete"), "delete", job.id))
        return (
            f'<div class="fs-box fs-job-row" data-job="{escape(job.id)}">'
            f'<div class="fs-job-head"><b>{escape(title)}</b>'
            f'<span class="fs-state fs-{job.state}">{escape(t(f"ui.job.{job.state}"))}</span></div>'
            f"<small>{escape(kind)} · {words.date(job.created)}</small>{middle}"
            f"{self._result(job) if opened and job.state == 'done' else ''}{html.row(*buttons)}</div>"
        )

    def _result(self, job: Job) -> str:
        if job.kind == "render":
            return result_html(self._page, job)
        return sound_html(self._page, job)

    def _act(self, only: str, opened: Any, doomed: Any, event: gr.EventData) -> tuple[Any, ...]:
        action, job_id = html.clicked(event)
        studio = self._page.studio
        job = studio.job(job_id)
        if action == "cancel":
            studio.cancel(job.id)
        elif action == "resume":
            studio.resume(job.id)
        elif action == "open":
            opened = None if opened == job.id else job.id
        elif action == "delete-sure":
            studio.delete(job.id)
        doomed = job.id if action == "delete" else None
        return opened, doomed, self._draw(only, opened, doomed)
