"""The HTTP API over sockets: connections, tokens, bodies, and streams whose readers must keep up.

`aiohttp.web_server`, as the admin server: one HTTP stack, and nothing of it that is not used.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp.http_exceptions import PayloadEncodingError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from biandou.config.namerd import AccessToken
from biandou.errors import reason
from biandou.live import PENDING, Failed, Ok, State
from biandou.namerd.interfaces.conversation import converse, read_in_time
from biandou.namerd.interfaces.message import FOLLOW, Answer, Conversation, Reply, Request, Stream, text
from biandou.telemeters.registry import ScopeRegistry

MAX_CONNECTIONS: Final = 20_000
MAX_BODY: Final = 8 * 1024 * 1024
MAX_LINE: Final = 64 * 1024
"""How long a request's first line or one of its headers may be: paths and dtabs stand in queries."""
BODY_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 120.0
CLOSE_SECONDS: Final = 2.0
"""How long answers may go on when the server closes."""

Answering = Callable[[Request], Awaitable[Answer]]
Close = Callable[[], Awaitable[None]]


class Doorkeeper:
    """Knows the tokens; without any everybody is let in."""

    def __init__(self, tokens: Sequence[AccessToken] = ()) -> None:
        self._tokens = [(_digest(token.secret()), token) for token in tokens]

    def admit(self, authorization: str | None) -> tuple[str, bool] | None:
        """Give the author and whether he may change things, or `None` for who is not let in."""
        if not self._tokens:
            return "", True
        scheme, _, shown = (authorization or "").partition(" ")
        digest = _digest(shown.strip())
        # All are compared, so that the time says nothing.
        found = [token for secret, token in self._tokens if hmac.compare_digest(secret, digest)]
        if scheme.lower() != "bearer" or not found:
            return None
        return found[0].name, not found[0].read_only


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


class _Refuse(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """Serves one listening socket."""

    def __init__(self, answer: Answering, doorkeeper: Doorkeeper, metrics: ScopeRegistry) -> None:
        self._answer = answer
        self.doorkeeper = doorkeeper
        """Whoever stands here when a request comes decides on it."""
        self._requests, self._success, self._failures, self._dropped = (
            metrics.counter(name) for name in ("requests", "success", "failures", "dropped_streams")
        )
        self._closing = asyncio.Event()
        self._streams: set[asyncio.Event] = set()
        self._conversations = 0
        # Cancelled when the caller goes: a stream that has nothing to say would never notice.
        self._http = Server(
            self._handle,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=CLOSE_SECONDS,
            auto_decompress=False,
            handler_cancellation=True,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )
        metrics.gauge("connections", lambda: float(len(self._http.connections)))
        metrics.gauge("streams", lambda: float(len(self._streams) + self._conversations))

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None, *, no_delay: bool = True) -> Close:
        """Serve, and give what ends that."""

        def connection() -> asyncio.Protocol:
            return self._http() if len(self._http.connections) < MAX_CONNECTIONS else _Refuse()

        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        server = await asyncio.get_running_loop().create_server(connection, sock=listener, ssl=tls)

        async def close() -> None:
            server.close()
            self._closing.set()
            for changed in self._streams:
                changed.set()
            self._http.pre_shutdown()
            await self._http.shutdown(CLOSE_SECONDS)

        return close

    async def _handle(self, sent: BaseRequest) -> StreamResponse:
        self._requests.add()
        admitted = self.doorkeeper.admit(sent.headers.get("Authorization"))
        if admitted is None:
            missing = "Authorization" not in sent.headers
            told = "a token is needed" if missing else "this token is not known here"
            return self._reply(text(told, 401, {"WWW-Authenticate": "Bearer"}), sent, close=True)
        path, _, query = sent.raw_path.partition("?")
        headers = {name.lower(): value for name, value in sent.headers.items()}
        author, may_change = admitted
        coding = headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            # Taken as it is, it would be kept as it is (RFC 9110 §15.5.16).
            refusal = text(f"bodies are not read in the coding {coding}", 415, {"Accept-Encoding": "identity"})
            return self._reply(refusal, sent, close=True)
        if sent.method == "POST" and path.startswith(FOLLOW):
            answer = await self._answer(Request(sent.method, path, query, headers, b"", author, may_change))
            if isinstance(answer, Conversation):
                return await self._converse(answer, sent)
            return self._reply(answer if isinstance(answer, Reply) else Reply(status=404), sent, close=True)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(sent)
        except TimeoutError:
            return self._reply(text("the body took too long", 408), sent, close=True)
        except PayloadEncodingError as error:
            return self._reply(text(f"the body can't be read: {error.message}", 400), sent, close=True)
        if body is None:
            return self._reply(text(f"the body is longer than {MAX_BODY} bytes", 413), sent, close=True)
        answer = await self._answer(Request(sent.method, path, query, headers, body, author, may_change))
        if isinstance(answer, Stream):
            return await self._stream(answer, sent)
        return self._reply(answer if isinstance(answer, Reply) else Reply(status=404), sent)

    def _reply(self, reply: Reply, sent: BaseRequest, *, close: bool = False) -> StreamResponse:
        (self._success if reply.status < 500 else self._failures).add()
        headers = {"Server": "biandou", **reply.headers}
        if reply.media is not None:
            headers["Content-Type"] = reply.media
        response = _Bounded(body=b"" if sent.method == "HEAD" else reply.body, status=reply.status, headers=headers)
        if reply.media is None:
            # Nothing is sent, so that there is no type to tell.
            response.headers.pop("Content-Type", None)
        if close or self._closing.is_set():
            response.force_close()
        return response

    async def _converse(self, conversation: Conversation, sent: BaseRequest) -> StreamResponse:
        self._conversations += 1
        try:
            response = await converse(conversation, sent, self._closing)
        finally:
            self._conversations -= 1
        self._success.add()
        return response

    async def _stream(self, stream: Stream, sent: BaseRequest) -> StreamResponse:
        """Send each state that is still true when the caller has read the former one."""
        response = StreamResponse(headers={"Server": "biandou", "Content-Type": stream.media, **stream.headers})
        response.enable_chunked_encoding()
        latest: State[bytes | None] = PENDING
        changed = asyncio.Event()
        self._streams.add(changed)

        def look(state: State[bytes | None]) -> None:
            nonlocal latest
            latest = state
            changed.set()

        watch = stream.documents.observe(look)
        former: bytes | None = None
        try:
            await response.prepare(sent)
            while not self._closing.is_set():
                await changed.wait()
                changed.clear()
                state = latest
                if isinstance(state, Ok) and state.value is not None and state.value != former:
                    former = state.value
                    await read_in_time(response.write(former), sent)
                elif isinstance(state, Failed):
                    await read_in_time(response.write(f"{reason(state.error)}\n".encode()), sent)
                    break
            response.force_close()
            await read_in_time(response.write_eof(), sent)
        except ConnectionResetError:
            self._dropped.add()
            raise
        finally:
            watch.close()
            self._streams.discard(changed)
        self._success.add()
        return response


class _Bounded(Response):
    """A response whose connection is cut when its caller does not read it."""

    async def write_eof(self, data: bytes = b"") -> None:
        await read_in_time(super().write_eof(data), self._req)


async def _body(sent: BaseRequest) -> bytes | None:
    """Give the whole body, or `None` if it is too long."""
    if (sent.content_length or 0) > MAX_BODY:
        return None
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
