"""What the limits of a server and a service refuse, and where it is seen."""

from __future__ import annotations

import asyncio

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, get
from tests.mesh.callers import Caller, status_of, values_of


def config(port: int, server: str, more: str = "") -> str:
    """Send every name to a port of this host; `server` are keys of the server, `more` further lines of the router."""
    text = f"""
admin: {{port: 0}}
telemetry: [{{kind: io.l5d.prometheus}}]
routers:
- protocol: http
  dtab: /svc/* => /$/inet/127.0.0.1/{port} ;
  servers:
  - {{port: 0, {server}}}
"""
    return text + "".join(f"  {line}\n" for line in more.strip("\n").splitlines())


async def test_rates_of_services_and_of_clients_are_kept_and_counted() -> None:
    more = """
service:
  kind: io.l5d.static
  configs:
  - {prefix: /svc, rateLimit: {requestsPerSecond: 1000}}
  - {prefix: /svc/reports, rateLimit: {requestsPerSecond: 0.01, burst: 2}}
"""
    server = "rateLimit: {requestsPerSecond: 0.01, burst: 4, byHeader: X-Api-Key}"
    async with Origin() as origin, LinkerProcess(config(origin.port, server, more)) as linker:

        async def statuses(host: str, key: str, count: int) -> list[int]:
            return [status_of(await linker.get(host, "/", f"X-Api-Key: {key}")) for _ in range(count)]

        assert await statuses("reports", "ann", 3) == [200, 200, 429], "the service's"
        assert await statuses("web", "ann", 3) == [200, 429, 429], "the client's: four in all"
        assert await statuses("web", "bob", 4) == [200] * 4
        refused = await linker.get("reports", "/", "X-Api-Key: cid")
        assert 90 <= int(values_of(refused, "retry-after")[0]) <= 100
        assert values_of(refused, "l5d-err") == ["Too+many+requests%3A+%2Fsvc%2Freports+takes+0.01+a+second"]
        assert len(origin.requests) == 7
        metrics = await linker.metrics()
        prefix = f"rt/http/server/127.0.0.1/{linker.port()}"
        assert metrics[f"{prefix}/rate_limited"] == 2
        assert metrics[f"{prefix}/rate_limit/forgotten"] == 0
        assert metrics["rt/http/service/svc/reports/rate_limited"] == 2
        prometheus = (await linker.admin("/admin/metrics/prometheus")).decode()
        assert 'rt:service:rate_limited{rt="http", service="svc/reports"} 2' in prometheus


async def test_connections_heads_and_requests_at_once_are_limited() -> None:
    may_answer = asyncio.Event()

    async def answer(_request: bytes) -> bytes:
        await may_answer.wait()
        return OK

    server = "maxConnections: 3, headTimeoutMs: 200, maxConcurrentRequests: 1"
    async with Origin(answer) as origin, LinkerProcess(config(origin.port, server)) as linker:
        gauge = f"rt/http/server/127.0.0.1/{linker.port()}/request_concurrency"
        async with Caller(linker.port()) as first, Caller(linker.port()) as second, Caller(linker.port()) as slow:
            waiting = asyncio.create_task(first.ask(get("web")))
            while (await linker.metrics())[gauge] != 1:
                await asyncio.sleep(0.01)
            refused = await second.ask(get("web"))
            assert status_of(refused) == 503
            assert values_of(refused, "l5d-retryable") == ["true"]
            assert status_of(await slow.ask(b"GET / HT")) == 408, "half a head"
            may_answer.set()
            assert status_of(await waiting) == 200


async def test_a_connection_too_many_is_closed_and_counted() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port, "maxConnections: 1")) as linker:
        async with Caller(linker.port()) as first:
            assert status_of(await first.ask(get("web"))) == 200
            async with Caller(linker.port()) as second:
                assert await second.reader.read() == b""
            metrics = await linker.metrics()
            assert metrics[f"rt/http/server/127.0.0.1/{linker.port()}/refused_connections"] == 1
        async with asyncio.timeout(5):
            # Until the linker has seen that the first is gone, there is an end where an answer would be.
            while not (answer := await ask(linker)):
                await asyncio.sleep(0.02)
        assert status_of(answer) == 200


async def ask(linker: LinkerProcess) -> bytes:
    """Give the answer to a request on a new connection, or nothing if that is closed at once."""
    try:
        return await linker.get("web")
    except ConnectionError:
        return b""


async def test_the_number_of_header_lines_is_limited_both_ways() -> None:
    many = "".join(f"X-{number}: 1\r\n" for number in range(10))
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{many}\r\n".encode()
    async with Origin(answer) as origin, LinkerProcess(config(origin.port, "", "maxHeaderCount: 10")) as linker:
        assert status_of(await linker.get("web")) == 502, "eleven lines in the response"
        too_many = get("web").replace(b"\r\n\r\n", f"\r\n{many}\r\n".encode())
        async with Caller(linker.port()) as caller:
            assert status_of(await caller.ask(too_many)) == 431
            assert len(origin.requests) == 1
            origin.answer = OK
        async with Caller(linker.port()) as caller:
            assert status_of(await caller.ask(too_many.replace(b"X-9: 1\r\n", b""))) == 200
