"""One row of the tables of requests, and the little words that they are written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HIDDEN: Final = "GET /hidden HTTP/1.1\r\nHost: HOST\r\n\r\n"
"""A request that must not come out of another one's body or head; `HOST` is replaced by the case's own name."""
END: Final = "0\r\n\r\n"
TE: Final = "Transfer-Encoding: chunked"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes that a caller sends, and what may become of them.

    `sees` are the requests that the back end gets, as `Message.__str__` shows them. Then comes `refused`, the status of
    an answer after which the connection ends, 0 if the caller ends its half within a body; without it a further request
    on the same connection is answered as its own, unless `closes`. `headers` are values that the first request
    must arrive with, in one line each; `None`: not at all.
    """

    name: str
    sent: str
    sees: tuple[str, ...] = ()
    refused: int | None = None
    closes: bool = False
    headers: Mapping[str, str | None] = field(default_factory=dict)
    nginx_refuses: bool = False
    """Whether nginx, rightly or not, takes no such request, and logs none."""


def refused(name: str, sent: str, status: int = 400, *sees: str) -> Case:
    """A case that is refused, after what the back end sees of it."""
    return Case(name, sent, sees, status)


def passed(
    name: str, sent: str, *sees: str, closes: bool = False, nginx_refuses: bool = False, **headers: str | None
) -> Case:
    """A case that the back end sees as these requests; in the names of `headers` `_` stands for `-`."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Case(name, sent, sees, None, closes, named, nginx_refuses)


def post(lines: str, body: str = "", *, target: str = "/a", version: str = "1.1") -> str:
    """Give a POST for the case's own host with these header lines."""
    more = f"{lines}\r\n" if lines else ""
    return f"POST {target} HTTP/{version}\r\nHost: HOST\r\n{more}\r\n{body}"


def chunks(body: str) -> str:
    """Give a POST whose chunked body is exactly this."""
    return post(TE, body)


def plain(lines: str = "", *, target: str = "/a", method: str = "GET", version: str = "1.1") -> str:
    """Give a request without a body."""
    more = f"{lines}\r\n" if lines else ""
    return f"{method} {target} HTTP/{version}\r\nHost: HOST\r\n{more}\r\n"
