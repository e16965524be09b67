"""A raw HTTP/1.1 origin on loopback: keeps exactly the bytes it got, and answers exactly the bytes it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 16 * 1024 * 1024

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = bytes | Callable[[bytes], Awaitable[bytes]]
"""The bytes of every answer, or a function from a request's bytes to them; empty bytes close the connection."""


class Origin:
    """Listens on a free port of `ip` while the context is open, or with a socket that listens already.

    `requests` holds the bytes of every request, head and body as they came; `connections` counts those accepted.
    """

    def __init__(
        self, answer: Answer = OK, ip: str = "127.0.0.1", port: int = 0, listener: socket.socket | None = None
    ) -> None:
        self.answer = answer
        self.ip = ip
        self.port = port
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = listener
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, `ip:port`."""
        return f"{self.ip}:{self.port}"

    async def __aenter__(self) -> Self:
        if self._listener is not None:
            self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=MAX_HEAD)
        else:
            self._server = await asyncio.start_server(self._serve, self.ip, self.port, limit=MAX_HEAD)
        self.ip, self.port = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop every connection at once."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in tuple(self._open):
                writer.transport.abort()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while request := await read_message(reader):
                self.requests.append(request)
                answer = self.answer if isinstance(self.answer, bytes) else await self.answer(request)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            # The peer left; what it sent until then is in `requests` if it was whole.
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def read_message(reader: asyncio.StreamReader, *, head_only: bool = False) -> bytes:
    """Read one HTTP/1.1 message as it is on the wire; empty bytes when the peer closed before one began.

    The body is framed by `Content-Length` or `Transfer-Encoding: chunked`; `head_only` is for an answer that has none
    whatever its head says. Raises `asyncio.IncompleteReadError` if the peer closes inside a message.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return b""
        raise
    if head_only:
        return head
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.splitlines()[1:])
    }
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return head + await _read_chunks(reader)
    length = int(fields.get(b"content-length", b"0"))
    if length > MAX_BODY:
        raise ValueError(f"a body of {length} bytes is more than the test kit takes")
    return head + await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line
        if size == 0:
            break
        if len(body) + size > MAX_BODY:
            raise ValueError("the body is larger than the test kit takes")
        body += await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        body += line
    return body + b"\r\n"


async def exchange(ip: str, port: int, request: bytes, *, seconds: float = 10.0) -> bytes:
    """Send the bytes of one request on a connection of its own, and give the bytes of the answer."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(ip, port)
        try:
            writer.write(request)
            await writer.drain()
            return await read_message(reader, head_only=request.startswith(b"HEAD "))
        finally:
            writer.close()


def get(host: str, path: str = "/", *headers: str) -> bytes:
    """Give the bytes of a GET request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
