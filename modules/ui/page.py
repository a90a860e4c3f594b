"""One language's page: its texts, and how its events answer.

The wizard is built once for each language, at an address of its own. A
handler's language is that of the page it was built for, so labels, messages,
progress and errors all come from one place: ``Page.t``.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import gradio as gr

from modules import translate
from modules.errors import StudioError
from modules.settings import Settings

if TYPE_CHECKING:
    from modules.jobs.store import Job
    from modules.jobs.studio import Studio

log = logging.getLogger("ui")
Handler = Callable[..., Any]
ACTIVE = ("queued", "running")
# Seconds between two looks: while something has just begun or is being stopped, while it goes on, and while nothing is
# made. A look costs the browser a fifth of a second on a slow machine, whose two cores have that something to make.
BUSY_PULSE, LONG_PULSE, CALM_PULSE = 0.5, 1.5, 3.0
FRESH_SECONDS = 6.0
RECENT = 20
TABS = ("avatar", "voice", "script", "render", "projects", "models")
PANELS = ("check", "prepare", "extract", "clone", "speak", "listen", "frame", "preview", "render", "train", "import")
# Browser states are encrypted with this in the browser's own storage; it is no secret
# (the page carries it), but it must stay the same for a state to outlive the server.
STORAGE_KEY = "fenshen-studio-1"


def until_next_look(jobs: Iterable[Job], now: float) -> float:
    """Seconds until the page looks again, by the newest ``jobs``; now: Unix seconds."""
    active = [job for job in jobs if job.state in ACTIVE]
    if not active:
        return CALM_PULSE
    fresh = any(job.cancelling or now - (job.started or job.created) < FRESH_SECONDS for job in active)
    return BUSY_PULSE if fresh else LONG_PULSE


def browser_state(name: str, value: Any = None) -> gr.BrowserState:
    """A value that this browser keeps over reloads, in every language and tab."""
    return gr.BrowserState(value, storage_key=f"fenshen.{name}", secret=STORAGE_KEY)


@dataclass
class Choices:
    """What this browser has chosen so far, and the job that each panel follows.

    Whatever comes back from a browser is checked by the Studio. They stand outside
    the tabs: Gradio reads one inside a tab only when that tab is first drawn.
    """

    avatar: gr.BrowserState = field(default_factory=lambda: browser_state("avatar"))
    voice: gr.BrowserState = field(default_factory=lambda: browser_state("voice"))
    script: gr.BrowserState = field(default_factory=lambda: browser_state("script", ""))
    speed: gr.BrowserState = field(default_factory=lambda: browser_state("speed", 1.0))
    room: gr.BrowserState = field(default_factory=lambda: browser_state("room", 1.0))
    engine: gr.BrowserState = field(default_factory=lambda: browser_state("engine", ""))
    options: gr.BrowserState = field(default_factory=lambda: browser_state("options", {}))
    tab: gr.BrowserState = field(default_factory=lambda: browser_state("tab", TABS[0]))
    job: dict[str, gr.BrowserState] = field(
        default_factory=lambda: {name: browser_state(f"job.{name}") for name in PANELS}
    )


@dataclass(frozen=True)
class Watch:
    """Something that is looked at all the time: ``look`` turns ``inputs`` into the values of ``outputs``."""

    look: Handler
    inputs: Sequence[Any]
    outputs: Sequence[Any]


@dataclass
class Page:
    """What every tab needs: the studio, the language and the page's own frame."""

    studio: Studio
    settings: Settings
    language: str
    blocks: gr.Blocks
    choices: Choices
    tabs: gr.Tabs
    timer: gr.Timer
    tab: dict[str, gr.Tab] = field(default_factory=dict)
    watches: list[Watch] = field(default_factory=list)

    def t(self, key: str, **values: str | int | float) -> str:
        """The text of an i18n key in this page's language."""
        return translate.text(key, self.language, **values)

    def error(self, error: StudioError) -> str:
        """One sentence: what went wrong and what to do."""
        return translate.error_text(error, self.language)

    def warn(self, sentence: str) -> None:
        """Show what is missing or went wrong at the edge of the page."""
        gr.Warning(sentence, duration=8)

    def guard(self, handler: Handler) -> Handler:
        """``handler``, whose errors become one sentence and leave the page as it was."""

        @functools.wraps(handler)
        def guarded(*args: Any) -> Any:
            try:
                return handler(*args)
            except StudioError as error:
                self.warn(self.error(error))
            except Exception:  # the last net: a fault must never lock the page or show a traceback
                log.exception("a handler of the page broke")
                self.warn(self.t("ui.unexpected"))
            return gr.skip()

        return guarded

    def on(
        self,
        triggers: Sequence[Any],
        handler: Handler,
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        js: str | None = None,
        trigger_mode: Literal["once", "multiple", "always_last"] | None = None,
    ) -> Any:
        """Bind a handler: quick, guarded, without Gradio's spinner, and not part of a public API."""
        return gr.on(
            list(triggers),
            self.guard(handler),
            list(inputs),
            list(outputs),
            js=js,
            trigger_mode=trigger_mode,
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
        )

    def watch(self, look: Handler, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Have ``look`` called when the page loads and with every pulse."""
        self.watches.append(Watch(look, inputs, outputs))

    def start_pulse(self) -> None:
        """One question to the server a tick, for everything that is watched.

        It is asked whether or not a job runs: an answer that comes late, after
        something new has begun, is put right by the next one.
        """
        watches = tuple(self.watches)

        def pulse(*values: Any) -> tuple[Any, ...]:
            answers: list[Any] = [gr.Timer(until_next_look(self.studio.jobs(limit=RECENT), time.time()))]
            start = 0
            for watch in watches:
                stop = start + len(watch.inputs)
                try:
                    answers += watch.look(*values[start:stop])
                except Exception:  # nobody asked: the page must not be strewn with notices
                    log.exception("a look of the page broke")
                    answers += [gr.skip() for _ in watch.outputs]
                start = stop
            return tuple(answers)

        inputs = [component for watch in watches for component in watch.inputs]
        outputs = [component for watch in watches for component in watch.outputs]
        # Without waiting for the last answer: one that was lost on the way must not be the last question.
        triggers = [self.blocks.load, self.timer.tick]
        self.on(triggers, pulse, inputs, [self.timer, *outputs], trigger_mode="multiple")

    def opened(self, tab: str) -> list[Any]:
        """The triggers of a tab's coming into view: the page loads, or the tab is selected."""
        return [self.blocks.load, self.tab[tab].select]

    def leads_to(self, button: gr.Button, tab: str) -> None:
        """Make ``button`` open another tab."""
        self.on([button.click], lambda: gr.Tabs(selected=tab), outputs=[self.tabs])

    def link(self, path: Path) -> str:
        """Address of a file in one of the folders that the page may serve, relative to the page."""
        return "gradio_api/file=" + quote(str(path))
