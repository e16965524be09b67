"""A lean HTTP/1.1 client, for the registry of which thousands of queries wait at once: Consul.

An answer is held whole, and a connection has one request at a time. That is all those queries need: aiohttp takes five
times as long for each, and nine kibibytes for each that waits. llhttp reads the bytes, as it does for aiohttp, and
bodies are bounded as those that aiohttp reads (`bodies.py`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import aiohappyeyeballs
import httptools

from biandou.clients import bodies
from biandou.clients.bodies import LARGE, MAX_LARGE, TooLarge
from biandou.clients.sockets import lasting_socket

CONNECT_SECONDS: Final = 1.0
NEXT_ADDRESS_SECONDS: Final = 0.25
"""After so long the next address of a host is tried, too."""

KEEP_SECONDS: Final = 30.0
"""For so long a connection without a request is kept."""

MAX_HEAD: Final = 64 * 1024
"""How many bytes the head of an answer may have, and its trailers."""


class UnconnectedError(OSError):
    """There is no connection to `host`:`port`, because of `os_error`."""

    def __init__(self, host: str, port: int, why: OSError) -> None:
        super().__init__(why)
        self.host = host
        self.port = port
        self.os_error = why


class DisconnectedError(OSError):
    """The connection has ended before the answer has; `begun` says whether some of that was there."""

    def __init__(self, *, begun: bool) -> None:
        where = "in the middle of" if begun else "before"
        super().__init__(f"the connection has ended {where} an answer")
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; names of headers are in lower case, and of equal ones the last one counts."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class HttpClient:
    """Requests to one host, over TLS with a context; `name` is what its certificate is for, if not the host.

    All requests have `headers`; a body may have `most` bytes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        headers: Mapping[str, str],
        *,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        most: int,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._name = name or host
        self.most = most
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": where, **headers}.items())
        # The last one was used last.
        self._idle: list[tuple[_Connection, float]] = []
        self._sweep: asyncio.TimerHandle | None = None
        # How many large bodies are read, and who has one and is not read.
        self._large = 0
        self._unread: deque[_Connection] = deque()

    async def get(self, target: str, seconds: float) -> Reply:
        """Read; `target` is escaped.

        Raises `OSError` (a `TimeoutError` after so many seconds), `TooLarge`, and `ValueError` for what is no HTTP.
        """
        request = f"GET {target} HTTP/1.1\r\n{self._lines}\r\n".encode()
        while True:
            connection = self._kept()
            if connection is None:
                return await (await self._connect(seconds)).ask(request, seconds)
            try:
                return await connection.ask(request, seconds)
            except DisconnectedError as error:
                # The other side has given it up while nobody used it.
                if error.begun:
                    raise

    async def put(self, target: str, document: bytes, seconds: float) -> Reply:
        """Send JSON; raises what `get` raises, and then whether it has arrived may be unknown."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(document)}"
        request = f"PUT {target} HTTP/1.1\r\n{self._lines}{length}\r\n\r\n".encode() + document
        return await (self._kept() or await self._connect(seconds)).ask(request, seconds)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def keep(self, connection: _Connection) -> None:
        """Keep a connection whose answer is complete."""
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_SECONDS, self._close_old)

    def take_large(self, connection: _Connection) -> bool:
        """Let a connection read a large body, by and by if not now; to be given back in any case."""
        if self._large < MAX_LARGE:
            self._large += 1
            return True
        self._unread.append(connection)
        return False

    def give_large(self, connection: _Connection) -> None:
        """Let the next one read a large body, or be that no more."""
        if connection in self._unread:
            self._unread.remove(connection)
        elif self._unread:
            self._unread.popleft().read_on()
        else:
            self._large -= 1

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_SECONDS
        for connection, since in self._idle:
            if since <= oldest:
                connection.close()
        self._idle = [(connection, since) for connection, since in self._idle if not connection.closed]
        if self._idle:
            self._sweep = loop.call_later(max(0.1, self._idle[0][1] - oldest), self._close_old)

    async def _connect(self, seconds: float) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            connected = await self._reach(loop)
            try:
                async with asyncio.timeout(seconds):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self),
                        sock=connected,
                        ssl=self._tls,
                        server_hostname=None if self._tls is None else self._name,
                    )
            except TimeoutError as error:
                connected.close()
                raise TimeoutError(f"no TLS handshake within {seconds:g} s") from error
            except BaseException:
                connected.close()
                raise
        except OSError as error:
            raise UnconnectedError(self._host, self._port, error) from error
        return connection

    async def _reach(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                return await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, socket_factory=lasting_socket
                )
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {CONNECT_SECONDS:g} s") from error


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on it."""

    __slots__ = (
        "_answer",
        "_body",
        "_client",
        "_delimited",
        "_follows",
        "_head",
        "_headers",
        "_is_large",
        "_kept",
        "_late",
        "_parser",
        "_size",
        "_transport",
        "closed",
    )

    def __init__(self, client: HttpClient) -> None:
        self.closed = False
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        # Bytes that are no body's.
        self._head = 0
        self._follows = False
        self._delimited = False
        self._kept = False
        self._is_large = False
        self._late: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, seconds: float) -> Reply:
        """Send a request and give its answer; the connection is kept then if it can be, and ended if there is none."""
        self._begin()
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        # `asyncio.timeout` costs as much as the rest of a request.
        timer = loop.call_later(seconds, self._fail, TimeoutError())
        try:
            if self.closed or self._transport is None:
                raise DisconnectedError(begun=False)
            self._transport.write(request)
            reply = await self._answer
        except BaseException:
            self._abort()
            raise
        finally:
            self._answer = None
            timer.cancel()
            if self._late is not None:
                self._late.cancel()
            if self._is_large:
                self._client.give_large(self)
        if self._kept and not self.closed:
            self._client.keep(self)
        else:
            self.close()
        return reply

    def close(self) -> None:
        """End it."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def read_on(self) -> None:
        """Read a large body."""
        if self._transport is not None:
            self._transport.resume_reading()

    def _abort(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._abort()

    # ── What the event loop says ─────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's has no base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            # Nobody has asked for it.
            self._abort()
            return
        before = self._size
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ValueError(f"no answer in HTTP: {error}"))
            return
        self._head -= self._size - before
        # Chunks have heads, too: some bytes for each that has a body's.
        if self._head > MAX_HEAD + self._size:
            self._fail(ValueError(f"the head of an answer has more than {MAX_HEAD} bytes"))
        elif self._size > self._client.most:
            self._fail(TooLarge(self._client.most))
        elif self._follows and not self._answer.done():
            self._bound()

    def _bound(self) -> None:
        """See to it that the rest of a body comes soon, and is not read beside too many others."""
        if self._late is None:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(bodies.BODY_SECONDS, self._fail, TimeoutError())
        if self._size > LARGE and not self._is_large and self._transport is not None:
            self._is_large = True
            if not self._client.take_large(self):
                self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        answer = self._answer
        if answer is None or answer.done():
            return
        if error is None and self._follows and not self._delimited:
            self.on_message_complete()
        else:
            lost = DisconnectedError(begun=self._head > 0)
            lost.__cause__ = error
            answer.set_exception(lost)

    # ── What the parser finds ────────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        """Take in that an answer begins: a second one to one question would be taken for that to the next."""
        if self._answer is None or self._answer.done():
            self._headers = {}
            self._abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header."""
        name = name.lower()
        self._headers[name] = value
        if name in (b"content-length", b"transfer-encoding"):
            self._delimited = True

    def on_headers_complete(self) -> None:
        """Take in that a body follows."""
        self._follows = True
        self._kept = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        """Take in some of a body."""
        self._size += len(part)
        if self._size <= self._client.most:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Hand the answer over, unless it only says that one will come."""
        status = self._parser.get_status_code()
        answer = self._answer
        if status < 100:
            self._fail(ValueError(f"no answer in HTTP: status {status:03}"))
        elif status < 200:
            self._headers.clear()
            self._follows = self._delimited = False
        elif answer is None or answer.done():
            # Two answers to one question.
            self._abort()
        elif self._size <= self._client.most:
            answer.set_result(Reply(status, self._headers, b"".join(self._body)))
