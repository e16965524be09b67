"""A request that can be saved is sent again, within its budget and its time, and every other is not."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, exchange
from tests.mesh.callers import Caller, body_of, status_of, values_of
from tests.mesh.observing import becomes

SORRY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry"


def config(port: int, service: str = "") -> str:
    """Send every name to a port of this host, with the lines of a `service` section."""
    text = f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{port} ;
  client: {{failureAccrual: {{kind: none}}}}
  servers:
  - port: 0
"""
    return text + "".join(f"  {line}\n" for line in service.strip("\n").splitlines())


def classified(kind: str, more: str = "") -> str:
    """Give a service section with this classifier."""
    return f"service:\n  responseClassifier: {{kind: io.l5d.http.{kind}}}\n{more}"


def failing(times: int) -> Callable[[bytes], Awaitable[bytes]]:
    """Give an answer that is a 503 so many times, and good then."""
    left = times

    async def answer(_request: bytes) -> bytes:
        nonlocal left
        left -= 1
        return SORRY if left >= 0 else OK

    return answer


def request(method: str, body: bytes = b"", host: str = "web") -> bytes:
    """Give the bytes of a request."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} / HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + body


async def test_an_endpoint_that_fails_once_costs_its_caller_nothing() -> None:
    async with (
        Origin(failing(1)) as origin,
        LinkerProcess(config(origin.port, classified("retryableRead5XX"))) as linker,
    ):
        answer = await linker.get("web")
        assert (status_of(answer), body_of(answer)) == (200, b"ok")
        assert values_of(answer, "l5d-success-class") == ["1.0"]
        assert len(origin.requests) == 2

        async def counted() -> list[int | None]:
            metrics = await linker.metrics()
            service = "rt/http/service/svc/web"
            client = f"rt/http/client/$/inet/127.0.0.1/{origin.port}"
            names = [f"{service}/requests", f"{service}/success", f"{service}/retries/total", f"{client}/failures"]
            return [metrics.get(name) for name in [*names, f"{client}/status/503", f"{service}/retries/budget"]]

        await becomes("it is counted", counted, lambda found: found == [1, 1, 1, 1, 1, 99])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_sent_twice_that_nobody_has_asked_to_be(method: str) -> None:
    async with Origin(failing(1)) as origin, LinkerProcess(config(origin.port)) as linker:
        answer = await exchange("127.0.0.1", linker.port(), request(method, b"abc" if method == "POST" else b""))
        assert (status_of(answer), body_of(answer)) == (503, b"sorry")
        assert values_of(answer, "l5d-success-class") == ["0.0"]
        assert len(origin.requests) == 1


async def test_a_post_is_sent_again_whole_where_that_is_asked_for_and_one_that_is_too_large_is_not() -> None:
    for size, status in ((5 * 1024, 200), (5 * 1024 + 1, 503)):
        async with (
            Origin(failing(1)) as origin,
            LinkerProcess(config(origin.port, classified("retryableAll5XX"))) as linker,
        ):
            body = b"0123456789abcdef" * 400
            answer = await exchange("127.0.0.1", linker.port(), request("POST", body[:size]))
            assert status_of(answer) == status
            assert [body_of(seen) for seen in origin.requests] == [body[:size]] * (2 if status == 200 else 1)


async def test_the_access_log_has_a_line_for_each_attempt(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    more = f"httpAccessLog: {log}\n" + classified("retryableRead5XX")
    async with Origin(failing(1)) as origin:
        async with LinkerProcess(config(origin.port, more)) as linker:
            assert status_of(await linker.get("web")) == 200
        statuses = [re.findall(r'" (\d{3}) ', line) for line in log.read_text().splitlines()]
        assert statuses == [["503"], ["200"]]


async def test_how_large_a_body_may_be_can_be_set() -> None:
    more = "streamAfterContentLengthKB: 1\n" + classified("retryableAll5XX")
    async with Origin(failing(1)) as origin, LinkerProcess(config(origin.port, more)) as linker:
        assert status_of(await exchange("127.0.0.1", linker.port(), request("POST", b"x" * 1025))) == 503


async def test_when_the_budget_is_used_up_the_failure_is_passed_on() -> None:
    budget = "  retries: {budget: {minRetriesPerSec: 1, percentCanRetry: 0, ttlSecs: 5}}\n"
    more = classified("retryableRead5XX", budget)
    async with Origin(SORRY) as origin, LinkerProcess(config(origin.port, more)) as linker:
        async with Caller(linker.port()) as caller:
            for attempts in (6, 7, 8):
                answer = await caller.ask(request("GET"))
                assert (status_of(answer), body_of(answer)) == (503, b"sorry")
                assert len(origin.requests) == attempts
        metrics = await linker.metrics()
        assert metrics["rt/http/service/svc/web/retries/budget_exhausted"] == 3
        assert metrics["rt/http/service/svc/web/retries/total"] == 5


STATIC = """
service:
  kind: io.l5d.static
  configs:
  - prefix: /svc
    responseClassifier: {kind: io.l5d.http.retryableRead5XX}
  - prefix: /svc/{app}-once
    retries: {budget: {minRetriesPerSec: 1, percentCanRetry: 0, ttlSecs: 1}}
  - prefix: /svc/{app}-fine
    responseClassifier: {kind: io.l5d.http.allSuccessful}
  - prefix: /svc/my-once
    responseClassifier: {kind: io.l5d.http.nonRetryable5XX}
