"""What the HTTP API's routes take and give, whatever HTTP server is in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from biandou.live import Live

MAX_FIELDS: Final = 100
FOLLOW: Final = "/api/1/follow/"
"""A POST to what is below this is answered while its body is still being sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` as it was sent, `headers` by lower-case name, `author` who sends it, if it showed a token."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    author: str = ""
    may_change: bool = True

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, the first of each name; raises `ValueError` if there are too many."""
        fields: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_FIELDS):
            fields.setdefault(name, value)
        return fields


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is complete."""

    body: bytes = b""
    status: int = 200
    media: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on: each document (bytes) of `documents` is sent; `None` is not worth one."""

    documents: Live[Any]
    media: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """An answer that goes on while the request does: `run` reads its body's lines and writes the answer's.

    It raises `ValueError` to end it with a reason.
    """

    run: Callable[[AsyncIterator[list[bytes]], Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    media: str
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Reply | Stream | Conversation


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with plain text."""
    return Reply(body.encode(errors="replace"), status, "text/plain;charset=utf-8", headers or {})
