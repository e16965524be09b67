"""A client of registries that are asked over HTTP: one request at a time, its answer bounded in size and in time.

What the namers of Marathon, Rancher, Eureka and Nacos share; Consul's and Kubernetes' have clients of their own, since
their queries wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from biandou.clients.bodies import Bodies, TooLarge
from biandou.clients.http_trouble import trouble
from biandou.clients.sockets import lasting_socket

T = TypeVar("T")

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 4.0
"""How long an answer may take that does not wait for a change."""

MAX_ANSWER: Final = 32 * 1024 * 1024
"""How many bytes an answer may have."""

MAX_ASKED: Final = 32
"""So many requests of one client are under way at once: thousands of names must not connect in one moment."""

MAX_INSTANCES: Final = 100_000
"""How many instances an answer may hold."""

_MAX_SAID: Final = 512


class RegistryError(Exception):
    """A registry did not do what it was asked for, or its answer can't be read."""


class RegistryAway(RegistryError):
    """A registry cannot be reached, is busy, or did not answer in time: another of its servers may do better."""


class RegistryForbidden(RegistryError):
    """A registry does not let us."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Any answer that is not the server's own failure (5xx, 429)."""

    status: int
    body: bytes
    tag: str | None = None
    """Its `ETag`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; `path` begins with a slash and is percent-encoded."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """With one it is a POST."""
    seconds: float = ANSWER_SECONDS


class RegistryHttp:
    """Connections to the servers of one registry; `name` is what to call it in messages."""

    def __init__(
        self, name: str, tls: ssl.SSLContext | None = None, tls_name: str | None = None, max_answer: int = MAX_ANSWER
    ) -> None:
        self.name = name
        self.scheme = "http" if tls is None else "https"
        self._tls = tls
        self._tls_name = tls_name
        self._bodies = Bodies(max_answer)
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(MAX_ASKED)
        self._users = 0

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep connections while the context is open: the last of those who use them closes them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                session, self._session = self._session, None
                if session is not None:
                    await session.close()

    async def ask(self, base: str, request: Request) -> Answer:
        """Ask the server at `base` (`http://host:port`); raises `RegistryError`.

        No message holds a query, which may hold a token.
        """
        try:
            async with self._free, asyncio.timeout(request.seconds):
                return await self._exchange(base, request)
        except TooLarge as error:
            raise RegistryAway(f"{self.name}: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise RegistryAway(f"{self.name}: {trouble(error)}") from error

    async def _exchange(self, base: str, request: Request) -> Answer:
        query = f"?{urlencode(request.query)}" if request.query else ""
        async with self._sessions().request(
            "GET" if request.body is None else "POST",
            URL(f"{base}{request.path}{query}", encoded=True),
            data=request.body,
            headers={"Accept": "application/json", **request.headers},
            server_hostname=self._tls_name if base.startswith("https:") else None,
            allow_redirects=False,
        ) as response:
            if response.status == 429 or response.status >= 500:
                said = (await response.content.read(_MAX_SAID)).decode(errors="replace").strip()
                raise RegistryAway(f"{self.name}: {response.status} {said}")
            return Answer(response.status, await self._bodies.read(response), response.headers.get("ETag"))

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self._users == 0:
                raise RegistryAway(f"{self.name}: not open")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    ssl=True if self._tls is None else self._tls,
                    keepalive_timeout=30,
                    socket_factory=lasting_socket,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                # Nothing that is small on the wire and huge in memory.
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
                # A cookie of a stranger's is nothing to keep.
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class Servers:
    """Several servers that know the same: the one that answered last is asked first."""

    def __init__(self, bases: Sequence[str]) -> None:
        self._bases = list(bases)

    async def any(self, ask: Callable[[str], Awaitable[T]]) -> T:
        """Give what the first server of use says; raises the last one's `RegistryError` if none is."""
        failure: RegistryError | None = None
        for base in tuple(self._bases):
            try:
                return await ask(base)
            except RegistryError as error:
                failure = error
                if base in self._bases:
                    self._bases.remove(base)
                    self._bases.append(base)
        raise failure or RegistryAway("no server is known")


def refuse(name: str, answer: Answer) -> RegistryError:
    """Give what an answer of no use means."""
    said = answer.body[:_MAX_SAID].decode(errors="replace").strip()
    message = f"{name}: {answer.status} {said}"
    return RegistryForbidden(message) if answer.status in (401, 403) else RegistryError(message)


def decoded(name: str, body: bytes, shape: type[T]) -> T:
    """Read JSON; raises `RegistryError` for what is none, or has another shape."""
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryError(f"{name}: an answer that can't be read: {error}") from error


def bounded(name: str, count: int) -> None:
    """Raise `RegistryError` for more instances than an answer may hold."""
    if count > MAX_INSTANCES:
        raise RegistryError(f"{name}: an answer of {count} instances, and {MAX_INSTANCES} are the most")
