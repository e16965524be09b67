"""No answer comes out of another one: a caller sees the answers that the linker has read, and each caller its own.

Each row of `tests/mesh/smuggling/responses.py` is what a back end answers the first request with. The caller sends a
second one on the same connection, and another caller a third, which are answered with their own targets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.smuggling.answers import Answer, NoAnswer, read_answers
from tests.mesh.smuggling.readers import Rules, read_one
from tests.mesh.smuggling.responses import REPLIES, Reply
from tests.mesh.test_smuggling import config, host_of
from tests.mesh.unharmed import send


@dataclass
class Liar:
    """Answers a request for `/first` with a row's bytes, and any other with its target."""

    reply: Reply
    targets: list[str] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = b""
        try:
            while block := await reader.read(64 * 1024):
                got += block
                while (read := read_one(got, Rules.STRICT)) is not None:
                    message, length = read
                    got = got[length:]
                    self.targets.append(message.target)
                    if message.target != "/first":
                        body = message.target.encode()
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                        continue
                    writer.write(self.reply.sent.encode("latin-1"))
                    if self.reply.closes:
                        return
        except ConnectionError:
            # The linker has had enough.
            pass
        finally:
            writer.close()


@dataclass
class Seen:
    """What two callers got, and what the back end was asked."""

    got: bytes
    by_another: bytes
    targets: list[str]


def requests(host: str, method: str) -> bytes:
    """Give two requests, of which the second is a GET."""
    first = f"{method} /first HTTP/1.1\r\nHost: {host}\r\n\r\n"
    return f"{first}GET /second HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


async def run_all() -> list[Seen]:
    """Send each row's requests, all at once, and one more to each back end afterwards."""
    async with AsyncExitStack() as stack:
        liars = [await stack.enter_async_context(Liar(reply)) for reply in REPLIES]
        names = {host_of(nth): liar.port for nth, liar in enumerate(liars)}
        async with LinkerProcess(config(names)) as linker:
            got = await asyncio.gather(
                *(send(linker.port(), requests(host_of(nth), reply.method)) for nth, reply in enumerate(REPLIES))
            )
            third = [f"GET /third HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode() for name in names]
            by_another = await asyncio.gather(*(send(linker.port(), request) for request in third))
            assert linker.process.returncode is None
            assert not [line for line in linker.log if "panic" in line or line.startswith("E ")]
    return [Seen(first, other, liar.targets) for first, other, liar in zip(got, by_another, liars, strict=True)]


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    """What became of all rows."""
    return asyncio.run(run_all())


def test_every_row_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(reply.name for reply in REPLIES).items() if count > 1] == []


@pytest.mark.parametrize("nth", range(len(REPLIES)), ids=[reply.name for reply in REPLIES])
def test_the_caller_sees_the_answers_that_were_read(seen: list[Seen], nth: int) -> None:
    reply, of_this = REPLIES[nth], seen[nth]
    if reply.body is None:
        # It is cut, perhaps before anything of it came, and nothing follows.
        if of_this.got:
            with pytest.raises(NoAnswer):
                read_answers(of_this.got, [reply.method, "GET"])
        assert of_this.targets[:1] == ["/first"]
        assert "/second" not in of_this.targets
    else:
        first, *others = read_answers(of_this.got, [reply.method, "GET"])
        assert first.status == reply.status
        if reply.body != "*":
            assert first.body == reply.body.encode("latin-1")
        assert [(one.status, one.body) for one in others] == [(200, b"/second")]
    assert b"evil" not in of_this.got or (reply.body is not None and "evil" in reply.body)


@pytest.mark.parametrize("nth", range(len(REPLIES)), ids=[reply.name for reply in REPLIES])
def test_another_caller_gets_its_own_answer(seen: list[Seen], nth: int) -> None:
    answers: list[Answer] = read_answers(seen[nth].by_another, ["GET"])
    assert [(one.status, one.body) for one in answers] == [(200, b"/third")]
