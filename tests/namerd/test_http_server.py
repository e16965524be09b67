"""The HTTP API's sockets: readers that do not read, callers that leave, and connections that stay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from biandou.live import Source
from biandou.namerd.interfaces import conversation
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.interfaces.message import Answer, Reply, Request, Stream
from biandou.telemeters.registry import ScopeRegistry

ASKED = b"GET /x HTTP/1.1\r\nHost: n\r\n\r\n"


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[int, ScopeRegistry]]:
    async def give(_request: Request) -> Answer:
        return answer

    metrics = ScopeRegistry(("http",))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    close = await HttpServer(give, Doorkeeper(), metrics).start(listener, None)
    try:
        yield port, metrics
    finally:
        await close()


async def until_unobserved(source: Source[bytes]) -> None:
    async with asyncio.timeout(10):
        while source.observed:
            await asyncio.sleep(0.01)


async def test_a_watcher_that_does_not_read_is_dropped_and_costs_one_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "REPLY_SECONDS", 0.2)
    source: Source[bytes] = Source()
    document = b"x" * 200_000
    async with serving(Stream(source, "text/plain")) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(ASKED)
        await reader.readuntil(b"\r\n\r\n")
        for number in range(2000):
            if not source.observed:
                break
            source.set(document + str(number).encode())
            await asyncio.sleep(0.001)
        await until_unobserved(source)
        assert metrics.counter("dropped_streams").count == 1
        writer.close()


async def test_a_slow_reader_gets_the_latest_document_and_not_all_of_them() -> None:
    source: Source[bytes] = Source()
    async with serving(Stream(source, "text/plain")) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await reader.readuntil(b"\r\n\r\n")
        for number in range(1000):
            source.set(f"{number}\n".encode())
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"999\n") == b"4\r\n999\n"
        writer.close()


async def test_a_watcher_that_leaves_is_forgotten_though_nothing_changes() -> None:
    source: Source[bytes] = Source()
    async with serving(Stream(source, "text/plain")) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await reader.readuntil(b"\r\n\r\n")
        assert source.observed
        writer.close()
        await until_unobserved(source)


async def test_a_failure_is_one_line_and_the_end() -> None:
    source: Source[bytes] = Source()
    source.fail(ValueError("no such thing"))
    async with serving(Stream(source, "text/plain")) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.read() == b"e\r\nno such thing\n\r\n0\r\n\r\n"
        writer.close()


async def test_a_connection_is_used_again() -> None:
    async with serving(Reply(b"yes", 200, "text/plain")) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(ASKED)
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\nyes")
        assert metrics.counter("requests").count == 3
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("coding", ["gzip", "br", "x, identity"])
async def test_a_body_in_a_coding_is_refused_and_not_taken_as_it_is(coding: str) -> None:
    asked: list[Request] = []

    async def give(request: Request) -> Answer:
        asked.append(request)
        return Reply(status=204)

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    close = await HttpServer(give, Doorkeeper(), ScopeRegistry(("http",))).start(listener, None)
    for sent, status in ((coding, b"415"), ("Identity", b"204")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"PUT /x HTTP/1.1\r\nHost: n\r\nContent-Encoding: {sent}\r\nContent-Length: 3\r\n\r\nabc".encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == status
        writer.close()
    assert [request.body for request in asked] == [b"abc"]
    await close()
