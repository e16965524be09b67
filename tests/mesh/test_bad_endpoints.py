"""Whatever an endpoint answers, its caller is told the truth, others are served, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, get, read_message
from tests.mesh.callers import body_of, status_of, values_of
from tests.mesh.unharmed import config, send, unharmed


@asynccontextmanager
async def raw_endpoint(answer: bytes, *, endless: bytes = b"") -> AsyncIterator[int]:
    """Answer a request with these bytes, then `endless` until the peer leaves; the good caller's with OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await read_message(reader):
                if b"Host: good\r\n" in request:
                    writer.write(OK)
                    continue
                writer.write(answer)
                while endless:
                    writer.write(endless)
                    await writer.drain()
                await writer.drain()
                break
        except (ConnectionError, asyncio.IncompleteReadError):
            # The linker has had enough.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def raw_endpoints(answers: Iterable[bytes]) -> AsyncIterator[list[int]]:
    """Give the ports of raw endpoints, one for each answer."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(raw_endpoint(answer)) for answer in answers]


def several(ports: list[int]) -> str:
    """Send the name `web-<n>` to the nth port, and any other to the first."""
    names = "".join(f" /svc/web-{nth} => /$/inet/127.0.0.1/{port} ;" for nth, port in enumerate(ports))
    general = f"dtab: /svc => /$/inet/127.0.0.1/{ports[0]} ;"
    return config(ports[0]).replace(general, general + names)


BAD_ANSWERS: Final = {
    "garbage": b"\x00\xff nothing that is HTTP\r\n\r\n",
    "a status that is none": b"HTTP/1.1 99 Low\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "conflicting lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


async def test_an_endpoint_that_answers_nonsense_costs_a_502() -> None:
    async with raw_endpoints(BAD_ANSWERS.values()) as ports, LinkerProcess(several(ports)) as linker, unharmed(linker):
        for nth, what in enumerate(BAD_ANSWERS):
            for _ in range(20):
                answer = await linker.get(f"web-{nth}")
                assert status_of(answer) == 502, what
                assert values_of(answer, "l5d-err"), what
                if what == "conflicting lengths":
                    assert body_of(answer) == b"conflicting `Content-Length` headers"


async def test_an_endpoint_whose_headers_never_end_costs_a_502() -> None:
    more = b"X-More: and more\r\n" * 1000
    async with (
        raw_endpoint(b"HTTP/1.1 200 OK\r\n", endless=more) as port,
        LinkerProcess(config(port)) as linker,
        unharmed(linker),
    ):
        for _ in range(10):
            assert status_of(await linker.get("web")) == 502


async def test_a_second_response_is_nobodys() -> None:
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with Origin(OK + extra) as origin, LinkerProcess(config(origin.port)) as linker:
        for _ in range(30):
            assert body_of(await linker.get("web")) == b"ok"
        assert origin.connections == 30, "such a connection is not used again"


BROKEN_OFF: Final = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
]


async def test_a_response_that_breaks_off_is_seen_as_broken() -> None:
    async with raw_endpoints(BROKEN_OFF) as ports, LinkerProcess(several(ports)) as linker, unharmed(linker):
        for nth in range(len(ports)):
            for _ in range(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
                writer.write(get(f"web-{nth}") * 2)
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await read_message(reader)
                writer.close()


async def test_an_endpoint_that_never_answers_costs_a_503_after_the_attempts_timeout() -> None:
    async def answer(request: bytes) -> bytes:
        if b"Host: web\r\n" in request:
            await asyncio.Event().wait()
        return OK

    async with Origin(answer) as origin:
        text = config(origin.port).replace("  client:\n", "  client:\n    requestAttemptTimeoutMs: 300\n")
        async with LinkerProcess(text) as linker, unharmed(linker):
            began = time.monotonic()
            for told in await asyncio.gather(*(linker.get("web") for _ in range(20))):
                assert status_of(told) == 503
                assert body_of(told).startswith(
                    b"exceeded 300.milliseconds to unspecified while waiting for a response"
                )
            assert 0.25 < time.monotonic() - began < 3


async def test_interim_responses_without_end_do_not_hold_a_request_for_ever() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    async with (
        raw_endpoint(b"", endless=interim * 100) as port,
        LinkerProcess(config(port)) as linker,
        unharmed(linker),
    ):
        answer = await send(linker.port(), get("web"))
        assert status_of(answer.replace(interim, b"")) == 502
        assert answer.count(interim) <= 100
