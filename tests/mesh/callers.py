"""Callers of a linker: one that keeps its connection, and many that do not stop asking."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from types import TracebackType
from typing import Final, Self

from biandou.testing.origin import get, read_message

CALLERS: Final = 8
ANSWER_SECONDS: Final = 15.0


class Caller:
    """A connection to a linker that is kept from one request to the next."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.writer.close()

    async def ask(self, request: bytes) -> bytes:
        """Send a request and give the answer; empty bytes when the linker has closed."""
        async with asyncio.timeout(ANSWER_SECONDS):
            self.writer.write(request)
            await self.writer.drain()
            return await read_message(self.reader, head_only=request.startswith(b"HEAD "))


class Traffic:
    """GET requests for one host, by several callers that keep their connections, while the context is open.

    `answers` counts the bodies of answers with status 200, and `failed` holds all other answers.
    """

    def __init__(self, port: int, host: str = "web") -> None:
        self.answers: Counter[str] = Counter()
        self.failed: list[bytes] = []
        self._port = port
        self._request = get(host)
        self._callers: list[asyncio.Task[None]] = []
        self._answered = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._callers = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for caller in self._callers:
            caller.cancel()
        for ended in await asyncio.gather(*self._callers, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def more(self, count: int) -> Counter[str]:
        """Wait for this many more answers, and count them: none of them was asked for before the call."""
        before = self.answers.copy()
        # Each caller may have had one request under way.
        await self._until(self._total() + CALLERS)
        before, began = self.answers.copy(), self._total()
        await self._until(began + count)
        return self.answers - before

    def _total(self) -> int:
        return self.answers.total() + len(self.failed)

    async def _until(self, total: int) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while self._total() < total:
                self._answered.clear()
                await self._answered.wait()

    async def _call(self) -> None:
        async with Caller(self._port) as caller:
            while True:
                answer = await caller.ask(self._request)
                if answer.startswith(b"HTTP/1.1 200 "):
                    self.answers[body_of(answer).decode()] += 1
                else:
                    self.failed.append(answer)
                self._answered.set()


def status_of(answer: bytes) -> int:
    """Give the status of an answer."""
    return int(answer.split(b" ", 2)[1])


def body_of(message: bytes) -> bytes:
    """Give what follows a message's head."""
    return message.partition(b"\r\n\r\n")[2]


def values_of(message: bytes, name: str) -> list[str]:
    """Give the values of a header of a message, in their order."""
    head = message.partition(b"\r\n\r\n")[0].decode("latin-1")
    return re.findall(rf"(?im)^{re.escape(name)}: (.*?)\r?$", head)


def saying(text: str) -> bytes:
    """Give the bytes of an answer with status 200."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
