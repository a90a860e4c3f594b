"""Step 3: the script, its pauses, speed and room, its length, and listening to it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gradio as gr

from modules.errors import StudioError
from modules.jobs.store import Job
from modules.script import MAX_SPEED, MIN_SPEED, PAUSE, SENTENCE
from modules.ui import html, words
from modules.ui.jobs_view import JobPanel
from modules.ui.listened import listened_html
from modules.ui.page import Page

PAUSES = (0.5, 1.0, 2.0)
FIELD = "script-text"

# Puts a pause where the cursor stands; the text field keeps its selection when it loses the focus.
INSERT_JS = """
(text) => {
  const field = document.querySelector('#%s textarea');
  const [start, end] = [field.selectionStart, field.selectionEnd];
  setTimeout(() => { field.focus(); field.setSelectionRange(start + %d, start + %d); }, 60);
  return text.slice(0, start) + '%s' + text.slice(end);
}
"""
# Passes the cursor's place in place of the first input.
CURSOR_JS = f"(at, ...rest) => [document.querySelector('#{FIELD} textarea').selectionStart, ...rest]"


def sentence_at(script: str, cursor: int) -> str:
    """The sentence of ``script`` that character ``cursor`` (0-based) is in or right behind."""
    cuts = {0, len(script)}
    for pattern in (SENTENCE, PAUSE):
        cuts.update(match.end() for match in pattern.finditer(script))
    cuts.update(place + 1 for place, letter in enumerate(script) if letter == "\n")
    borders = sorted(cuts)
    pieces = [script[start:stop] for start, stop in pairwise(borders)]
    spoken = [PAUSE.sub("", piece).strip() for piece in pieces]
    reached = [text for text, start in zip(spoken, borders[:-1], strict=True) if text and start <= max(cursor - 1, 0)]
    return reached[-1] if reached else next(iter(filter(None, spoken)), "")


class ScriptTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.script.title"), t("ui.script.intro")), name="script-heading")
        with gr.Row(elem_classes="fs-columns"):
            with gr.Column(scale=6, min_width=320):
                self._text = gr.Textbox(
                    show_label=False,
                    placeholder=t("ui.script.placeholder"),
                    lines=14,
                    max_lines=24,
                    elem_id=FIELD,
                    container=False,
                )
                self._length = html.panel(html.empty(t("ui.script.empty")), name="script-length")
            with gr.Column(scale=3, min_width=280):
                self._build_tools()
        next_step = gr.Button(
            t("ui.script.next"), variant="primary", size="lg", elem_classes="fs-next", elem_id="script-next"
        )
        page.leads_to(next_step, "render")
        self._bind()

    def _build_tools(self) -> None:
        t = self._page.t
        html.panel(f"<b class='fs-box-title'>{t('ui.script.pauses')}</b>", name="script-pauses")
        with gr.Row(elem_classes="fs-tight"):
            for seconds in PAUSES:
                mark = t("ui.script.pause.mark", seconds=f"{seconds:g}")
                button = gr.Button(
                    t("ui.script.pause", seconds=f"{seconds:g}"), size="sm", min_width=70, elem_id=f"pause-{seconds:g}"
                )
                button.click(
                    None,
                    [self._text],
                    [self._text],
                    js=INSERT_JS % (FIELD, len(mark), len(mark), mark),
                    api_visibility="private",
                )
        self._speed = gr.Slider(
            MIN_SPEED,
            MAX_SPEED,
            value=1.0,
            step=0.05,
            label=t("ui.script.speed"),
            elem_id="script-speed",
            buttons=["reset"],
        )
        self._room = gr.Slider(
            0.0,
            1.0,
            value=1.0,
            step=0.1,
            label=t("ui.script.room"),
            info=t("ui.script.room.help"),
            elem_id="script-room",
            buttons=["reset"],
            visible=False,
        )
        html.panel(f"<b class='fs-box-title'>{t('ui.script.listen')}</b>", name="script-listen")
        with gr.Row(elem_classes="fs-tight"):
            self._one = gr.Button(t("ui.script.listen.one"), size="md", min_width=120, elem_id="listen-one")
            self._all = gr.Button(t("ui.script.listen.all"), size="md", min_width=120, elem_id="listen-all")
        self._listen = JobPanel(self._page, "listen")
        self._heard = html.panel(name="script-heard")
        html.panel(html.note(t("ui.script.grammar")), name="script-grammar")

    def _bind(self) -> None:
        page, choices = self._page, self._page.choices
        page.on(
            [page.blocks.load],
            # Whoever typed before the page had answered keeps what they typed.
            lambda saved, speed, room, typed: (typed or saved, speed, room),
            [choices.script, choices.speed, choices.room, self._text],
            [self._text, self._speed, self._room],
        )
        page.on([page.blocks.load, choices.voice.change], self._offer_room, [choices.voice], [self._room])
        written = [self._text, self._speed, self._room]
        page.on([self._text.change, self._speed.change], self._measure, written[:2], [self._length])
        # Kept by the browser itself, so that nothing is lost while the server is away.
        gr.on(
            [self._text.change, self._speed.change, self._room.change],
            None,
            written,
            [choices.script, choices.speed, choices.room],
            js="(text, speed, room) => [text, speed, room]",
            api_visibility="private",
        )
        # The number is only a place for the cursor, which CURSOR_JS fills in.
        cursor = gr.Number(0, visible=False)
        page.on(
            [self._one.click],
            self._listen_one,
            [cursor, *written, choices.voice],
            self._listen.outputs,
            js=CURSOR_JS,
        )
        page.on([self._all.click], self._listen_to, [*written, choices.voice], self._listen.outputs)
        page.on([self._listen.done.change], self._play, [self._listen.done], [self._heard])

    def _measure(self, text: str, speed: float) -> str:
        return script_length(self._page, text, speed)

    def _offer_room(self, voice: Any) -> Any:
        """The room can be taken away where there is one."""
        kept = {entry.id for entry in self._page.studio.voices.list()}
        return gr.update(visible=voice in kept and self._page.studio.has_room(voice))

    def _listen_one(self, cursor: float, text: str, speed: float, room: float, voice: Any) -> tuple[Any, ...]:
        return self._listen_to(sentence_at(text, int(cursor or 0)), speed, room, voice)

    def _listen_to(self, text: str, speed: float, room: float, voice: Any) -> tuple[Any, ...]:
        if not voice:
            raise StudioError("voice_not_chosen")
        return self._listen.begin(self._page.studio.submit("speak", voice=voice, text=text, speed=speed, room=room))

    def _play(self, job_id: Any) -> str:
        if job_id is None:
            return ""
        job = self._page.studio.job(job_id)
        return sound_html(self._page, job, job.title)


def sound_html(page: Page, job: Job, label: str = "") -> str:
    """A finished speech: its player, and what listening back found."""
    player = html.sound(page.link(page.studio.file(job.id, (job.result or {})["sound"])), label)
    return f'<div class="fs-result">{player}{listened_html(page, job)}</div>'


def script_length(page: Page, text: str, speed: float) -> str:
    """Characters, sentences and length of a script, or what keeps it from being spoken."""
    if not text.strip():
        return html.empty(page.t("ui.script.empty"))
    try:
        estimate = page.studio.estimate(text, speed)
    except StudioError as error:
        return html.note(page.error(error), "error")
    return html.facts(
        [
            (page.t("ui.script.characters"), str(estimate["characters"])),
            (page.t("ui.script.sentences"), str(estimate["sentences"])),
            (page.t("ui.script.seconds"), words.duration(page, estimate["seconds"])),
        ]
    )
