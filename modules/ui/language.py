"""The two addresses of the page, one a language, and the switch between them."""

from __future__ import annotations

import json
from html import escape

from modules import translate

PATHS = {"zh-CN": "", "en": "en"}

# Runs before the page is drawn: goes to the remembered language, else to the browser's, and
# tells Gradio's own texts (drop zones, recorders) to follow the page instead of the browser.
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
        f'{" aria-current=true" if tag == language else ""}>{escape(name)}</a>'
        for tag, name in translate.LANGUAGES.items()
    )
    return f'<nav class="fs-language">{links}</nav>'
