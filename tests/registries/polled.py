"""What small registries on loopback have in common that are asked over HTTP: strict, and able to fail in many ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

HEADERS: Final = {"host", "accept", "user-agent", "content-length", "content-type", "authorization", "connection"}

Fault = Callable[["PolledServer", web.Request], Awaitable[web.StreamResponse]]


class Misused(Exception):
    """A request that the registry's documentation does not provide for."""


class PolledServer:
    """A registry; a context that listens, and that fails if it was misused.

    `fail` makes it answer badly; `requests` holds method, path and parameters of what was asked.
    """

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.heads: list[dict[str, str]] = []
        self.misused: list[str] = []
        self.silence = asyncio.Event()
        self._changed = asyncio.Event()
        self._fault: Fault | None = None
        self._where = ""
        self._times = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None:
            assert self.misused == []

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.silence = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            assert runner.server is not None
            for handler in list(runner.server.connections):
                if handler.transport is not None:
                    handler.transport.abort()
            self.tell()
            self.silence.set()
            await runner.cleanup()

    def fail(self, fault: Fault | None, path: str = "/", times: int = 2**31) -> None:
        """Answer what begins with `path` by a fault, so many times; `None` ends that. Those who wait are answered."""
        self._fault, self._where, self._times = fault, path, times
        self.silence.set()
        self.silence = asyncio.Event()
        self.tell()

    def tell(self) -> None:
        """Wake those who wait for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self, seconds: float) -> None:
        """Wait for a change, so long at most."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()

    def asked(self, path: str) -> list[dict[str, str]]:
        """Give the parameters of every request for a path."""
        return [query for _, asked, query in self.requests if asked == path]

    async def until_asked(self, path: str, more: int = 1) -> None:
        """Wait until a path was asked for so many more times."""
        wanted = len(self.asked(path)) + more
        async with asyncio.timeout(5):
            while len(self.asked(path)) < wanted:
                await asyncio.sleep(0.005)

    async def route(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as the registry would; raises `Misused`."""
        raise NotImplementedError

    async def faulty(self, request: web.Request) -> web.StreamResponse | None:
        """Give the answer of a fault, if there is one now."""
        if self._fault is None or self._times <= 0 or not request.path.startswith(self._where):
            return None
        self._times -= 1
        return await self._fault(self, request)

    def parameters(self, request: web.Request, needed: set[str], allowed: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment] # empty
        """Give a request's parameters; raises `Misused` for one that is missing, unknown or there twice."""
        found = dict(request.query)
        if len(found) != len(request.query) or not needed <= {*found} <= needed | allowed:
            raise Misused(f"the parameters {sorted(request.query)}")
        return found

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        try:
            self._check(request)
            return await self.faulty(request) or await self.route(request)
        except Misused as error:
            self.misused.append(f"{request.method} {request.path_qs}: {error}")
            return web.Response(status=400, text=str(error))

    def _check(self, request: web.Request) -> None:
        names = [name.lower() for name in request.headers]
        unknown = {*names} - HEADERS - self.more_headers
        if unknown or len(names) != len({*names}):
            raise Misused(f"the headers {sorted(names)}")
        if request.headers.get("Accept") != "application/json":
            raise Misused("not asked for JSON")
        if request.method == "GET" and (request.can_read_body or "content-type" in names):
            raise Misused("a GET with a body")

    more_headers: frozenset[str] = frozenset()
    """Headers that this registry knows beside those that all do."""


def pick_port() -> int:
    """Give a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(status: int, body: bytes | Any = b"", **headers: str) -> Fault:
    """Answer with this."""

    async def fault(_server: PolledServer, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return fault


def cuts(beginning: bytes = b"[{") -> Fault:
    """Begin an answer, and cut the connection."""

    async def fault(_server: PolledServer, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(beginning)
        if request.transport is not None:
            request.transport.abort()
        return answer

    return fault


def never_ends(piece: bytes = b" " * 65536) -> Fault:
    """Answer without an end, as fast as the other side reads."""

    async def fault(_server: PolledServer, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(piece)

    return fault


def trickles(seconds: float = 0.05) -> Fault:
    """Answer a byte now and then, without an end."""

    async def fault(server: PolledServer, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        silence = server.silence
        while not silence.is_set():
            await answer.write(b" ")
            await asyncio.sleep(seconds)
        return answer

    return fault


def stays_silent() -> Fault:
    """Take the request and say nothing until the fault ends, then something useless."""

    async def fault(server: PolledServer, _request: web.Request) -> web.StreamResponse:
        await server.silence.wait()
        return web.Response(status=500)

    return fault


JUNK: Final = b'{"\xff' + b"[" * (10 * 1024 * 1024)
"""Ten megabytes that are no JSON, and deep if they were."""
