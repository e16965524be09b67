"""Whatever comes to its port, the linker lives on, serves others meanwhile, and keeps nothing of it."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, get, read_message
from tests.mesh.callers import Traffic, body_of, status_of, values_of
from tests.mesh.observing import becomes, descriptors, resident_kib

MIB: Final = 1024 * 1024
GROWTH_KIB: Final = 12 * 1024
TLS_SECONDS: Final = 5.0


def config(port: int, more: str = "") -> str:
    """Send every name to a port of this host; `more` are further lines of the router."""
    text = f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{port} ;
  servers:
  - port: 0
  client:
    # So that connections to endpoints go soon, and what is left over is seen.
    hostConnectionPool: {{idleTimeMs: 300}}
"""
    return text + "".join(f"  {line}\n" for line in more.strip("\n").splitlines())


@asynccontextmanager
async def unharmed(linker: LinkerProcess) -> AsyncIterator[Traffic]:
    """Do to a linker what the block does, while good callers are served; afterwards nothing of it is left."""
    server = f"rt/http/server/127.0.0.1/{linker.port()}"
    await linker.metrics()
    opened = descriptors(linker.pid)
    async with Traffic(linker.port(), "good") as traffic:
        await traffic.more(200)
        resident = resident_kib(linker.pid)
        yield traffic
        await traffic.more(100)
    assert traffic.failed == []

    async def held() -> tuple[float, float, bool]:
        metrics = await linker.metrics()
        return metrics[f"{server}/connections"], metrics[f"{server}/pending"], descriptors(linker.pid) <= opened

    await becomes("connections, requests and descriptors are gone", held, lambda now: now == (0, 0, True))
    assert linker.process.returncode is None
    assert resident_kib(linker.pid) - resident <= GROWTH_KIB
    assert not [line for line in linker.log if "panic" in line or line.startswith("E ")]


async def send(port: int, sent: bytes, *, end: bool = True, seconds: float = 8.0) -> bytes:
    """Send bytes, then perhaps the end of the stream, and give all that comes back until it is closed."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        got = b""
        try:
            writer.write(sent)
            await writer.drain()
            if end:
                writer.write_eof()
            while block := await reader.read(64 * 1024):
                got += block
        except ConnectionError:
            # It is the linker's right to reset a connection that brings nonsense.
            pass
        finally:
            writer.close()
        return got


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
    "many header lines": (b"GET / HTTP/1.1\r\nHost: web\r\n" + b"X-Y: z\r\n" * 200_000, 431),
    "one long header": (b"GET / HTTP/1.1\r\nHost: web\r\nX-Y: " + b"z" * MIB, 431),
    "a long target": (b"GET /" + b"z" * MIB, 414),
    "a long method": (b"G" * MIB, 400),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: web\r\n" + b"A: b\r\n" * 2000, 431),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_heads_without_measure_are_refused(flood: str) -> None:
    sent, status = FLOODS[flood]
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker, unharmed(linker):
        answers = await asyncio.gather(*(send(linker.port(), sent, end=False) for _ in range(20)))
        # Who still sends may see a reset instead of the answer.
        told = {status_of(answer) for answer in answers if answer}
        assert told <= {status, 400 if flood == "a long method" else status, 414, 431}
        assert told


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


async def test_clients_that_only_overrides_name_stay_within_the_binding_cache() -> None:
    async with Origin() as origin:
        text = config(origin.port, "bindingCache: {paths: 100}")
        async with LinkerProcess(text) as linker, unharmed(linker):
            for first in range(0, 1000, 50):
                await asyncio.gather(
                    *(
                        linker.get("web", "/", f"l5d-dtab: /svc/web => /$/io.buoyant.rinet/{origin.port}/127.0.{a}.{b}")
                        for a, b in (divmod(nth, 200) for nth in range(first, first + 50))
                    )
                )

            await becomes(
                "clients are forgotten",
                lambda: scopes(linker, r"rt/http/client/((?!/service/).)*"),
                lambda count: count <= 101,
            )
            assert await scopes(linker, r"rt/http/client/.*/service/svc/web") <= 250


# ── Endpoints


@asynccontextmanager
async def raw_endpoint(answer: bytes, *, endless: bytes = b"") -> AsyncIterator[int]:
    """Answer a request of host `web` with these bytes, then `endless` until the peer leaves; others with OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await read_message(reader):
                if b"Host: web\r\n" not in request:
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


@pytest.mark.parametrize("what", BAD_ANSWERS)
async def test_an_endpoint_that_answers_nonsense_costs_a_502(what: str) -> None:
    async with raw_endpoint(BAD_ANSWERS[what]) as port, LinkerProcess(config(port)) as linker, unharmed(linker):
        for _ in range(20):
            answer = await linker.get("web")
            assert status_of(answer) == 502
            assert values_of(answer, "l5d-err")
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


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    ],
)
async def test_a_response_that_breaks_off_is_seen_as_broken(answer: bytes) -> None:
    async with raw_endpoint(answer) as port, LinkerProcess(config(port)) as linker, unharmed(linker):
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
            writer.write(get("web") + get("web"))
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
