"""Callers and endpoints that are slow, flood, or reset at every state: each is refused or waited for in bounds.

Afterwards connections, descriptors and memory are back where they were (`unharmed`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, get, read_message
from tests.mesh.callers import status_of, values_of
from tests.mesh.unharmed import config, send, unharmed

MANY: Final = 30
WAITS: Final = "serverSession: {idleTimeMs: 1000}\n    socketOptions: {readTimeoutMs: 1000, writeTimeoutMs: 1000}"
"""How long a server waits for a caller who neither sends nor reads, in `impatient`."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def impatient(port: int) -> str:
    """Wait no longer than a second for a caller."""
    return config(port).replace("  - port: 0\n", f"  - port: 0\n    {WAITS}\n")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer sees a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@asynccontextmanager
async def endpoint(misbehave: Serve) -> AsyncIterator[int]:
    """Answer the good caller with OK, and leave every other request, once its head is here, to `misbehave`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"Host: good\r\n" not in head:
                    await misbehave(reader, writer)
                    break
                writer.write(OK)
        except (ConnectionError, asyncio.IncompleteReadError):
            # The linker left.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


SLOW_BODIES: Final = {
    "a length": b"POST /p HTTP/1.1\r\nHost: web\r\nContent-Length: 100000\r\n\r\nx",
    "chunks": b"POST /p HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "trailers": b"POST /p HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: ",
}


async def test_bodies_that_stop_coming_are_waited_for_in_bounds() -> None:
    async with Origin() as origin, LinkerProcess(impatient(origin.port)) as linker, unharmed(linker):
        began = time.monotonic()
        sent = [body for body in SLOW_BODIES.values() for _ in range(MANY)]
        answers = await asyncio.gather(*(send(linker.port(), body, end=False) for body in sent))
        assert {status_of(answer) for answer in answers} == {408}
        assert time.monotonic() - began < 6


async def test_callers_that_do_not_read_are_cut_off() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n" + bytes(30_000_000)

    async def answer(request: bytes) -> bytes:
        return OK if b"Host: good\r\n" in request else big

    async with Origin(answer) as origin, LinkerProcess(impatient(origin.port)) as linker, unharmed(linker):
        callers = [await asyncio.open_connection("127.0.0.1", linker.port(), limit=1) for _ in range(10)]
        for _, writer in callers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            writer.write(get("web"))
        server = f"rt/http/server/127.0.0.1/{linker.port()}"
        async with asyncio.timeout(10):
            # Those of the good callers stay.
            while (await linker.metrics())[f"{server}/pending"] > 8:
                await asyncio.sleep(0.1)
        for _, writer in callers:
            writer.close()


async def test_idle_callers_are_let_go() -> None:
    async with Origin() as origin, LinkerProcess(impatient(origin.port)) as linker, unharmed(linker):
        for sent in (b"", get("web")):
            answers = await asyncio.gather(*(send(linker.port(), sent, end=False, seconds=5) for _ in range(MANY)))
            assert {status_of(answer) if answer else 0 for answer in answers} == {200 if sent else 0}


CHUNK_FLOODS: Final = {
    "chunks of one byte": b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
    "extensions without end": b"5;" + b"x" * 1_000_000,
    "sizes without end": b"0" * 1_000_000,
    "trailers without end": b"0\r\n" + b"X: y\r\n" * 100_000,
}


@pytest.mark.parametrize("flood", CHUNK_FLOODS)
async def test_floods_of_chunks_pass_or_are_refused(flood: str) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    sent = head + CHUNK_FLOODS[flood]
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        answers = await asyncio.gather(*(send(linker.port(), sent, end=False) for _ in range(5)))
        # Who still sends may see a reset instead of the answer.
        told = {status_of(answer) for answer in answers if answer}
        assert told <= ({200} if flood == "chunks of one byte" else {400})
        if flood == "chunks of one byte":
            assert told


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    writer.close()


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    reset(writer)


def sends(answer: bytes, *, then: Callable[[asyncio.StreamWriter], None]) -> Serve:
    """Answer with these bytes and then do this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(answer)
        await writer.drain()
        # So that the bytes are on their way before a reset overtakes them.
        await asyncio.sleep(0.02)
        then(writer)

    return serve


def stays(writer: asyncio.StreamWriter) -> None:
    """Leave the connection to the linker."""
    del writer


HALF: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf"
EARLY: Final = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"
UPLOAD: Final = b"POST /p HTTP/1.1\r\nHost: web\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000)

