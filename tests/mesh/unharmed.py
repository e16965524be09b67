"""Doing one's worst to a linker, and seeing that it lives on, serves others meanwhile, and keeps nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.callers import Traffic
from tests.mesh.observing import becomes, descriptors, resident_kib

GROWTH_KIB: Final = 12 * 1024


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
async def unharmed(linker: LinkerProcess, growth_kib: int = GROWTH_KIB) -> AsyncIterator[Traffic]:
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
    assert resident_kib(linker.pid) - resident <= growth_kib
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
