"""A client of the Kubernetes API: one request at a time, its answer bounded in size and in time, and watches.

`kubernetes_watch.py` follows what may change by listing and watching.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from biandou.clients.bodies import Bodies, TooLarge
from biandou.clients.http_trouble import trouble
from biandou.clients.kubernetes_account import AccountUnreadable, ServiceAccount
from biandou.clients.sockets import lasting_socket

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 4.0

MAX_ANSWER: Final = 64 * 1024 * 1024
"""How many bytes an answer may have."""

MAX_LINE: Final = 8 * 1024 * 1024
"""How many bytes one event may have: etcd takes objects of 1.5 MiB."""

MAX_BEGINNING: Final = 32
"""So many lists are asked for at once: thousands of names must not connect in one moment."""

_ESCAPED_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_SAID: Final = 4096

Json = dict[str, Any]
Query = Mapping[str, str]


class KubernetesError(Exception):
    """Kubernetes did not do what it was asked for, or its answer can't be read."""


class KubernetesAway(KubernetesError):
    """Kubernetes cannot be reached or is busy; whether a change was made may be unknown."""


class KubernetesForbidden(KubernetesError):
    """Our account may not do this, or there is none."""


class KubernetesMissing(KubernetesError):
    """There is no such object, or no such kind of objects."""


class KubernetesConflict(KubernetesError):
    """The object exists already, or has changed since."""


class KubernetesGone(KubernetesError):
    """A watch was to begin where the server's memory does not reach: it has to be listed anew."""


class Kubernetes:
    """The API server at `host`:`port`: over TLS with a service account, else as `kubectl proxy` serves it.

    Who asks for a `single` object at a time gets no answers that are larger than an event.
    """

    def __init__(self, host: str, port: int, account: ServiceAccount | None = None, *, single: bool = False) -> None:
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self.address = f"{host}:{port}"
        self._base = f"{'http' if account is None else 'https'}://{self.address}"
        self._account = account
        self._session: aiohttp.ClientSession | None = None
        self._users = 0
        self.beginning = asyncio.Semaphore(MAX_BEGINNING)
        self._bodies = Bodies(MAX_LINE if single else MAX_ANSWER)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Kubernetes]:
        """Keep connections while the context is open: the last of those who use them closes them."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if self._users == 0:
                session, self._session = self._session, None
                if session is not None:
                    await session.close()
                    # What was given up is closed by the loop's next rounds.
                    await asyncio.sleep(0.01)

    async def get(self, path: str, query: Query | None = None) -> Json:
        """Read an object or a list; raises `KubernetesError`."""
        return await self._ask("GET", path, query or {}, None)

    async def post(self, path: str, document: Json) -> Json:
        """Add an object; raises `KubernetesConflict` if there is one of this name."""
        return await self._ask("POST", path, {}, document)

    async def put(self, path: str, document: Json) -> Json:
        """Change an object that still has the resourceVersion in it; raises `KubernetesConflict` if it has not."""
        return await self._ask("PUT", path, {}, document)

    async def delete(self, path: str) -> Json:
        """Remove an object; raises `KubernetesMissing`."""
        return await self._ask("DELETE", path, {}, None)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, query: Query, seconds: float) -> AsyncIterator[AsyncIterator[Json]]:
        """Give events for so many seconds at most, `{type, object}` each; raises `KubernetesError`.

        Events whose type is `ERROR` are raised; a stream that the server ends in order just ends.
        """
        asked = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(int(seconds))}
        try:
            async with contextlib.AsyncExitStack() as stack:
                # The server ends it in time; if it does not, we do.
                await stack.enter_async_context(asyncio.timeout(seconds + ANSWER_SECONDS))
                async with asyncio.timeout(ANSWER_SECONDS):
                    response = await stack.enter_async_context(await self._sent("GET", path, asked, None))
                    await self._check(response)
                stack.callback(_abort, response)
                yield self._events(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KubernetesAway(self._said(trouble(error))) from error

    # ── One question ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, method: str, path: str, query: Query, document: Json | None) -> Json:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), await self._sent(method, path, query, document) as response:
                await self._check(response)
                body = await self._bodies.read(response)
        except TooLarge as error:
            raise KubernetesError(self._said(str(error))) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KubernetesAway(self._said(trouble(error))) from error
        return self._json(body)

    async def _sent(
        self, method: str, path: str, query: Query, document: Json | None
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        text = f"{self._base}{path}?{urlencode(query)}" if query else f"{self._base}{path}"
        headers = {"Accept": "application/json"}
        tls: Any = True
        if self._account is not None:
            try:
                # Of every request, since the files change.
                headers["Authorization"] = f"Bearer {self._account.token()}"
                tls = self._account.context()
            except AccountUnreadable as error:
                raise KubernetesForbidden(self._said(str(error))) from None
        data = None
        if document is not None:
            data, headers["Content-Type"] = json.dumps(document).encode(), "application/json"
        return self._sessions().request(
            method, URL(text, encoded=True), data=data, headers=headers, ssl=tls, allow_redirects=False
        )

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self._users == 0:
                raise KubernetesAway("kubernetes: not open")
            # A watch keeps its connection: as many as there are names.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, socket_factory=lasting_socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (200, 201):
            return
        text = (await response.content.read(_MAX_SAID)).decode(errors="replace").strip()
        # Whatever it is, it is shown.
        with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError):
            text = str(json.loads(text)["message"])
        raise self._error(response.status, text)

    def _error(self, code: object, text: str) -> KubernetesError:
        message = self._said(f"{code} {text}"[:_MAX_SAID])
        match code:
            case 401 | 403:
                return KubernetesForbidden(message)
            case 404:
                return KubernetesMissing(message)
            case 409:
                return KubernetesConflict(message)
            case 410:
                return KubernetesGone(message)
            case 429:
                return KubernetesAway(message)
            case int() if code >= 500:
                return KubernetesAway(message)
        return KubernetesError(message)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
        rest = bytearray()
        searched = 0
        async for chunk in response.content.iter_any():
            rest += chunk
            while (end := rest.find(b"\n", searched)) >= 0:
                line = bytes(rest[:end])
                del rest[: end + 1]
                searched = 0
                if line.strip():
                    yield self._event(line)
            searched = len(rest)
            if searched > MAX_LINE:
                raise KubernetesError(self._said(f"an event of more than {MAX_LINE} bytes"))
        if rest.strip():
            # Some proxies end without a newline; what was cut can't be read.
            yield self._event(bytes(rest))

    def _event(self, line: bytes) -> Json:
        event = self._json(line)
        found = event.get("object")
        if not isinstance(found, dict):
            raise KubernetesError(self._said("an event without an object"))
        if event.get("type") == "ERROR":
            raise self._error(found.get("code"), str(found.get("message")))
        return event

    def _json(self, text: bytes) -> Json:
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise KubernetesError(self._said(f"an answer that is no JSON: {error}")) from None
        if not isinstance(told, dict):
            raise KubernetesError(self._said("an answer that is no object"))
        if _ESCAPED_HALF.search(text) and not _is_text(told):
            raise KubernetesError(self._said("an answer that is no JSON: half of a surrogate pair"))
        return told

    def _said(self, what: str) -> str:
        return f"kubernetes at {self.address}: {what}"


def _abort(response: aiohttp.ClientResponse) -> None:
    """End a watch that has not ended, without the farewells of TLS."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _is_text(told: Json) -> bool:
    """Whether nothing in it is half of a surrogate pair, with which it could neither be sent nor kept."""
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def segment(text: str) -> str:
    """Give text as one segment of a request's path."""
    return quote(text, safe="")