"""


async def test_services_are_treated_as_the_entries_that_match_them_say() -> None:
    async with Origin(SORRY) as origin, LinkerProcess(config(origin.port, STATIC)) as linker:
        for host, attempts, success in (
            ("web", 26, "0.0"),
            ("web-once", 2, "0.0"),
            ("my-once", 1, "0.0"),
            ("web-fine", 1, "1.0"),
        ):
            del origin.requests[:]
            answer = await linker.get(host)
            assert (status_of(answer), values_of(answer, "l5d-success-class")) == (503, [success]), host
            assert len(origin.requests) == attempts, host
        metrics = await linker.metrics()
        server = next(name for name in metrics if name.endswith("/success") and "/server/" in name)
        assert metrics[server] == 1


async def test_the_total_timeout_bounds_a_request_with_all_its_retries() -> None:
    more = classified("retryableRead5XX", "  totalTimeoutMs: 500\n  retries: {backoff: {kind: constant, ms: 200}}\n")
    async with Origin(SORRY) as origin, LinkerProcess(config(origin.port, more)) as linker:
        await linker.get("warm")
        del origin.requests[:]
        began = time.monotonic()
        answer = await linker.get("web")
        assert time.monotonic() - began < 1.5
        assert (status_of(answer), body_of(answer)) == (503, b"sorry")
        assert len(origin.requests) == 3


async def test_a_linker_that_has_its_fill_has_its_requests_sent_elsewhere(tmp_path: Path) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def answer(request: bytes) -> bytes:
        if request.startswith(b"GET /hold "):
            held.set()
            await release.wait()
        return OK

    async with Origin(answer) as origin:
        full = config(origin.port).replace("  - port: 0\n", "  - {port: 0, maxConcurrentRequests: 1}\n")
        async with LinkerProcess(full) as near, LinkerProcess(config(origin.port)) as far:
            (tmp_path / "web").write_text(f"127.0.0.1 {near.port()}\n127.0.0.1 {far.port()}\n")
            first = config(0).replace("/svc => /$/inet/127.0.0.1/0 ;", "/svc => /#/io.l5d.fs ;")
            async with LinkerProcess(f"namers: [{{kind: io.l5d.fs, rootDir: {tmp_path}}}]\n{first}") as linker:
                holding = asyncio.create_task(near.get("web", "/hold"))
                await held.wait()
                async with Caller(linker.port()) as caller:
                    for _ in range(20):
                        assert status_of(await caller.ask(request("POST", b"abc"))) == 200
                metrics = await linker.metrics()
                assert metrics["rt/http/client/#/io.l5d.fs/web/retries/requeues"] > 0
                assert metrics["rt/http/service/svc/web/retries/total"] == 0
                release.set()
                assert status_of(await holding) == 200


async def test_each_request_that_a_retry_can_save_is_saved_while_endpoints_break() -> None:
    calls = 0

    async def answer(_request: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return b"" if calls % 7 == 0 else SORRY if calls % 5 == 0 else OK

    async with (
        Origin(answer) as origin,
        LinkerProcess(config(origin.port, classified("retryableAll5XX"))) as linker,
        Caller(linker.port()) as caller,
    ):
        for _ in range(100):
            assert status_of(await caller.ask(request("POST", b"abc"))) == 200
