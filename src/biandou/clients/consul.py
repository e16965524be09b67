"""A client of Consul's HTTP API: one request at a time, its answer bounded in size and in time.

`consul_watch.py` follows what may change, `consul_catalog.py` and `consul_kv.py` read what answers hold.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlencode

from biandou.clients.bodies import TooLarge
from biandou.clients.http1 import HttpClient, Reply, UnconnectedError
from biandou.clients.http_trouble import trouble
from biandou.clients.retry import Retry
from biandou.clients.tls import ClientTls, client_context

ANSWER_SECONDS: Final = 4.0
"""How long an answer may take that does not wait for a change."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""How many bytes an answer may have, unless said otherwise."""

MAX_BEGINNING: Final = 32
"""So many queries that do not wait are asked at once: thousands of names must not connect in one moment."""

_REST: Final = Retry(0.1, 5.0)
_MAX_SAID: Final = 1024

Query = Mapping[str, str]


class ConsulError(Exception):
    """Consul did not do what it was asked for, or its answer can't be read."""


class ConsulAway(ConsulError):
    """Consul cannot be reached, is busy or has no leader; whether a change was made may be unknown."""


class ConsulForbidden(ConsulError):
    """The token does not let us, or there is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of status 200, 404 or 409; `index` is what a blocking query waits for a change of, if there is one.

    `filtered` says that it leaves out what the token may not see.
    """

    status: int
    body: bytes
    index: int | None = None
    filtered: bool = False


class Consul:
    """The agent at `host`:`port`, which may be a name with several addresses.

    With `fail_fast`, a connection that failed lets all requests fail at once for a while (up to 5 s).
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        fail_fast: bool = False,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        host = host.removeprefix("[").removesuffix("]")
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = {"Accept": "application/json", "User-Agent": "biandou"}
        if token is not None:
            headers["X-Consul-Token"] = token
        self._client = HttpClient(host, port, headers, tls=tls, name=name, most=max_answer)
        self._fail_fast = fail_fast
        self.beginning = asyncio.Semaphore(MAX_BEGINNING)
        self._users = 0
        self._unreachable = 0
        self._unreachable_until = 0.0

    def opened(self) -> Self:
        """Give a context: connections are kept while it is open, and the last of those who use them closes them."""
        return self

    def hold(self) -> None:
        """Keep connections until `release`."""
        self._users += 1

    def release(self) -> None:
        """Keep them no more."""
        self._users -= 1
        if self._users == 0:
            self._client.close()

    async def __aenter__(self) -> Self:
        self.hold()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.release()

    async def get(self, path: str, query: Query) -> Answer:
        """Read; a status of 404 is an answer. Raises `ConsulError`."""
        return await self.fetch(target_of(path, query))

    async def fetch(self, target: str, seconds: float = ANSWER_SECONDS) -> Answer:
        """Read what `target_of` names, as `get` does."""
        self._check_open()
        try:
            reply = await self._client.get(target, seconds)
        except (OSError, TooLarge, ValueError) as error:
            raise self._failure(error) from error
        return self._read(reply)

    async def put(self, path: str, query: Query, document: bytes) -> Answer:
        """Send JSON; a status of 409 is an answer. Raises `ConsulError`."""
        self._check_open()
        try:
            reply = await self._client.put(target_of(path, query), document, ANSWER_SECONDS)
        except (OSError, TooLarge, ValueError) as error:
            raise self._failure(error) from error
        return self._read(reply)

    def _check_open(self) -> None:
        if self._users == 0:
            raise ConsulAway("consul: not open")
        if self._fail_fast and time.monotonic() < self._unreachable_until:
            raise ConsulAway(f"consul at {self.address}: could not be reached a moment ago")

    def _failure(self, error: Exception) -> ConsulError:
        if isinstance(error, UnconnectedError) and time.monotonic() >= self._unreachable_until:
            self._unreachable += 1
            self._unreachable_until = time.monotonic() + _REST.wait(self._unreachable)
        kind = ConsulError if isinstance(error, TooLarge) else ConsulAway
        return kind(f"consul at {self.address}: {trouble(error)}")

    def _read(self, reply: Reply) -> Answer:
        self._unreachable = 0
        if reply.status not in (200, 404, 409):
            raise self._refusal(reply)
        index = _index(reply.headers.get(b"x-consul-index"))
        filtered = reply.headers.get(b"x-consul-results-filtered-by-acls") == b"true"
        return Answer(reply.status, reply.body, index, filtered)

    def _refusal(self, reply: Reply) -> ConsulError:
        said = reply.body[:_MAX_SAID].decode(errors="replace").strip()
        message = f"consul at {self.address}: {reply.status} {said}"
        if reply.status in (401, 403):
            return ConsulForbidden(message)
        if reply.status == 429 or reply.status >= 500:
            return ConsulAway(message)
        return ConsulError(message)


def consul_at(
    host: str, port: int, token: str | None, tls: ClientTls | None, *, fail_fast: bool, max_answer: int = MAX_ANSWER
) -> Consul:
    """Make a client from what an operator writes; raises `ConfigError` for a TLS file that can't be used."""
    context = client_context(tls)
    name = tls.common_name if tls is not None and context is not None else None
    return Consul(host, port, token=token, tls=context, name=name, fail_fast=fail_fast, max_answer=max_answer)


def segment(text: str) -> str:
    """Give text as one segment of a request's path."""
    return quote(text, safe="")


def target_of(path: str, query: Query) -> str:
    """Give a path of escaped segments and what is asked of it as the target of a request."""
    return f"{path}?{urlencode(query)}" if query else path


def _index(text: bytes | None) -> int | None:
    # Python also takes signs, blanks and underscores for parts of a number.
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None
