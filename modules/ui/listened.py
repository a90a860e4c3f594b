"""How the page shows what listening back found: a line that sums it up, and each doubtful sentence."""

from __future__ import annotations

from html import escape

from modules.jobs import listened
from modules.jobs.store import Job
from modules.ui import html
from modules.ui.page import Page


def listened_html(page: Page, job: Job) -> str:
    """Remarks and doubtful sentences; stands in one ``fs-result`` with the player that its buttons move."""
    found = (job.result or {}).get("listened")
    if found is None:
        return ""
    rows = "".join(_row(page, doubt) for doubt in listened.doubts(found, page.language))
    notes = html.notes(listened.remarks(found, page.language))
    return f'<div class="fs-listened">{notes}{f"<ol>{rows}</ol>" if rows else ""}</div>'


def _row(page: Page, doubt: listened.Doubt) -> str:
    minutes, seconds = divmod(int(doubt.start), 60)
    play = html.button(f"▶ {minutes}:{seconds:02d}", "seek", f"{doubt.start:.2f}")
    heard = f"<span>{escape(doubt.heard)}</span>" if doubt.heard else ""
    return f"<li>{play}<div><b>{escape(doubt.sentence)}</b><span>{escape(doubt.why)}</span>{heard}</div></li>"
