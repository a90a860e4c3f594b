"""The page: one wizard a language, on one server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.middleware import Middleware

from modules import translate
from modules.settings import Settings
from modules.ui import html, language
from modules.ui.avatar import AvatarTab
from modules.ui.models import ModelsTab
from modules.ui.page import BUSY_PULSE, TABS, Choices, Page
from modules.ui.projects import ProjectsTab
from modules.ui.render import RenderTab
from modules.ui.script import ScriptTab
from modules.ui.voice import VoiceTab

if TYPE_CHECKING:
    from modules.jobs.studio import Studio

# Gradio keeps a copy of what was uploaded, which ours in data/uploads makes needless: look every hour, keep a day.
DELETE_UPLOADS = (3600, 86400)
# Gradio's queue asks itself a thousand times a second whether it has work, which takes a tenth of a slow core.
QUEUE_NAP = 0.02
STYLE = Path(__file__).with_name("style.css")
FONTS = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
OPEN_TAB_JS = """
async (before) => {
  await new Promise((drawn) => setTimeout(drawn, 50));
  const open = document.querySelector('#steps > .tab-wrapper [role=tab][aria-selected=true]');
  return (window.fenshenRestored && open && open.dataset.tabId) || before;
}
"""
RESTORED_JS = """() => {
  window.fenshenRestored = true;
  const chosen = document.getElementById(window.fenshenChosen);
  if (chosen && chosen.getAttribute('aria-selected') !== 'true') chosen.click();
}
"""
BUILDERS = {
    "avatar": AvatarTab,
    "voice": VoiceTab,
    "script": ScriptTab,
    "render": RenderTab,
    "projects": ProjectsTab,
    "models": ModelsTab,
}


def _build_page(blocks: gr.Blocks, studio: Studio, settings: Settings, tag: str) -> None:
    """One language's wizard, inside the Blocks context."""
    choices = Choices()
    timer = gr.Timer(BUSY_PULSE)
    with gr.Row(elem_classes="fs-header"):
        name, tagline = translate.text("ui.name", tag), translate.text("ui.tagline", tag)
        html.panel(f'<div class="fs-brand"><b>{name}</b><span>{tagline}</span></div>', name="brand")
        html.panel(language.switch(tag), name="language")
    with gr.Tabs(elem_classes="fs-steps", elem_id="steps") as tabs:
        page = Page(studio, settings, tag, blocks, choices, tabs, timer)
        for step in TABS:
            page.tab[step] = gr.Tab(page.t(f"ui.tab.{step}"), id=step, elem_id=f"tab-{step}", render_children=True)
        for step in TABS:
            with page.tab[step]:
                BUILDERS[step](page)
    page.start_pulse()
    _remember_tab(page)


def _remember_tab(page: Page) -> None:
    """Open the tab that was open before; keep, in the browser itself, the one that the user opens."""
    restored = page.on(
        [page.blocks.load],
        lambda step: gr.Tabs(selected=step if step in TABS else TABS[0]),
        [page.choices.tab],
        [page.tabs],
    )
    restored.then(None, js=RESTORED_JS, api_visibility="private")
    # A tab may say late that it was selected while the page was built: what counts is which one is open.
    gr.on(
        [tab.select for tab in page.tab.values()],
        None,
        [page.choices.tab],
        [page.choices.tab],
        js=OPEN_TAB_JS,
        api_visibility="private",
    )


def build(studio: Studio, settings: Settings) -> gr.Blocks:
    """The whole app, not yet launched."""
    with gr.Blocks(title="分身 Fenshen Studio", analytics_enabled=False, delete_cache=DELETE_UPLOADS) as blocks:
        _build_page(blocks, studio, settings, "zh-CN")
    for tag, path in language.PATHS.items():
        if path:
            with blocks.route(translate.LANGUAGES[tag], f"/{path}", show_in_navbar=False):
                _build_page(blocks, studio, settings, tag)
    blocks._queue.sleep_when_free = QUEUE_NAP
    return blocks


def theme() -> gr.themes.Base:
    """Calm and plain, with the system's own fonts: nothing is fetched from anywhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        font=FONTS,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def launch_options(settings: Settings) -> dict[str, Any]:
    """How the app is to be launched."""
    folders = [settings.data_dir / name for name in ("jobs", "avatars", "voices")]
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "share": settings.share,
        "auth": settings.login,
        "max_file_size": settings.max_upload_mb * 1_000_000,
        "allowed_paths": [str(folder) for folder in folders],
        "theme": theme(),
        "css_paths": STYLE,
        "app_kwargs": {"middleware": [Middleware(language.HeadFirst)]},
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "enable_monitoring": False,
    }
