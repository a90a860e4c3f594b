"""Below the avatars: training a model of the chosen avatar's own, with its curve and what it draws by now."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

import gradio as gr
import pandas as pd

from modules.avatar import registry as lip_sync
from modules.avatar.advice import usable_card
from modules.avatar.library import Avatar
from modules.errors import StudioError
from modules.jobs import lessons
from modules.jobs.store import Job
from modules.ui import html, words
from modules.ui.jobs_view import JobPanel, can_resume
from modules.ui.page import ACTIVE, Page

# Minutes that the slider goes to.
SHORTEST, LONGEST = 1, 480
STEP, LOSS = "step", "loss"
# Gradio's plot throws an error when it is taken out of the page: it stays in it, unseen.
HIDDEN: Literal["hidden"] = "hidden"


class TrainingPanel:
    """Follows the training of the chosen avatar, whichever browser began it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        with gr.Column(visible=HIDDEN, elem_id="training") as self._whole:
            html.panel(html.box_title(t("ui.training.title"), t("ui.training.intro")), name="training-heading")
            with gr.Row(elem_classes="fs-columns"):
                with gr.Column(scale=4, min_width=320):
                    self._state = html.panel(name="training-state")
                    with gr.Column(elem_classes="fs-form") as self._form:
                        self._minutes = gr.Slider(
                            SHORTEST,
                            LONGEST,
                            lessons.CARD_MINUTES,
                            step=1,
                            label=t("ui.training.minutes"),
                            elem_id="training-minutes",
                        )
                        self._hint = html.panel(name="training-hint")
                        self._start = gr.Button(
                            t("ui.training.start"), variant="primary", size="lg", elem_id="training-start"
                        )
                    self._job = JobPanel(page, "train", "ui.training.stop")
                with gr.Column(scale=5, min_width=320, elem_id="training-seen"):
                    html.panel(f'<b class="fs-box-title">{escape(t("ui.training.curve"))}</b>', name="training-title")
                    self._curve = gr.LinePlot(
                        x=STEP,
                        y=LOSS,
                        x_title=t("ui.training.step"),
                        y_title=t("ui.training.loss"),
                        height=220,
                        elem_id="training-curve",
                    )
                    self._sample = html.panel(name="training-sample")
        # The avatar whose model's deletion is being asked about, and what is shown by now.
        self._doomed = gr.State(None)
        self._shown = gr.State(None)
        self._bind()

    def _bind(self) -> None:
        page, avatar = self._page, self._page.choices.avatar
        given = [self._job.job, avatar, self._doomed, self._shown]
        drawn = [
            self._job.job,
            self._whole,
            self._state,
            self._form,
            self._start,
            self._curve,
            self._sample,
            self._shown,
        ]
        page.watch(self._look, given, drawn)
        page.on([avatar.change, self._job.job.change, self._doomed.change], self._look, given, drawn)
        page.on([page.blocks.load], self._usual, [], [self._minutes, self._hint])
        page.on([self._start.click], self._begin, [avatar, self._minutes], self._job.outputs)
        page.on([self._state.click], self._act, [avatar], [self._doomed])

    def _usual(self) -> tuple[Any, str]:
        """How long a training usually is on this machine, and why."""
        machine = self._page.studio.machine()
        card = None if machine is None else usable_card(machine)
        minutes = lessons.PROCESSOR_MINUTES if card is None else lessons.CARD_MINUTES
        hint = "ui.training.processor" if card is None else "ui.training.card"
        return gr.Slider(value=minutes), f"<small>{escape(self._page.t(hint))}</small>"

    def _look(self, job_id: Any, avatar_id: Any, doomed: Any, shown: Any) -> tuple[Any, ...]:
        """What has changed since ``shown``: a plot that is drawn anew all the time cannot be looked at."""
        studio = self._page.studio
        avatar = next((entry for entry in studio.avatars.list() if entry.id == avatar_id), None)
        if avatar is None:
            now: Any = None
            return gr.skip(), gr.Column(visible=HIDDEN), *(gr.skip() for _ in range(5)), now
        job = self._newest(avatar)
        seconds = lessons.trained_seconds(avatar)
        under_way = job is not None and job.state in ACTIVE
        # Of a model that is deleted nothing is shown any more.
        lesson = studio.lesson(job.id) if job is not None and (under_way or seconds is not None) else None
        sample = None if lesson is None else lesson.sample
        # What can be resumed is to be resumed, or closed, before anything else is begun.
        stopped = job is not None and job.id == job_id and can_resume(job)
        now = [avatar.id, job and job.id, job and job.state, sample, seconds, doomed, stopped]
        followed = self._followed(job_id, avatar, job)
        if now == shown:
            return followed, *(gr.skip() for _ in range(7))
        curve = gr.skip() if lesson is None else pd.DataFrame(lesson.curve, columns=[STEP, LOSS])
        return (
            followed,
            gr.Column(visible=True),
            self._state_html(avatar, seconds, under_way, doomed),
            gr.Column(visible=not under_way and not stopped and avatar.kind == "video"),
            self._page.t("ui.training.start" if seconds is None else "ui.training.more"),
            curve,
            "" if job is None or lesson is None else self._sample_html(job, lesson),
            now,
        )

    def _newest(self, avatar: Avatar) -> Job | None:
        """The training of an avatar that was begun last."""
        jobs = self._page.studio.jobs(kinds=["train_avatar"])
        return next((job for job in jobs if job.params["avatar"] == avatar.id), None)

    def _followed(self, job_id: Any, avatar: Avatar, newest: Job | None) -> Any:
        """The job that the panel is to follow: this avatar's that is under way; never another avatar's."""
        if newest is not None and newest.state in ACTIVE:
            return gr.skip() if job_id == newest.id else newest.id
        try:
            other = bool(job_id) and self._page.studio.job(str(job_id)).params["avatar"] != avatar.id
        except StudioError:
            other = True
        return None if other else gr.skip()

    def _state_html(self, avatar: Avatar, seconds: float | None, under_way: bool, doomed: Any) -> str:
        """Whether there is a model, and what can be done with it."""
        page, t = self._page, self._page.t
        if avatar.kind == "photo":
            return html.note(page.error(StudioError("training_photo")))
        if seconds is None:
            return "" if under_way else html.note(t("ui.training.none", name=avatar.name))
        engine = lip_sync.info(lessons.PERSONAL).title
        there = t("ui.training.there", name=avatar.name, time=words.duration(page, seconds), engine=engine)
        note = html.note(there, "good")
        if under_way:
            return note
        if doomed != avatar.id:
            return note + html.row(html.button(t("ui.training.delete"), "delete", avatar.id))
        sure = html.button(t("ui.shelf.delete_sure"), "delete-sure", avatar.id, kind="danger")
        question = html.note(t("ui.training.delete.question", name=avatar.name), "warning")
        return note + question + html.row(sure, html.button(t("ui.shelf.cancel"), "keep", avatar.id))

    def _sample_html(self, job: Job, lesson: lessons.Lesson) -> str:
        """The newest picture: true faces above drawn ones."""
        t = self._page.t
        link = self._page.link(self._page.studio.file(job.id, lesson.sample))
        title = escape(t("ui.training.sample", step=lesson.curve[-1][0]))
        return (
            f'<b class="fs-box-title">{title}</b><figure class="fs-sample"><img src="{escape(link)}" alt="{title}">'
            f"<figcaption>{escape(t('ui.training.sample.help'))}</figcaption></figure>"
        )

    def _begin(self, avatar: Any, minutes: float) -> tuple[Any, ...]:
        if not avatar:
            raise StudioError("avatar_not_chosen")
        return self._job.begin(self._page.studio.train(str(avatar), float(minutes)))

    def _act(self, avatar: Any, event: gr.EventData) -> Any:
        action, about = html.clicked(event)
        if about != avatar:
            return None
        if action == "delete-sure":
            self._page.studio.forget_training(about)
        return about if action == "delete" else None
