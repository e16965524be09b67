"""The mesh interface over a socket, asked by HTTP/2 frames that are written out by hand: readers that don't read."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from biandou.live import Live, Ok, Source
from biandou.namerd.interfaces import mesh_server
from biandou.namerd.interfaces.mesh import MeshApi
from biandou.namerd.interfaces.mesh_server import WATCH, MeshServer
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore
from biandou.telemeters.registry import ScopeRegistry

STREAM = "/test/Stream"
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
WINDOW = 100


@contextlib.asynccontextmanager
async def serving(told: Live[bytes]) -> AsyncIterator[tuple[int, ScopeRegistry]]:
    store = InMemoryStore({})
    api = MeshApi(store, Names(store, Namers()), Reports())
    api.streams = {STREAM: lambda _: told}
    api.watched = {2: lambda _: told}
    metrics = ScopeRegistry(("mesh",))
    port, close = await MeshServer(api, metrics).start("127.0.0.1", 0, None)
    try:
        yield port, metrics
    finally:
        await close()


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value: str) -> bytes:
    return bytes((len(value),)) + value.encode()


def request(path: str) -> bytes:
    """A stream that lets the server send 100 bytes before it has to wait."""
    # An empty request ends what is sent; WatchReq{wishes{number: 1, tree: {}}} does not.
    sent, end = (b"", 1) if path == STREAM else (b"\x0a\x04\x08\x01\x12\x00", 0)
    # RFC 7541: :method POST, :scheme http, then literals with the names :path, :authority, content-type and te.
    head = b"\x83\x86\x04" + text(path) + b"\x01" + text("namerd") + b"\x0f\x10" + text("application/grpc")
    head += b"\x00" + text("te") + text("trailers")
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, struct.pack(">HI", 4, WINDOW))
        + frame(HEADERS, head, 4, 1)
        + frame(DATA, struct.pack(">BI", 0, len(sent)) + sent, end, 1)
    )


class Reader:
    """Reads what a stream brings, and takes part in the connection as it must."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._data = b""

    async def until(self, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Give all messages up to the one that is wanted."""
        messages: list[bytes] = []
        async with asyncio.timeout(10):
            while not messages or not wanted(messages[-1]):
                size, kind, flags, _ = struct.unpack(">IBBI", b"\x00" + await self._reader.readexactly(9))
                payload = await self._reader.readexactly(size)
                if kind in (SETTINGS, PING) and not flags & 1:
                    self._writer.write(frame(kind, payload if kind == PING else b"", 1))
                elif kind == DATA:
                    self._data += payload
                while len(self._data) >= 5 and len(self._data) >= 5 + (size := int.from_bytes(self._data[1:5], "big")):
                    messages.append(self._data[5 : 5 + size])
                    self._data = self._data[5 + size :]
        return messages


@pytest.mark.parametrize("path", [STREAM, WATCH])
async def test_a_slow_reader_gets_the_latest_state_and_not_all(path: str) -> None:
    told = Source(Ok(b"%08d" % 0 + bytes(65536)))
    async with serving(told) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(path))
        async with asyncio.timeout(10):
            while not told.observed:
                await asyncio.sleep(0.01)
        for number in range(1, 1001):
            told.set(b"%08d" % number + bytes(65536))
            await asyncio.sleep(0.0005)
        for stream in (0, 1):
            writer.write(frame(WINDOW_UPDATE, struct.pack(">I", 2**30), 0, stream))
        messages = await Reader(reader, writer).until(lambda message: b"00001000" in message)
        # One was on its way, and perhaps another in gRPC's hands; of 1,000 states none else was kept.
        assert 1 <= len(messages) <= 4, [message[:8] for message in messages]
        writer.close()


@pytest.mark.parametrize("path", [STREAM, WATCH])
async def test_a_reader_that_does_not_read_is_dropped(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_server, "WRITE_SECONDS", 0.3)
    told = Source(Ok(bytes(65536)))
    async with serving(told) as (port, metrics):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(path))
        async with asyncio.timeout(10):
            while not told.observed:
                await asyncio.sleep(0.01)
            number = 0
            while told.observed:
                number += 1
                told.set(bytes(65536) + b"%d" % number)
                await asyncio.sleep(0.01)
        assert metrics.counter("dropped_streams").count == 1
        writer.close()


@pytest.mark.parametrize("path", [STREAM, WATCH])
async def test_a_reader_that_goes_is_forgotten(path: str) -> None:
    """Also one to whom nothing was ever said (reference/naming.md §12, 44)."""
    told: Source[bytes] = Source()
    async with serving(told) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(path))
        async with asyncio.timeout(10):
            while not told.observed:
                await asyncio.sleep(0.01)
            writer.close()
            while told.observed:
                await asyncio.sleep(0.01)
