"""How connections end, and what was wrong on them, is counted (reference/linker.md §8.6)."""

from __future__ import annotations

import asyncio

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, exchange, get
from tests.mesh.callers import Caller, status_of

SNAPSHOTS = "-io.buoyant.telemetry.admin.histogramSnapshotInterval=1.seconds"


def config(port: int) -> str:
    """Give three servers, each of which ends silent connections for another reason."""
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc/* => /$/inet/127.0.0.1/{port} ;
  client: {{clientSession: {{lifeTimeMs: 100}}}}
  servers:
  - {{port: 0, serverSession: {{idleTimeMs: 150}}, maxConcurrentRequests: 1}}
  - {{port: 0, serverSession: {{lifeTimeMs: 150}}}}
  - {{port: 0, socketOptions: {{readTimeoutMs: 150}}}}
- protocol: http
  label: idle
  dtab: /svc/* => /$/inet/127.0.0.1/{port} ;
  client: {{clientSession: {{idleTimeMs: 150}}}}
  servers: [{{port: 0}}]
"""


async def test_why_and_after_how_long_connections_end_is_counted() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port), SNAPSHOTS) as linker:
        for index in range(3):
            async with Caller(linker.port(index=index)) as caller:
                assert status_of(await caller.ask(get("web"))) == 200
                async with asyncio.timeout(5):
                    assert await caller.reader.read() == b""
        # The connection to the origin is older than 100 ms by now: it is used this once more.
        assert status_of(await linker.get("web")) == 200
        assert status_of(await linker.get("web", router="idle")) == 200
        client = f"client/$/inet/127.0.0.1/{origin.port}"
        servers = [f"rt/http/server/127.0.0.1/{port}" for _, port in linker.servers["http"]]
        async with asyncio.timeout(15):
            while (metrics := await linker.metrics()).get(f"rt/idle/{client}/connection_duration.count", 0) == 0:
                await asyncio.sleep(0.1)
        reasons = [
            [metrics.get(f"{server}/{name}") for name in ("idle", "lifetime", "read_timeout")] for server in servers
        ]
        assert reasons == [[1, None, None], [None, 1, None], [None, None, 1]]
        assert metrics[f"rt/http/{client}/lifetime"] >= 1
        assert metrics[f"rt/idle/{client}/idle"] == 1
        assert metrics[f"rt/idle/{client}/connection_duration.max"] >= 100


async def test_what_callers_and_endpoints_do_wrong_is_counted() -> None:
    may_answer = asyncio.Event()

    async def answer(request: bytes) -> bytes:
        if b"/cut" in request:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"
        if b"/wait" in request:
            await may_answer.wait()
        return OK

    async with Origin(answer) as origin, LinkerProcess(config(origin.port)) as linker:
        port = linker.port()
        for line in (b"a b: c", b"a: \x01", b"a : c"):
            refused = await exchange("127.0.0.1", port, b"GET / HTTP/1.1\r\nHost: web\r\n" + line + b"\r\n\r\n")
            assert status_of(refused) == 400
        waiting = asyncio.create_task(linker.get("web", "/wait"))
        while not origin.requests:
            await asyncio.sleep(0.01)
        assert status_of(await linker.get("web")) == 503
        may_answer.set()
        assert status_of(await waiting) == 200
        # A server that takes any number of requests: the place of the last one may not be free yet.
        async with Caller(linker.port(index=2)) as caller:
            caller.writer.write(get("web", "/cut"))
            await caller.reader.readuntil(b"half")
            await origin.close()
            with pytest.raises(ConnectionResetError):
                await caller.reader.read()
        metrics = await linker.metrics()
        server = f"rt/http/server/127.0.0.1/{port}"
        names = ("rejected_invalid_header_names", "rejected_invalid_header_values", "nacks")
        assert [metrics.get(f"{server}/{name}") for name in names] == [2, 1, 1]
        assert metrics[f"rt/http/server/127.0.0.1/{linker.port(index=2)}/dispatch/stream/failures"] == 1
