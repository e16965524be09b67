"""The admin pages over HTTP: the one module that loads aiohttp for them, which costs an idle linker 12 MiB.

`aiohttp.web_server` and not `aiohttp.web`: routes, middlewares and applications would be loaded for nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp.http_exceptions import PayloadEncodingError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from aiohttp.web_server import Server

from biandou.admin.page import JSON, Reply, Request, text
from biandou.admin.site import Site
from biandou.admin.sources import AdminSources

MAX_CONNECTIONS: Final = 256
MAX_BODY: Final = 256 * 1024
BODY_SECONDS: Final = 10.0
PAGE_SECONDS: Final = 30.0
HANDSHAKE_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60.0
REPLY_SECONDS: Final = 60.0
"""How long a caller may take to read what it asked for."""
CLOSE_SECONDS: Final = 2.0
"""How long requests may go on when the server closes."""

HEADERS: Final = {
    "Server": "biandou",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class _Bounded(Response):
    """A response whose connection is cut when its caller does not read it."""

    async def write_eof(self, data: bytes = b"") -> None:
        transport = self._req.transport if self._req is not None else None
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await super().write_eof(data)
        except TimeoutError as error:
            if transport is not None:
                transport.abort()
            raise ConnectionResetError("the caller does not read") from error


class _Refuse(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


Answering = Callable[[BaseRequest, bytes], Awaitable[Reply]]
"""Answers a request whose body has come."""


class HttpServer:
    """Answers on one listening socket."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self._http = Server(
            self._handle,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=CLOSE_SECONDS,
            auto_decompress=False,
        )

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._http.connections)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve."""

        def connection() -> asyncio.Protocol:
            return self._http() if self.connections < MAX_CONNECTIONS else _Refuse()

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            connection, sock=listener, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS if tls is not None else None
        )

    async def close(self) -> None:
        """Stop listening and close every connection; running requests get `CLOSE_SECONDS`."""
        self._server.close()
        self._http.pre_shutdown()
        await self._http.shutdown(CLOSE_SECONDS)

    async def _handle(self, sent: BaseRequest) -> Response:
        return _response(await _reply(self._answer, sent), sent.method)


class AdminServer(HttpServer):
    """The admin's pages."""

    def __init__(self, site: Site) -> None:
        async def answer(sent: BaseRequest, body: bytes) -> Reply:
            path, _, query = sent.raw_path.partition("?")
            headers = {name.lower(): value for name, value in sent.headers.items()}
            return await site.answer(Request(sent.method, path, query, headers, body))

        super().__init__(answer)
        self._site = site

    def show(self, sources: AdminSources) -> None:
        """Answer from these sources from now on."""
        self._site.show(sources)


async def serve(sources: AdminSources, listener: socket.socket, tls: ssl.SSLContext | None = None) -> AdminServer:
    """Serve the admin's pages on a listening socket."""
    server = AdminServer(Site(sources, loopback=_is_loopback(listener)))
    sources.telemetry.registry.scope("adminhttp").gauge("connections", lambda: float(server.connections))
    await server.start(listener, tls)
    return server


Identifying = Callable[[str, str, tuple[tuple[str, str], ...], str], Mapping[str, Any]]
"""Gives a document for a request's method, target, headers and version."""


async def serve_identifier(identify: Identifying, listener: socket.socket, tls: ssl.SSLContext | None) -> HttpServer:
    """Answer every request on a listening socket with what its head means."""

    async def answer(sent: BaseRequest, _body: bytes) -> Reply:
        headers = tuple((_text(name), _text(value)) for name, value in sent.raw_headers)
        version = f"{sent.version.major}.{sent.version.minor}"
        return Reply(json.dumps(identify(sent.method, sent.raw_path, headers, version)).encode(), content_type=JSON)

    server = HttpServer(answer)
    await server.start(listener, tls)
    return server


def _text(written: bytes) -> str:
    return written.decode(errors="surrogateescape")


async def _reply(answer: Answering, sent: BaseRequest) -> Reply:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(sent)
    except TimeoutError:
        return text("the body took too long", 408)
    except PayloadEncodingError as error:
        return text(f"the body can't be read: {error.message}", 400)
    if body is None:
        return text(f"the body is longer than {MAX_BODY} bytes", 413)
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            return await answer(sent, body)
    except TimeoutError:
        return text("Request timed out.", 503)


async def _body(sent: BaseRequest) -> bytes | None:
    """Give the whole body, or `None` if it is too long."""
    if sent.headers.get("Expect", "").lower() == "100-continue":
        await sent.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written is no part of the reply.
        sent.writer.output_size = 0
    body = bytearray()
    while chunk := await sent.content.readany():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _response(reply: Reply, method: str) -> Response:
    headers = {**HEADERS, **reply.headers}
    if reply.content_type is not None:
        headers["Content-Type"] = reply.content_type
    response = _Bounded(body=reply.body, status=reply.status, headers=headers)
    if reply.content_type is None:
        # Nothing is sent, so that there is no type to tell.
        response.headers.pop("Content-Type", None)
    if reply.status in (408, 413):
        response.force_close()
    return response


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback
