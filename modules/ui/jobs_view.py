"""A job as the page shows it, and the panel that follows one job to its end.

The panel keeps the job's id in the browser. A page that is loaded again finds
it there and goes on as if it had never been closed.
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from modules.errors import StudioError
from modules.jobs.store import Job
from modules.ui import html, words
from modules.ui.page import ACTIVE, BUSY_PULSE, Page


def stage(page: Page, job: Job) -> str:
    """What the job is doing, in words."""
    if job.cancelling:
        return page.t("ui.job.cancelling")
    if job.state == "running" and job.stage:
        return page.t(job.stage)
    return page.t(f"ui.job.{job.state}")


def progress(page: Page, job: Job) -> str:
    """Stage, bar, percent and remaining time of a job that is under way."""
    remaining = "" if job.remaining is None else page.t("ui.job.remaining", time=words.duration(page, job.remaining))
    return (
        f'<div class="fs-progress-line"><span>{escape(stage(page, job))}</span>'
        f"<span>{round(100 * job.progress)}% {escape(remaining)}</span></div>{html.bar(job.progress)}"
    )


def ending(page: Page, job: Job) -> str:
    """Why a job stopped without a result."""
    if job.error is not None:
        return html.note(page.error(job.error), "error")
    return html.note(page.t("ui.job.cancelled.note"), "warning")


class JobPanel:
    """Progress of one job, with cancel, and resume when it stopped.

    ``done`` holds the id of the job once it is finished, else None: its change
    event is where a tab shows the result, now or after a reload. stop: i18n key of the button that cancels.
    """

    def __init__(self, page: Page, name: str, stop: str = "ui.job.cancel") -> None:
        self._page, self._stop = page, stop
        self.job = page.choices.job[name]
        self.view = html.panel(name=f"job-{name}", css="fs-job")
        self.done = gr.State(None)
        self.outputs: list[Any] = [self.job, self.view, self.done, page.timer]
        page.watch(self._look, [self.job], [self.view, self.done])
        page.on([self.view.click], self._act, [self.job], self.outputs)

    def begin(self, job_id: str) -> tuple[Any, ...]:
        """Follow a job: the values of ``outputs``."""
        return (job_id, *self._look(job_id), gr.Timer(BUSY_PULSE))

    def clear(self) -> tuple[Any, ...]:
        """Follow nothing: the values of ``outputs``."""
        return (None, "", None, gr.skip())

    def _look(self, job_id: Any) -> tuple[Any, ...]:
        try:
            job = self._page.studio.job(str(job_id)) if job_id else None
        except StudioError:
            job = None  # deleted meanwhile, or never ours
        if job is None:
            return "", None
        return self._draw(job), job.id if job.state == "done" else None

    def _draw(self, job: Job) -> str:
        t = self._page.t
        if job.state in ACTIVE:
            cancel = "" if job.cancelling else html.button(t(self._stop), "cancel")
            return f'<div class="fs-box">{progress(self._page, job)}{html.row(cancel)}</div>'
        if job.state == "done":
            return ""
        resume = html.button(t("ui.job.resume"), "resume", kind="main") if can_resume(job) else ""
        buttons = html.row(resume, html.button(t("ui.job.close"), "close"))
        return f'<div class="fs-box">{ending(self._page, job)}{buttons}</div>'

    def _act(self, job_id: Any, event: gr.EventData) -> tuple[Any, ...]:
        action, _ = html.clicked(event)
        if action == "cancel":
            self._page.studio.cancel(str(job_id))
        elif action == "resume":
            self._page.studio.resume(str(job_id))
        elif action == "close":
            return self.clear()
        return self.begin(str(job_id))


def can_resume(job: Job) -> bool:
    """A stopped job may go on; one whose input was refused would only be refused again."""
    return job.state == "cancelled" or (job.state == "failed" and job.error is not None and job.error.retryable)
