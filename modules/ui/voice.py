"""Step 2: a person's voice, out of their video or from a clip, cloned into the voice library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from modules.errors import StudioError
from modules.ui import html, words
from modules.ui.jobs_view import JobPanel
from modules.ui.page import Page
from modules.ui.shelf import Shelf

LANGUAGES = ("zh", "en", "ja")


class VoiceTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self._page = page
        t = page.t
        html.panel(html.heading(t("ui.voice.title"), t("ui.voice.intro")), name="voice-heading")
        with gr.Row(elem_classes="fs-columns"):
            with gr.Column(scale=4, min_width=320):
                self._source = gr.Radio(
                    [(t("ui.voice.source.avatar"), "avatar"), (t("ui.voice.source.clip"), "clip")],
                    value="avatar",
                    show_label=False,
                    container=False,
                    elem_id="voice-source",
                )
                self._from = html.panel(name="voice-from")
                with gr.Column(visible=False) as self._own:
                    self._file = gr.File(show_label=False, height=160, elem_id="voice-file")
                    self._microphone = gr.Audio(
                        sources=["microphone"],
                        type="filepath",
                        show_label=False,
                        editable=False,
                        elem_id="voice-microphone",
                    )
                    html.panel(html.note(t("ui.voice.clip.help")), name="voice-clip-help")
                self._extract = JobPanel(page, "extract")
            with gr.Column(scale=5, min_width=320):
                with gr.Column(visible=False, elem_classes="fs-form") as self._form:
                    self._build_form()
                self._clone = JobPanel(page, "clone")
                self._made = html.panel(name="voice-made")
        html.panel(f"<h3>{t('ui.voice.shelf')}</h3>", name="voice-shelf-title")
        self._shelf = Shelf(page, "voice", page.studio.voices, page.choices.voice, self._describe)
        self._build_test()
        next_step = gr.Button(
            t("ui.voice.next"), variant="primary", size="lg", elem_classes="fs-next", elem_id="voice-next"
        )
        page.leads_to(next_step, "script")
        self._bind()

    def _build_form(self) -> None:
        t = self._page.t
        self._found = html.panel(name="voice-found")
        self._transcript = gr.Textbox(
            label=t("ui.voice.transcript"),
            info=t("ui.voice.transcript.help"),
            lines=2,
            max_lines=6,
            max_length=500,
            elem_id="voice-transcript",
        )
        self._language = gr.Dropdown(self._languages(""), label=t("ui.voice.language"), elem_id="voice-language")
        self._name = gr.Textbox(
            label=t("ui.voice.name"),
            placeholder=t("ui.voice.name.placeholder"),
            max_lines=1,
            max_length=60,
            elem_id="voice-name",
        )
        self._consent = gr.Checkbox(label=t("ui.consent.voice"), elem_id="voice-consent")
        self._make = gr.Button(t("ui.voice.make"), variant="primary", size="lg", elem_id="voice-make")

    def _build_test(self) -> None:
        t = self._page.t
        with gr.Column(elem_classes="fs-box fs-test"):
            self._sentence = gr.Textbox(
                label=t("ui.voice.test"),
                value=t("ui.voice.test.sentence"),
                lines=2,
                max_length=200,
                elem_id="voice-sentence",
            )
            self._say = gr.Button(t("ui.voice.test.button"), elem_id="voice-say")
            self._speak = JobPanel(self._page, "speak")
            self._heard = html.panel(name="voice-heard")

    def _bind(self) -> None:
        page = self._page
        shown = [self._from, self._own]
        page.on(
            [page.blocks.load, page.choices.avatar.change],
            self._draw_source,
            [self._source, page.choices.avatar],
            shown,
        )
        turned = [*shown, self._source, *self._extract.outputs]
        page.on(
            [page.tab["voice"].select], self._arrive, [self._source, page.choices.avatar, self._extract.job], turned
        )
        page.on([self._source.input], self._turn_to, [self._source, page.choices.avatar], turned)
        taken = [*self._extract.outputs, *self._clone.outputs]
        page.on([self._file.upload], self._take, [self._file], taken)
        page.on([self._microphone.stop_recording], self._take, [self._microphone], taken)
        page.on(
            [self._extract.done.change],
            self._show_found,
            [self._extract.done],
            [self._form, self._found, self._transcript, self._language, self._name, self._consent],
        )
        page.on(
            [self._make.click],
            self._start_clone,
            [self._extract.done, self._name, self._transcript, self._language, self._consent],
            [self._made, *self._clone.outputs],
        )
        page.on(
            [self._clone.done.change],
            self._show_made,
            [self._clone.done],
            [self._made, *self._shelf.outputs, self._clone.job],
        )
        page.on([self._say.click], self._start_speaking, [page.choices.voice, self._sentence], self._speak.outputs)
        page.on([self._speak.done.change], self._play, [self._speak.done], [self._heard])

    def _languages(self, extra: str) -> list[tuple[str, str]]:
        known = [(self._page.t(f"ui.language.{tag}"), tag) for tag in LANGUAGES]
        return known if not extra or extra in LANGUAGES else [*known, (extra, extra)]

    def _describe(self, voice: Any) -> tuple[str, str]:
        language = {tag: label for label, tag in self._languages(voice.language)}[voice.language]
        return html.sound(self._page.link(voice.sample)), f"{language} · {words.date(voice.created)}"

    def _draw_source(self, source: str, avatar_id: Any) -> tuple[str, Any]:
        """Where the voice is to come from: a drop zone, or the chosen avatar."""
        page = self._page
        own = gr.Column(visible=source == "clip")
        if source == "clip":
            return "", own
        avatar = self._avatar(avatar_id)
        if avatar is None:
            return html.empty(page.t("ui.voice.no_avatar")), own
        if avatar.kind == "photo":
            return html.note(page.t("ui.voice.photo"), "warning"), own
        picture = html.picture(page.link(avatar.picture), avatar.name)
        return html.cards([html.card(picture, avatar.name, page.t("ui.voice.from"), "")]), own

    def _arrive(self, source: str, avatar_id: Any, job_id: Any) -> tuple[Any, ...]:
        """The step comes into view: a clip of the user's own goes before the avatar's video."""
        try:
            own_clip = bool(job_id) and "upload" in self._page.studio.job(str(job_id)).params
        except StudioError:
            own_clip = False  # deleted meanwhile
        return self._turn_to("clip" if own_clip else source, avatar_id)

    def _turn_to(self, source: str, avatar_id: Any) -> tuple[Any, ...]:
        """Draw the source; the voice in the chosen avatar's video is extracted without being asked for."""
        drawn = (*self._draw_source(source, avatar_id), source)
        avatar = self._avatar(avatar_id)
        if source == "clip" or avatar is None or avatar.kind == "photo":
            return (*drawn, *(gr.skip() for _ in self._extract.outputs))
        return (*drawn, *self._extract.begin(self._extraction(avatar.id)))

    def _avatar(self, avatar_id: Any) -> Any:
        return next((avatar for avatar in self._page.studio.avatars.list() if avatar.id == avatar_id), None)

    def _extraction(self, avatar_id: str) -> str:
        """The job that extracts the voice of an avatar's video: the one there is, else a new one."""
        for job in self._page.studio.jobs(limit=1000, kinds=["extract_voice"]):
            if job.params.get("avatar") == avatar_id:
                return job.id
        return self._page.studio.submit("extract_voice", avatar=avatar_id)

    def _take(self, file: str | None) -> tuple[Any, ...]:
        if file is None:
            raise StudioError("upload_empty")
        upload = self._page.studio.accept(Path(file))
        job_id = self._page.studio.submit("extract_voice", upload=upload)
        return (*self._extract.begin(job_id), *self._clone.clear())

    def _show_found(self, job_id: Any) -> tuple[Any, ...]:
        if job_id is None:
            return gr.Column(visible=False), "", "", gr.skip(), gr.skip(), False
        job = self._page.studio.job(job_id)
        result = job.result or {}
        language = result["language"]
        return (
            gr.Column(visible=True),
            self._found_html(job_id, result),
            result["transcript"],
            gr.Dropdown(self._languages(language), value=language),
            self._suggested_name(job.params.get("avatar")),
            False,
        )

    def _suggested_name(self, avatar_id: Any) -> str:
        avatar = self._avatar(avatar_id)
        number = len(self._page.studio.voices.list()) + 1
        return self._page.t("ui.voice.name.default", number=number) if avatar is None else avatar.name

    def _found_html(self, job_id: str, result: dict[str, Any]) -> str:
        page = self._page
        players = ""
        for version in ("original", "cleaned"):
            if result.get(version):
                link = page.link(page.studio.file(job_id, result[version]))
                players += html.sound(link, page.t(f"ui.voice.{version}"))
        findings = [(finding["level"], page.t(finding["key"], **finding["values"])) for finding in result["findings"]]
        length = page.t("ui.voice.found", time=words.duration(page, result["speech_seconds"]))
        return f'<b class="fs-box-title">{length}</b>{html.row(players)}{html.notes(findings)}'

    def _start_clone(self, extraction: Any, name: str, transcript: str, language: str, agreed: bool) -> tuple[Any, ...]:
        studio = self._page.studio
        if not agreed:
            raise StudioError("consent_missing")
        if not name.strip():
            raise StudioError("name_missing")
        source = studio.job(str(extraction))
        job_id = studio.submit(
            "clone_voice",
            extraction=source.id,
            name=name.strip(),
            transcript=transcript.strip(),
            language=language,
            consent=studio.consent("voice", source.id, self._page.language),
            engine="builtin",
        )
        return "", *self._clone.begin(job_id)

    def _show_made(self, job_id: Any) -> Any:
        """Choose the new voice, once: the browser then forgets the job."""
        if job_id is None:
            return gr.skip()
        studio = self._page.studio
        result = studio.job(job_id).result or {}
        voice = studio.voices.get(result["voice"])
        note = html.note(self._page.t("ui.voice.made", name=voice.name), "good")
        sample = html.sound(self._page.link(studio.file(job_id, result["sample"])))
        return note + sample, *self._shelf.draw(voice.id), None

    def _start_speaking(self, voice: Any, sentence: str) -> tuple[Any, ...]:
        if not voice:
            raise StudioError("voice_not_chosen")
        return self._speak.begin(self._page.studio.submit("speak", voice=voice, text=sentence, speed=1.0))

    def _play(self, job_id: Any) -> str:
        if job_id is None:
            return ""
        result = self._page.studio.job(job_id).result or {}
        return html.sound(self._page.link(self._page.studio.file(job_id, result["sound"])))
