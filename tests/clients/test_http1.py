"""The lean HTTP client, against servers that speak bytes: what is kept, what is bounded, what is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from biandou.clients import bodies, http1
from biandou.clients.bodies import LARGE, MAX_LARGE, TooLarge
from biandou.clients.http1 import DisconnectedError, HttpClient, UnconnectedError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MOST = 1_000_000
SECONDS = 8.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """A server that answers each request with the next of these, the last for ever; `None` ends the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()


@asynccontextmanager
async def listening(serve: Serve, *, most: int = MOST) -> AsyncIterator[HttpClient]:
    """Give a client of a server."""

    serving: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    client = HttpClient("127.0.0.1", server.sockets[0].getsockname()[1], {"X-Token": "secret"}, most=most)
    try:
        async with asyncio.timeout(10):
            yield client
    finally:
        client.close()
        server.close()
        await asyncio.gather(*serving, return_exceptions=True)


async def test_requests_have_the_headers_of_all_and_share_one_connection() -> None:
    site = Site(OK)
    async with listening(site.serve) as client:
        for target in ("/a?b=c", "/d"):
            reply = await client.get(target, SECONDS)
            assert (reply.status, reply.body, reply.headers) == (200, b"ok", {b"content-length": b"2"})
    head, _, rest = site.requests[0].partition(b"\r\n")
    assert head == b"GET /a?b=c HTTP/1.1"
    assert b"\r\nX-Token: secret\r\n" in rest
    assert rest.startswith(b"Host: 127.0.0.1:")
    assert site.connections == 1


async def test_two_requests_at_once_have_a_connection_each() -> None:
    site = Site(OK)
    async with listening(site.serve) as client:
        await asyncio.gather(client.get("/a", SECONDS), client.get("/b", SECONDS))
        await asyncio.gather(client.get("/a", SECONDS), client.get("/b", SECONDS))
    assert (site.connections, len(site.requests)) == (2, 4)


async def test_a_document_is_sent_with_its_length() -> None:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"PUT /x HTTP/1.1\r\n")
        assert b"\r\nContent-Length: 7\r\n" in head
        bodies.append(await reader.readexactly(7))
        writer.write(OK)

    async with listening(serve) as client:
        assert (await client.put("/x", b'{"a":1}', SECONDS)).body == b"ok"
    assert bodies == [b'{"a":1}']


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_a_body_ends_where_the_answer_says(answer: bytes, body: bytes) -> None:
    site = Site(answer)
    async with listening(site.serve) as client:
        for _ in range(2):
            assert (await client.get("/", SECONDS)).body == body
    assert site.connections == 1


@pytest.mark.parametrize("cut", [1, 7, 40])
async def test_an_answer_may_come_in_any_pieces(cut: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(answer), cut):
            writer.write(answer[start : start + cut])
            await asyncio.sleep(0.001)

    async with listening(serve) as client:
        reply = await client.get("/", SECONDS)
    assert (reply.body, reply.headers[b"x-consul-index"]) == (b"hello", b"7")


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        writer.close()

    async with listening(serve) as client:
        assert (await client.get("/", SECONDS)).body == b"all of it"
        assert (await client.get("/", SECONDS)).body == b"all of it"


async def test_a_kept_connection_that_the_server_gave_up_costs_no_question() -> None:
    site = Site(OK, None, OK)
    async with listening(site.serve) as client:
        assert (await client.get("/a", SECONDS)).body == b"ok"
        assert (await client.get("/b", SECONDS)).body == b"ok"
    assert site.connections == 2


async def test_a_document_is_not_sent_twice() -> None:
    site = Site(OK, None, OK)
    async with listening(site.serve) as client:
        await client.get("/a", SECONDS)
        with pytest.raises(DisconnectedError):
            await client.put("/b", b"{}", SECONDS)
    assert len(site.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ValueError, "no answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ValueError, "no answer in HTTP"),
        (b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n", ValueError, "no answer in HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            ValueError,
            "no answer in HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ValueError, "no answer in HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx", ValueError, "no answer in"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", ValueError, "head of an answer"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000, ValueError, "head of an answer"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 20_000,
            ValueError,
            "head of an",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n" + b"a" * 1_000_001, TooLarge, "1000000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1_000_001, TooLarge, "1000000 bytes"),
    ],
)
async def test_what_is_no_answer_or_too_much_is_told_and_ends_the_connection(
    answer: bytes, error: type[Exception], said: str
) -> None:
    site = Site(answer)
    async with listening(site.serve) as client:
        with pytest.raises(error, match=said):
            await client.get("/", SECONDS)
        await site.closed.wait()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"])
