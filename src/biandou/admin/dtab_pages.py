"""namerd's own pages: its namespaces at `/`, and a namespace's dtab with what a name comes to in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Final
from urllib.parse import quote, unquote

from biandou.admin.delegator import delegator_page
from biandou.admin.overview import HTML, inline_source
from biandou.admin.page import Page, Pages, Reply, Request
from biandou.admin.sources import AdminSources

_HEAD: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<style>body{{font:15px system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}}"
    "textarea,pre{{font:14px monospace;width:100%;box-sizing:border-box}}input{{font:14px monospace;width:24em}}"
    "</style><title>{title}</title><h1>{title}</h1>"
)

# The dtab is evaluated as it stands in the box, and nothing is stored.
_TRY: Final = """<textarea id=dtab rows=16 spellcheck=false>{dtab}</textarea>
<p><input id=path value=/svc/web> <button id=go>delegate</button> (nothing is stored)</p><pre id=told></pre>
<script>document.getElementById('go').onclick=async()=>{const v=i=>document.getElementById(i).value,
r=await fetch('/dtab/delegator.json',{method:'POST',headers:{'Content-Type':'application/json'},
body:JSON.stringify({dtab:v('dtab'),path:v('path')})}),t=await r.text();let s=t;
try{s=JSON.stringify(JSON.parse(t),null,2)}catch(e){}document.getElementById('told').textContent=s}</script>"""


def dtab_pages(sources: AdminSources) -> Pages:
    """Give namerd's pages, none for a process that keeps no dtabs."""
    if sources.namespaces is None or sources.stored_dtab is None:
        return {}
    pages = {"/": Page(partial(_list, sources.namespaces)), "/dtab/": Page(partial(_show, sources.stored_dtab))}
    if sources.delegate is not None:
        pages["/dtab/delegator.json"] = delegator_page(sources.delegate)
    return pages


def _list(namespaces: Callable[[], Sequence[str]], _request: Request) -> Reply:
    items = "".join(
        f'<li><a href="dtab/{quote(name, safe="")}">{escape(name)}</a></li>' for name in sorted(namespaces())
    )
    return _page(f"{_HEAD.format(title='namespaces')}<ul>{items}</ul>")


def _show(stored: Callable[[str], str | None], request: Request) -> Reply:
    name = unquote(request.path.removeprefix("/dtab/"), errors="replace")
    text = stored(name)
    if text is None:
        return Reply(status=404)
    lines = escape(text.replace(";", " ;\n"))
    return _page(_HEAD.format(title=escape(name)) + _TRY.replace("{dtab}", lines))


def _page(text: str) -> Reply:
    """Give a page whose own script and style a browser runs, and nothing that a dtab may hold."""
    body = text.encode()
    script = inline_source(body, b"script") if b"<script>" in body else "'none'"
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src {script}; style-src {inline_source(body, b'style')}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Reply(body, content_type=HTML, headers={"Content-Security-Policy": policy})
