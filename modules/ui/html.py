"""Small pieces of HTML that the tabs share. Whatever a user wrote is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import gradio as gr

# One listener for all buttons inside a gr.HTML: the button's data-* become the event's data.
# A 'seek' button plays the sound or video beside it from the second that is its id, without asking the server.
# A panel that is drawn anew between press and release gives the click to what stands there then, if it does the same.
# What is set on a control with data-set is the action 'set'. Every action brings the values of all such controls, so
# that none is missed when one comes right after another.
ACTIONS_JS = """
let pressed = '';
const about = (button) => button ? button.dataset.do + ' ' + button.dataset.id : '';
const valueOf = (control) => control.type === 'range' ? Number(control.value)
  : control.type === 'checkbox' ? control.checked : control.value;
const values = () => Object.fromEntries(
  [...element.querySelectorAll('[data-set]')].map((control) => [control.dataset.set, valueOf(control)]));
element.addEventListener('pointerdown', (event) => { pressed = about(event.target.closest('[data-do]')); });
element.addEventListener('click', (event) => {
  let button = event.target.closest('[data-do]');
  if (!button && pressed) {
    const there = document.elementFromPoint(event.clientX, event.clientY)?.closest('[data-do]');
    if (about(there) === pressed) button = there;
  }
  pressed = '';
  if (!button || !element.contains(button) || button.disabled) return;
  if (button.dataset.do !== 'seek') return trigger('click', {...button.dataset, values: values()});
  const player = button.closest('.fs-result').querySelector('video, audio');
  player.currentTime = Number(button.dataset.id);
  player.play();
});
element.addEventListener('input', (event) => {
  const shown = event.target.closest('.fs-control')?.querySelector('output');
  if (shown) shown.textContent = event.target.value;
});
element.addEventListener('change', (event) => {
  const control = event.target.closest('[data-set]');
  if (!control) return;
  trigger('click', {do: 'set', id: control.dataset.set, values: values()});
});
"""


def panel(value: str = "", *, name: str, css: str = "") -> gr.HTML:
    """An HTML component whose buttons (``button()``) raise its click event."""
    return gr.HTML(value, js_on_load=ACTIONS_JS, elem_id=name, elem_classes=["fs-html", css] if css else ["fs-html"])


def clicked(event: gr.EventData) -> tuple[str, str]:
    """What a click inside ``panel`` asks for: the action, and the id it is about (both untrusted)."""
    data = event._data if isinstance(event._data, dict) else {}
    return str(data.get("do", "")), str(data.get("id", ""))


def given(event: gr.EventData) -> dict[str, Any]:
    """What the controls inside ``panel`` are set to, by name (untrusted)."""
    values = event._data.get("values") if isinstance(event._data, dict) else None
    return values if isinstance(values, dict) else {}


def button(label: str, action: str, about: str = "", *, kind: str = "quiet", pressed: bool | None = None) -> str:
    """A button inside ``panel``. kind: 'quiet', 'main' or 'danger'."""
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button type="button" class="fs-button fs-{kind}" data-do="{escape(action)}"'
        f' data-id="{escape(about)}"{state}>{escape(label)}</button>'
    )


def note(sentence: str, level: str = "info") -> str:
    """A sentence with a coloured edge. level: 'info', 'good', 'warning' or 'error'."""
    role = ' role="alert"' if level == "error" else ""
    return f'<div class="fs-note fs-{escape(level)}"{role}>{escape(sentence)}</div>'


def notes(sentences: Iterable[tuple[str, str]]) -> str:
    """Several (level, sentence) one below the other."""
    return "".join(note(sentence, level) for level, sentence in sentences)


def heading(title: str, explanation: str) -> str:
    """The beginning of a tab: what is done here, in one line."""
    return f'<div class="fs-heading"><h2>{escape(title)}</h2><p>{escape(explanation)}</p></div>'


def box_title(title: str, explanation: str) -> str:
    """The beginning of a part of a tab."""
    return f'<div class="fs-part"><h3>{escape(title)}</h3><p>{escape(explanation)}</p></div>'


def empty(sentence: str) -> str:
    """What stands where there is nothing yet."""
    return f'<div class="fs-empty">{escape(sentence)}</div>'


def bar(fraction: float) -> str:
    """A progress bar, 0 to 1."""
    percent = round(100 * min(max(fraction, 0.0), 1.0))
    return (
        f'<div class="fs-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<i style="width:{percent}%"></i></div>'
    )


def timeline(states: Sequence[tuple[str, str]], legend: Sequence[tuple[str, str]]) -> str:
    """One coloured cell a second, each (state, what to show on hover); ``legend`` is (state, name)."""
    cells = "".join(f'<i class="fs-second fs-is-{escape(name)}" title="{escape(title)}"></i>' for name, title in states)
    names = "".join(f'<span><i class="fs-is-{escape(state)}"></i>{escape(name)}</span>' for state, name in legend)
    return f'<div class="fs-timeline">{cells}</div><div class="fs-legend">{names}</div>'


def sound(link: str, label: str = "") -> str:
    """A sound player."""
    caption = f"<span>{escape(label)}</span>" if label else ""
    return f'<div class="fs-sound">{caption}<audio controls preload="metadata" src="{escape(link)}"></audio></div>'


def video(link: str) -> str:
    """A video player."""
    return f'<video class="fs-video" controls playsinline preload="metadata" src="{escape(link)}"></video>'


def download(link: str, file_name: str, label: str) -> str:
    """A link that saves a file under a name that the user will know again."""
    return f'<a class="fs-button fs-quiet" href="{escape(link)}" download="{escape(file_name)}">{escape(label)}</a>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A short table of names and values."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<dl class="fs-facts">{cells}</dl>'


def card(picture: str, title: str, detail: str, buttons: str, *, chosen: bool = False) -> str:
    """One entry of a library. ``picture`` and ``buttons`` are HTML, the rest is text."""
    css = "fs-card fs-chosen" if chosen else "fs-card"
    return (
        f'<div class="{css}">{picture}<div class="fs-card-text"><b title="{escape(title)}">{escape(title)}</b>'
        f'<span>{escape(detail)}</span></div><div class="fs-row">{buttons}</div></div>'
    )


def picture(link: str, description: str) -> str:
    """A picture of a card."""
    return f'<img class="fs-picture" loading="lazy" src="{escape(link)}" alt="{escape(description)}">'


def cards(entries: Iterable[str]) -> str:
    """Cards side by side."""
    return f'<div class="fs-cards">{"".join(entries)}</div>'


def row(*pieces: str) -> str:
    """Pieces side by side."""
    return f'<div class="fs-row">{"".join(pieces)}</div>'


def chip(label: str, level: str = "info") -> str:
    """A word in a coloured capsule. level: 'info', 'good', 'warning' or 'error'."""
    return f'<span class="fs-chip fs-{escape(level)}">{escape(label)}</span>'