async def test_a_connection_that_ends_too_early_is_told(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with listening(serve) as client:
        with pytest.raises(DisconnectedError, match="in the middle of" if answer else "before an answer"):
            await client.get("/", SECONDS)


async def test_a_body_that_comes_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with listening(serve) as client:
        with pytest.raises(TimeoutError):
            await client.get("/", SECONDS)


async def test_many_large_bodies_are_not_held_at_one_time() -> None:
    most, count = 8 * LARGE, 12
    sent: dict[int, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        number = len(sent)
        sent[number] = 0
        # What the kernel takes in is not held by us.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * LARGE))
        for _ in range(64):
            writer.write(bytes(LARGE // 16))
            await writer.drain()
            sent[number] += LARGE // 16

    beside: list[int] = []

    async def ask(client: HttpClient) -> None:
        assert len((await client.get("/", SECONDS)).body) == 4 * LARGE
        beside.append(sum(2 * LARGE < size < 4 * LARGE for size in sent.values()))

    async with listening(serve, most=most) as client:
        await asyncio.gather(*(ask(client) for _ in range(count)))
        # One has just ended, whose place another has taken.
        assert max(beside) <= MAX_LARGE
        assert len((await client.get("/", SECONDS)).body) == 4 * LARGE


async def test_who_is_given_up_while_it_is_not_read_leaves_the_others_their_places() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 * LARGE) + bytes(2 * LARGE))
        if b"/slow" in head:
            await reader.read()
        writer.write(bytes(LARGE))

    async with listening(serve, most=8 * LARGE) as client:
        slow = [asyncio.create_task(client.get("/slow", SECONDS)) for _ in range(MAX_LARGE + 2)]
        await asyncio.sleep(0.3)
        late = asyncio.create_task(client.get("/", SECONDS))
        await asyncio.sleep(0.1)
        assert not late.done()
        for task in reversed(slow):
            task.cancel()
        assert len((await late).body) == 3 * LARGE
        assert len((await client.get("/", SECONDS)).body) == 3 * LARGE


async def test_silence_is_waited_for_no_longer_than_said() -> None:
    site = Site(b"")
    async with listening(site.serve) as client:
        with pytest.raises(TimeoutError):
            await client.get("/", 0.1)
        await site.closed.wait()


async def test_bytes_that_nobody_asked_for_are_no_later_answer() -> None:
    site = Site(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
    async with listening(site.serve) as client:
        for _ in range(3):
            assert (await client.get("/", SECONDS)).body == b"ok"
            await asyncio.sleep(0.01)
    assert site.connections == 3


@pytest.mark.parametrize(
    "more",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Consul-Index: 9\r\n\r\nbad",
        b"HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\n",
    ],
)
async def test_half_a_second_answer_is_neither_in_the_first_nor_in_the_next(more: bytes) -> None:
    site = Site(OK + more, b"baddie" + OK)
    async with listening(site.serve) as client:
        first = await client.get("/", SECONDS)
        assert (first.body, first.headers) == (b"ok", {b"content-length": b"2"})
        with pytest.raises(ValueError, match="no answer in HTTP"):
            await client.get("/", SECONDS)
    assert site.connections == 2


async def test_a_kept_connection_that_was_reset_costs_no_question() -> None:
    questions = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            questions += 1
            if questions == 2:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            writer.write(OK)

    async with listening(serve) as client:
        for _ in range(2):
            assert (await client.get("/", SECONDS)).body == b"ok"
    assert questions == 3


async def test_a_request_that_is_given_up_ends_its_connection() -> None:
    site = Site(b"")
    async with listening(site.serve) as client:
        asking = asyncio.create_task(client.get("/", SECONDS))
        while not site.requests:
            await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await site.closed.wait()


async def test_a_connection_that_nobody_uses_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "KEEP_SECONDS", 0.05)
    site = Site(OK)
    async with listening(site.serve) as client:
        await client.get("/", SECONDS)
        await asyncio.wait_for(site.closed.wait(), 5)
        await client.get("/", SECONDS)
    assert site.connections == 2


async def test_where_nobody_listens_there_is_no_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = HttpClient("127.0.0.1", taken.getsockname()[1], {}, most=MOST)
        with pytest.raises(UnconnectedError) as caught:
            await client.get("/", SECONDS)
    assert isinstance(caught.value.os_error, ConnectionRefusedError)


async def test_who_does_not_take_the_connection_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_SECONDS", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            with pytest.raises(UnconnectedError, match=r"no connection within 0\.1 s"):
                await HttpClient("127.0.0.1", address[1], {}, most=MOST).get("/", SECONDS)
        finally:
            for filler in fillers:
                filler.close()
