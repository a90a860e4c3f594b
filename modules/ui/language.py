"""The two addresses of the page, one a language, and the switch between them."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from modules import translate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = {"zh-CN": "", "en": "en"}

# Runs before anything of the page does: goes to the remembered language, else to the browser's,
# and tells Gradio's own texts (drop zones, recorders) to follow the page instead of the browser.
HEAD = f"""
<script>
(() => {{
  const paths = {json.dumps(PATHS)};
  const here = Object.keys(paths).find((tag) => paths[tag] && location.pathname.endsWith('/' + paths[tag])) || 'zh-CN';
  const browser = (navigator.language || 'zh-CN').toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
  const remembered = localStorage.getItem('fenshen.language');
  const wanted = remembered in paths ? remembered : (here === 'zh-CN' ? browser : here);
  if (wanted !== here) location.replace((paths[wanted] || './') + location.search);
  Object.defineProperty(navigator, 'language', {{get: () => here}});
  document.documentElement.lang = here;
  document.addEventListener('click', (event) => {{
    const link = event.target.closest && event.target.closest('a[data-language]');
    if (link) localStorage.setItem('fenshen.language', link.dataset.language);
  }});
}})();
</script>
<style>
/* Gradio heads its notices with an English word; the sentence says it all. */
.toast-title {{ display: none; }}
</style>
"""


def switch(language: str) -> str:
    """Links to the page in every language; the click is remembered."""
    links = "".join(
        f'<a href="{PATHS[tag] or "./"}" data-language="{tag}" lang="{tag}"'
        f"{' aria-current=true' if tag == language else ''}>{escape(name)}</a>"
        for tag, name in translate.LANGUAGES.items()
    )
    return f'<nav class="fs-language">{links}</nav>'


class HeadFirst:
    """Puts HEAD at the top of the pages' HTML; Gradio's own ``head`` would come after its texts are chosen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through, and the pages with HEAD in them."""
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
            whole = body.replace(b"<head>", b"<head>" + HEAD.encode(), 1)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            if scope["method"] != "HEAD":
                headers.append((b"content-length", str(len(whole)).encode()))
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, insert)
