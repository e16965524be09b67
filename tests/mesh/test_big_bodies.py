"""Bodies of any size go through whole, and the linker never holds them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.observing import becomes, forget_peak, peak_resident_kib
from tests.mesh.programs import run

MIB: Final = 1024 * 1024
BLOCK: Final = bytes(range(256)) * 1024
BIG: Final = 256 * MIB

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def config(port: int) -> str:
    """Send every name to a port of this host, through one worker."""
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{port} ;
  servers:
  - port: 0
"""


class Warehouse:
    """An origin of big bodies: sends `BIG` bytes to a GET, and digests what is put there, holding neither."""

    def __init__(self) -> None:
        self.digest = ""
        self.sent = 0
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Warehouse]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"GET "):
                await self._give(writer, chunked=b"GET /chunked" in head)
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await self._take(reader, int(length[1]) if length is not None else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            # The linker left: the caller has had enough.
            pass
        finally:
            writer.close()

    async def _give(self, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % BIG
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        block = b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK
        for _ in range(BIG // len(BLOCK)):
            writer.write(block)
            await writer.drain()
            self.sent += len(BLOCK)
        if chunked:
            writer.write(b"0\r\n\r\n")

    async def _take(self, reader: asyncio.StreamReader, length: int) -> None:
        digest = hashlib.blake2b()
        while length > 0:
            block = await reader.read(min(length, len(BLOCK)))
            if not block:
                raise asyncio.IncompleteReadError(b"", length)
            digest.update(block)
            length -= len(block)
        self.digest = digest.hexdigest()


def big_digest() -> str:
    digest = hashlib.blake2b()
    for _ in range(BIG // len(BLOCK)):
        digest.update(BLOCK)
    return digest.hexdigest()


async def download(port: int, path: str, blocks: int) -> None:
    """GET a big body and read the first `blocks` blocks of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=len(BLOCK))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(blocks):
        await reader.readexactly(len(BLOCK))
    writer.close()


async def warm(linker: LinkerProcess, path: str = "/") -> None:
    """Let the linker take the memory that a worker keeps for good, and forget what it took to start."""
    for _ in range(2):
        await download(linker.port(), path, 16)
    await linker.metrics()
    forget_peak(linker.pid)


@needs_curl
@pytest.mark.parametrize("path", ["/", "/chunked"])
async def test_a_big_download_arrives_whole_and_is_never_held(path: str) -> None:
    async with Warehouse().open() as origin, LinkerProcess(config(origin.port)) as linker:
        await warm(linker, path)
        before = peak_resident_kib(linker.pid)
        summing = "import hashlib, sys; print(hashlib.file_digest(sys.stdin.buffer, 'blake2b').hexdigest())"
        url = f"http://127.0.0.1:{linker.port()}{path}"
        ran = await run(
            "sh", "-c", 'curl -sS -H "Host: web" "$1" | "$2" -c "$3"', "sh", url, sys.executable, summing, seconds=60
        )
        assert (ran.output.decode().strip(), ran.errors) == (big_digest(), "")
        assert peak_resident_kib(linker.pid) - before <= 1024


async def test_a_big_upload_arrives_whole_and_is_never_held() -> None:
    async with Warehouse().open() as origin, LinkerProcess(config(origin.port)) as linker:
        await warm(linker)
        before = peak_resident_kib(linker.pid)
        reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
        writer.write(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // len(BLOCK)):
            writer.write(BLOCK)
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        assert origin.digest == big_digest()
        assert peak_resident_kib(linker.pid) - before <= 1024


async def test_a_slow_reader_holds_the_endpoint_back_and_not_the_memory() -> None:
    async with Warehouse().open() as origin, LinkerProcess(config(origin.port)) as linker:
        await warm(linker)
        origin.sent = 0
        before = peak_resident_kib(linker.pid)
        with socket.create_connection(("127.0.0.1", linker.port())) as slow:
            slow.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(slow, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")

            async def progress() -> tuple[int, int]:
                was = origin.sent
                await asyncio.sleep(0.3)
                return was, origin.sent

            was, now = await becomes("the endpoint is held back", progress, lambda seen: seen[0] == seen[1] > 0)
            assert was == now < 64 * MIB, "only what the sockets on the way hold"
            assert peak_resident_kib(linker.pid) - before <= 1024
            # Others are served meanwhile.
            await download(linker.port(), "/", 16)
