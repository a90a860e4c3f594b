"""The two addresses of the page, one a language, and the switch between them."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from modules import translate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = {"zh-CN": "", "en": "en"}

SCRIPT = Path(__file__).with_name("first.js")


@cache
def head() -> bytes:
    """What stands at the top of the page's HTML: the script, and the looks of what lies outside Gradio's page."""
    known = {"paths": PATHS, "lost": {tag: translate.text("ui.disconnected", tag) for tag in PATHS}}
    return f"""
<script>const FENSHEN = {json.dumps(known)};
{SCRIPT.read_text(encoding="utf-8")}</script>
<style>
/* Gradio heads its notices with an English word, and has its own for a server that is away. Ours say it all. */
.toast-title, body:has(.fs-lost) .toast-wrap {{ display: none !important; }}
.fs-lost {{ position: fixed; inset: 0 0 auto 0; z-index: 9999; padding: 10px 16px; text-align: center;
  background: #f59e0b; color: #1c1917; font: 15px system-ui, sans-serif; }}
</style>
""".encode()


def switch(language: str) -> str:
    """Links to the page in every language; the click is remembered."""
    links = "".join(
        f'<a href="{PATHS[tag] or "./"}" data-language="{tag}" lang="{tag}"'
        f"{' aria-current=true' if tag == language else ''}>{escape(name)}</a>"
        for tag, name in translate.LANGUAGES.items()
    )
    return f'<nav class="fs-language">{links}</nav>'


class HeadFirst:
    """Puts head() at the top of the pages' HTML; Gradio's own ``head`` would come after its texts are chosen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through, and the pages with head() in them."""
        if scope["type"] != "http" or scope["path"].strip("/") not in PATHS.values():
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def insert(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            whole = body.replace(b"<head>", b"<head>" + head(), 1)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            if scope["method"] != "HEAD":
                headers.append((b"content-length", str(len(whole)).encode()))
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, insert)
