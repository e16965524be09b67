"""`/`: the first page, one file without anything from elsewhere; its script reads `/admin/metrics.json`."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final

from biandou.admin.page import Page, Pages, Reply, Request

HTML: Final = "text/html; charset=utf-8"


def overview_pages() -> Pages:
    """Give the first page."""
    return {"/": Page(_overview)}


@cache
def _reply() -> Reply:
    body = resources.files("biandou.admin").joinpath("overview.html").read_bytes()
    # The browser runs this script and no other, whatever a name on the page may hold.
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src {inline_source(body, b'script')}; "
        f"style-src {inline_source(body, b'style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Reply(body, content_type=HTML, headers={"Content-Security-Policy": policy})


def inline_source(body: bytes, element: bytes) -> str:
    """Give the Content-Security-Policy source of the one inline element of this name."""
    (inline,) = re.findall(rb"<%s>(.*?)</%s>" % (element, element), body, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"


def _overview(_request: Request) -> Reply:
    return _reply()
