"""A back end for each case that keeps what comes and answers each request with what it has read of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.mesh.smuggling.readers import Message, Rules, Unclear, read_all, read_one


@dataclass
class Recorder:
    """Listens on a free port while the context is open.

    `streams` holds the bytes of each connection. A request is answered with its line and its body's length, and one for
    `/error` with status 400. A reader that meets something unclear closes.
    """

    streams: list[bytearray] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.close()

    def read(self, rules: Rules) -> tuple[list[Message], list[bytes]]:
        """Read all that came, by these rules; gives the requests, and what was left of each connection."""
        messages: list[Message] = []
        left: list[bytes] = []
        for stream in self.streams:
            read, rest = read_all(bytes(stream), rules)
            messages += read
            left += [rest] if rest else []
        return messages, left

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self.streams.append(stream)
        at = 0
        try:
            while block := await reader.read(64 * 1024):
                stream += block
                while (read := read_one(bytes(stream[at:]), Rules.STRICT)) is not None:
                    message, length = read
                    at += length
                    writer.write(answer_to(message))
        except (ConnectionError, Unclear):
            # The test reads the stream again and finds the same.
            pass
        finally:
            writer.close()


def answer_to(message: Message) -> bytes:
    """Give the answer to a request, which tells whose it is."""
    body = told(message.method, message.target, len(message.body))
    status = b"400 Bad Request" if message.target == "/error" else b"200 OK"
    shown = b"" if message.method == "HEAD" else body
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), shown)


def told(method: str, target: str, length: int) -> bytes:
    """Give the body of the answer to such a request."""
    return f"{method} {target} {length}".encode()
