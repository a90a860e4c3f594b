"""Controls drawn from an engine's typed options, as HTML: any number of them costs the page one component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from modules.errors import StudioError
from modules.options import Option
from modules.ui.page import Page

# What renders never need: it makes lips follow the sound of a live talk at once.
LIVE_ONLY = "live"


def for_renders(options: Sequence[Option]) -> list[Option]:
    """The options that the render page shows."""
    return [option for option in options if option.name != LIVE_ONLY]


def accepted(options: Sequence[Option], kept: Any) -> dict[str, Any]:
    """The values for ``options``: what a browser kept where that is allowed now, else the defaults."""
    given = kept if isinstance(kept, Mapping) else {}
    values = {}
    for option in options:
        try:
            values[option.name] = option.check(given.get(option.name, option.default))
        except StudioError:
            values[option.name] = option.default
    return values


def controls(page: Page, options: Sequence[Option], values: Mapping[str, Any], about: str) -> str:
    """One labelled control an option; a change raises the panel's click event as 'set' (see ``html.panel``).

    about: goes into the controls' element ids, e.g. the engine's id.
    """
    return f'<div class="fs-controls">{"".join(_control(page, o, values[o.name], about) for o in options)}</div>'


def _control(page: Page, option: Option, value: Any, about: str) -> str:
    name = f"option-{about}-{option.name}"
    shown = ""
    if option.kind == "number":
        low, high, step = (f"{number:g}" for number in (option.minimum, option.maximum, option.step))
        field = (
            f'<input type="range" id="{escape(name)}" data-set="{escape(option.name)}" min="{low}" max="{high}"'
            f' step="{step}" value="{value:g}" aria-describedby="{escape(name)}-help">'
        )
        shown = f"<output>{value:g}</output>"
    elif option.kind == "choice":
        entries = "".join(
            f'<option value="{escape(choice)}"{" selected" if choice == value else ""}>'
            f"{escape(page.t(f'{option.key}.{choice}'))}</option>"
            for choice in option.choices
        )
        field = f'<select id="{escape(name)}" data-set="{escape(option.name)}">{entries}</select>'
    else:
        state = " checked" if value else ""
        field = f'<input type="checkbox" id="{escape(name)}" data-set="{escape(option.name)}"{state}>'
    return (
        f'<div class="fs-control fs-{option.kind}"><label for="{escape(name)}">{escape(page.t(option.key))}</label>'
        f'{shown}{field}<small id="{escape(name)}-help">{escape(page.t(f"{option.key}.help"))}</small></div>'
    )
