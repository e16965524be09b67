"""Whatever comes to its port, the linker lives on, serves others meanwhile, and keeps nothing of it."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import struct
import time
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, get
from tests.mesh.callers import status_of, values_of
from tests.mesh.observing import becomes
from tests.mesh.unharmed import config, send, unharmed

MIB: Final = 1024 * 1024
TLS_SECONDS: Final = 5.0


def close_with_reset(writer: asyncio.StreamWriter) -> None:
    """See to it that closing resets the connection."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def client_hello() -> bytes:
    """Give the first bytes of a TLS client."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="web").do_handshake()
    return outgoing.read()


async def test_garbage_is_refused_or_dropped() -> None:
    chance = random.Random(7)
    blobs = [chance.randbytes(chance.randrange(1, 4000)) for _ in range(150)]
    lines = [chance.randbytes(chance.randrange(1, 200)) + b"\r\n\r\n" for _ in range(150)]
    half = [b"GET / HTTP/1.1\r\nHost: web\r\n" + chance.randbytes(60) + b"\r\n\r\n" for _ in range(150)]
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        for group in (blobs, lines, half):
            for blob, answer in zip(
                group, await asyncio.gather(*(send(linker.port(), it) for it in group)), strict=True
            ):
                if answer:
                    assert 400 <= status_of(answer) < 506, blob
                    assert values_of(answer, "Connection") == ["close"], blob
                    assert values_of(answer, "l5d-err"), blob
        assert all(request.startswith(b"GET / HTTP/1.1\r\nHost: good\r\n") for request in origin.requests)


async def test_a_tls_client_and_one_of_http_2_are_turned_away_at_once() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        for hello in (client_hello(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"):
            answer = await send(linker.port(), hello, end=False, seconds=TLS_SECONDS)
            assert status_of(answer) in (400, 505)
            assert values_of(answer, "Connection") == ["close"]


FLOODS: Final = {
    "many header lines": (b"GET / HTTP/1.1\r\nHost: web\r\n" + b"X-Y: z\r\n" * 200_000, {431}),
    "one long header": (b"GET / HTTP/1.1\r\nHost: web\r\nX-Y: " + b"z" * MIB, {431}),
    "a long target": (b"GET /" + b"z" * MIB, {414}),
    "a long method": (b"G" * MIB, {400, 414}),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: web\r\n" + b"A: b\r\n" * 2000, {431}),
}


async def test_heads_without_measure_are_refused() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        for what, (sent, statuses) in FLOODS.items():
            answers = await asyncio.gather(*(send(linker.port(), sent, end=False) for _ in range(20)))
            # Who still sends may see a reset instead of the answer.
            told = {status_of(answer) for answer in answers if answer}
            assert told, what
            assert told <= statuses, what


async def test_slow_heads_get_408_and_their_connections_are_closed() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):

        async def dribble() -> tuple[bytes, float]:
            reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
            began = time.monotonic()
            writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nX-Slow: ")
            answer = asyncio.create_task(reader.read())
            while not answer.done():
                # Each byte is progress, and yet the head never ends.
                writer.write(b"x")
                await asyncio.wait([answer], timeout=0.5)
            writer.close()
            return await answer, time.monotonic() - began

        async with asyncio.timeout(20):
            ended = await asyncio.gather(*(dribble() for _ in range(30)))
        for answer, seconds in ended:
            assert status_of(answer) == 408
            assert 9 < seconds < 14


async def test_callers_that_leave_anywhere_in_a_request_leave_nothing_behind() -> None:
    whole = b"POST /p HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    sized = b"PUT /p HTTP/1.1\r\nHost: web\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        for sent in (*(whole[:length] for length in range(len(whole))), *[sized] * 20):
            for reset in (False, True):
                _, writer = await asyncio.open_connection("127.0.0.1", linker.port())
                if reset:
                    close_with_reset(writer)
                writer.write(sent)
                writer.close()


@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_a_caller_that_leaves_while_the_endpoint_is_silent_frees_both_connections(how: str) -> None:
    # One that closed may have ended only its half, and is waited for as long as for one that is idle.
    silent = asyncio.Event()

    async def answer(request: bytes) -> bytes:
        if b"Host: web\r\n" in request:
            silent.set()
            await asyncio.Event().wait()
        return OK

    async with Origin(answer) as origin:
        text = config(origin.port).replace("  - port: 0\n", "  - port: 0\n    serverSession: {idleTimeMs: 1000}\n")
        async with LinkerProcess(text) as linker, unharmed(linker):
            for _ in range(20):
                silent.clear()
                _, writer = await asyncio.open_connection("127.0.0.1", linker.port())
                writer.write(get("web"))
                await silent.wait()
                if how == "reset":
                    close_with_reset(writer)
                writer.close()


SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n"
BAD_FRAMING: Final = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5, 6",
    b"Content-Length: +5",
    b"Content-Length: 0x5",
    b"Content-Length : 5",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding\t: chunked",
    b"X: a\r\n b: c",
    b"X: a\rContent-Length: 5",
    b"X: a\nContent-Length: 5",
    b"X: \x00",
    b"Host: other",
]


async def test_behind_a_request_that_can_be_read_in_two_ways_nothing_is_read() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        for line in BAD_FRAMING:
            request = b"POST / HTTP/1.1\r\nHost: web\r\n" + line + b"\r\n\r\n"
            answer = await send(linker.port(), get("web", "/first") + request + SMUGGLED * 3)
            good, _, bad = answer.partition(b"\r\n\r\nok")
            assert status_of(good) == 200, line
            assert status_of(bad) in (400, 501), line
            assert bad.count(b"HTTP/1.1") == 1, line
        for chunks in (b"5;\n\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n", b"fffffffffffffffff\r\n", b"5\r\nhelloX0\r\n\r\n"):
            request = b"POST /c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
            answer = await send(linker.port(), request + SMUGGLED)
            assert status_of(answer) == 400, chunks
            assert answer.count(b"HTTP/1.1") == 1, chunks
        assert not [request for request in origin.requests if b"smuggled" in request.split(b"\r\n")[0]]


async def test_pipelined_requests_are_answered_in_order_up_to_the_bad_one() -> None:
    async def echo(request: bytes) -> bytes:
        target = request.split()[1]
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target)

    async with Origin(echo) as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        requests = b"".join(get("web", f"/{nth}") for nth in range(200))
        answer = await send(linker.port(), requests + b"NONSENSE\r\n\r\n" + get("web", "/after"))
        assert re.findall(rb"\r\n\r\n/(\d+)", answer) == [b"%d" % nth for nth in range(200)]
        assert b"/after" not in answer
        assert re.findall(rb"HTTP/1\.1 (\d+)", answer)[200:] == [b"400"]


async def scopes(linker: LinkerProcess, pattern: str) -> int:
    """Count the scopes that have a counter of requests."""
    return sum(re.fullmatch(f"{pattern}/requests", name) is not None for name in await linker.metrics())


async def test_two_thousand_names_stay_within_the_binding_cache() -> None:
    async with Origin() as origin:
        text = config(origin.port, "bindingCache: {paths: 100}")
        async with LinkerProcess(text) as linker, unharmed(linker):
            for first in range(0, 2000, 50):
                answers = await asyncio.gather(*(linker.get(f"host-{nth}") for nth in range(first, first + 50)))
                assert {status_of(answer) for answer in answers} == {200}
            metrics = await linker.metrics()
            cache = "rt/http/bindcache/path"
            assert metrics[f"{cache}/misses"] >= 2001
            assert metrics[f"{cache}/evicts"] >= 1900
            await becomes(
                "names are forgotten", lambda: scopes(linker, r"rt/http/service/svc/[^/]+"), lambda count: count <= 101
            )
            assert await scopes(linker, r"rt/http/client/.*/service/svc/[^/]+") <= 101


async def test_clients_that_only_overrides_name_stay_within_bounds() -> None:
    async with Origin() as origin:
        text = config(origin.port, "bindingCache: {paths: 100}")
        # A worker keeps up to 1024 names more for a second, with a client each.
        async with LinkerProcess(text) as linker, unharmed(linker, growth_kib=40 * 1024):
            for first in range(0, 5000, 50):
                await asyncio.gather(
                    *(
                        linker.get("web", "/", f"l5d-dtab: /svc/web => /$/io.buoyant.rinet/{origin.port}/127.0.{a}.{b}")
                        for a, b in (divmod(nth, 200) for nth in range(first, first + 50))
                    )
                )
            # The metrics of those in use, twice that until they are looked through, and what a table has in reserve.
            assert await scopes(linker, r"rt/http/client/.*/service/svc/web") <= 3584
            await becomes(
                "clients are forgotten",
                lambda: scopes(linker, r"rt/http/client/((?!/service/).)*"),
                lambda count: count <= 101,
            )