# What the endpoint does, what the caller sends, and what statuses he may see; 0: nothing, cut off.
ENDPOINTS: Final[dict[str, tuple[Serve, bytes, set[int]]]] = {
    "it closes at once": (close_at_once, get("web"), {502}),
    "it resets at once": (reset_at_once, get("web"), {502}),
    "it closes within a head": (sends(HALF[:20], then=asyncio.StreamWriter.close), get("web"), {502}),
    "it resets within a head": (sends(HALF[:20], then=reset), get("web"), {502}),
    "it closes within a body": (sends(HALF, then=asyncio.StreamWriter.close), get("web"), {0, 200}),
    "it resets within a body": (sends(HALF, then=reset), get("web"), {0, 200}),
    "it closes within an upload": (close_at_once, UPLOAD, {0, 502}),
    "it resets within an upload": (reset_at_once, UPLOAD, {0, 502}),
    "it answers early, and closes": (sends(EARLY, then=asyncio.StreamWriter.close), UPLOAD, {0, 413, 502}),
    "it answers early, and stays": (sends(EARLY, then=stays), UPLOAD, {0, 413}),
    "it answers twice": (sends(OK * 2, then=stays), get("web"), {200}),
    "it answers, and then sends garbage": (sends(OK + b"\x00garbage", then=stays), get("web"), {200}),
}


@pytest.mark.parametrize("fault", ENDPOINTS)
async def test_endpoints_that_break_off_leave_nothing_behind(fault: str) -> None:
    misbehave, sent, statuses = ENDPOINTS[fault]
    # Failures are what is tried here, so that nothing is removed for them.
    text = "client:\n    failureAccrual: {kind: none}\n"
    closing = sent.replace(b"Host: web\r\n", b"Host: web\r\nConnection: close\r\n")
    async with (
        endpoint(misbehave) as port,
        LinkerProcess(config(port).replace("client:\n", text)) as linker,
        unharmed(linker),
    ):
        answers = await asyncio.gather(*(send(linker.port(), closing, end=False) for _ in range(10)))
        assert {status_of(answer) if answer else 0 for answer in answers} <= statuses
        for answer in answers:
            assert answer.count(b"HTTP/1.1 ") <= 1
            if answer.startswith(b"HTTP/1.1 502"):
                assert values_of(answer, "l5d-err")


async def test_callers_that_reset_anywhere_in_a_response_leave_nothing_behind() -> None:
    body = bytes(2_000_000)
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def answer(request: bytes) -> bytes:
        return OK if b"Host: good\r\n" in request else big

    async with Origin(answer) as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):

        async def leave_after(count: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
            writer.write(get("web") * 2)
            await reader.readexactly(count)
            reset(writer)

        for count in (1, 20, 100, 1000, 100_000, 1_000_000):
            await asyncio.gather(*(leave_after(count) for _ in range(5)))


async def test_a_stalled_endpoint_holds_its_own_callers_only_and_frees_all_of_them() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HALF)
        await reader.read()

    async with endpoint(stall) as port, LinkerProcess(config(port)) as linker, unharmed(linker):
        callers = [await asyncio.open_connection("127.0.0.1", linker.port()) for _ in range(MANY)]
        for _, writer in callers:
            writer.write(get("web"))
        assert [await reader.readuntil(b"half") for reader, _ in callers]
        assert status_of(await linker.get("good")) == 200
        for _, writer in callers:
            reset(writer)


async def test_a_request_after_an_early_answer_gets_its_own() -> None:
    asked: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        asked.append(request.split(b" ", 2)[1])
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(asked[-1]), asked[-1])

    async with Origin(answer) as origin:
        # The name `early` is of an endpoint that answers before the body is there.
        async with endpoint(sends(EARLY, then=stays)) as port:
            names = (
                config(origin.port)
                .replace("dtab: ", f"dtab: /svc => /$/inet/127.0.0.1/{origin.port} ; ")
                .replace(
                    f"/svc => /$/inet/127.0.0.1/{origin.port} ;\n",
                    f"/svc/early => /$/inet/127.0.0.1/{port} ;\n",
                )
            )
            async with LinkerProcess(names) as linker, unharmed(linker):
                reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
                writer.write(b"POST /p HTTP/1.1\r\nHost: early\r\nContent-Length: 100\r\n\r\nhalf")
                first = await read_message(reader)
                assert status_of(first) == 413
                # The rest of the body looks like a request, and whatever becomes of it, it is none.
                writer.write(get("good", "/hidden")[:96].ljust(96))
                writer.write(get("good", "/after"))
                rest = await reader.read(65536)
                writer.close()
                assert b"/hidden" not in rest
        assert b"/hidden" not in asked
