"""A page of the admin server, whatever HTTP server is in front: a request in, a reply out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

MAX_FIELDS: Final = 100
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as far as a page looks at it: `path` as it was sent, `headers` by lower-case name."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, the first of each name; raises `ValueError` if there are too many."""
        return _fields(self.query)

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a form in the body, those of the query before them; raises `ValueError`."""
        sent = {}
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            sent = _fields(self.body.decode(errors="replace"))
        return {**sent, **self.parameters}


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS):
        fields.setdefault(name, value)
    return fields


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answers."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handle: TypeAlias = Callable[[Request], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Page:
    """What answers at a path; `methods` is empty if any will do, as with most of the reference's pages."""

    handle: Handle
    methods: tuple[str, ...] = ()


Pages: TypeAlias = dict[str, Page]
"""Pages by their path; one that ends in `/` stands for everything below it, except `/` itself."""


def text(body: str, status: int = 200) -> Reply:
    """Answer with plain text."""
    return Reply(body.encode(errors="replace"), status, TEXT)


def json_reply(value: Any, status: int = 200, content_type: str = JSON) -> Reply:
    """Answer with JSON."""
    return Reply(json.dumps(value, separators=(",", ":")).encode(), status, content_type)


def find(pages: Pages, path: str) -> Page | None:
    """Give the page of a path: the longest pattern wins."""
    page = pages.get(path)
    if page is not None:
        return page
    head = path
    while (cut := head.rfind("/", 0, len(head) - 1)) > 0:
        head = head[: cut + 1]
        page = pages.get(head)
        if page is not None:
            return page
    return None
