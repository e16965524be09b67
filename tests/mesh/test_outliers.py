"""Endpoints that fail, from the configuration to the wire and the admin page, with the real program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin
from tests.mesh.callers import Traffic, status_of
from tests.mesh.observing import becomes

BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
CLIENT = "rt/http/client/#/io.l5d.fs/web"


def config(root: Path, client: str) -> str:
    return f"""
admin: {{port: 0}}
namers:
- kind: io.l5d.fs
  rootDir: {root}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs ;
  client: {client}
  servers:
  - port: 0
"""


def write(root: Path, origins: Sequence[Origin]) -> None:
    new = root / ".web"
    new.write_text("".join(f"{origin.ip} {origin.port}\n" for origin in origins))
    new.rename(root / "web")


async def endpoints(linker: LinkerProcess) -> dict[str, Any]:
    """Give what `/admin/endpoints.json` says of each endpoint of `web`, by address."""
    page = json.loads(await linker.admin("/admin/endpoints.json?router=http&client=/%23/io.l5d.fs/web"))
    return {endpoint["address"]: endpoint for endpoint in page["http"]["/#/io.l5d.fs/web"]["endpoints"]}


@pytest.mark.parametrize(
    ("accrual", "asked"),
    [
        ("{kind: io.l5d.consecutiveFailures, failures: 3, backoff: {kind: constant, ms: 1200}}", 3),
        ("{kind: io.l5d.successRate, successRate: 0.5, requests: 7, backoff: {kind: constant, ms: 1200}}", 7),
        ("{kind: io.l5d.successRateWindowed, successRate: 0.5, window: 9, backoff: {kind: constant, ms: 1200}}", 5),
        ("{kind: io.l5d.consecutiveFailures, failures: 1, backoff: {kind: jittered, minMs: 1200, maxMs: 1300}}", 1),
    ],
)
async def test_a_failing_endpoint_rests_is_probed_with_one_request_and_comes_back(
    tmp_path: Path, accrual: str, asked: int
) -> None:
    async with Origin(BAD) as bad, Origin() as good:
        write(tmp_path, [bad, good])
        async with LinkerProcess(config(tmp_path, f"{{failureAccrual: {accrual}}}")) as linker:
            # The admin server takes its time only for the first page.
            await linker.admin("/admin/ping")

            async def state() -> str:
                await linker.get("web")
                return str((await endpoints(linker))[bad.address]["state"])

            await becomes("it is out of use", state, lambda state: state == "ejected")
            assert len(bad.requests) == asked
            for _ in range(10):
                assert status_of(await linker.get("web")) == 200
            ejected = (await endpoints(linker))[bad.address]
            assert ejected["times_ejected"] == 1
            assert 0 < ejected["next_probe_ms"] <= 1300
            assert len(bad.requests) == asked

            # Its probe takes its time, and no other request comes meanwhile.
            async def slow(_request: bytes) -> bytes:
                await asyncio.sleep(0.2)
                return OK

            bad.answer = slow
            await asyncio.sleep(ejected["next_probe_ms"] / 1000 + 0.05)
            answers = await asyncio.gather(*(linker.get("web") for _ in range(20)))
            assert {status_of(answer) for answer in answers} == {200}
            assert len(bad.requests) == asked + 1
            bad.answer = OK
            await becomes("it is back", state, lambda state: state == "in use")
            metrics = await linker.metrics()
            counted = {name: metrics[f"{CLIENT}/failure_accrual/{name}"] for name in ("removals", "revivals", "probes")}
            assert counted == {"removals": 1, "revivals": 1, "probes": 1}
            await linker.logged("FailureAccrualFactory marking connection to")


async def test_with_fail_fast_one_failure_to_connect_is_enough_and_no_request_probes(tmp_path: Path) -> None:
    async with Origin() as gone, Origin() as good:
        write(tmp_path, [gone, good])
        await gone.close()
        async with LinkerProcess(config(tmp_path, "{failFast: true}")) as linker, Traffic(linker.port()) as traffic:
            await traffic.more(100)
            assert (await endpoints(linker))[gone.address]["state"] == "ejected"
            async with Origin(port=gone.port) as back:

                async def served() -> int:
                    await traffic.more(20)
                    return len(back.requests)

                await becomes("it serves again", served, bool)
                metrics = await linker.metrics()
                assert metrics[f"{CLIENT}/failfast/marked_dead"] == 1
                assert metrics[f"{CLIENT}/failfast/marked_available"] == 1
                assert metrics[f"{CLIENT}/failfast/is_marked_dead"] == 0
            assert traffic.failed == []


async def test_failures_never_empty_a_service(tmp_path: Path) -> None:
    client = """
    failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 1, backoff: {kind: constant, ms: 60000}}
    loadBalancer: {kind: heap}
    maxEjectedPercent: 50
    panicThresholdPercent: 0
"""
    async with Origin(BAD) as first, Origin(BAD) as second, Origin(BAD) as third, Origin() as good:
        write(tmp_path, [first, second, third, good])
        async with LinkerProcess(config(tmp_path, client)) as linker:
            for _ in range(40):
                await linker.get("web")
            seen = await endpoints(linker)
            states = sorted(seen[origin.address]["state"] for origin in (first, second, third))
            assert states == ["ejected", "ejected", "spared"]
            assert (await linker.metrics())[f"{CLIENT}/failure_accrual/ejected"] == 2
            good.answer = BAD
            for _ in range(30):
                await linker.get("web")
            await linker.logged("4 of 4 endpoints of /#/io.l5d.fs/web are failing: all are used")
            asked = [len(origin.requests) for origin in (first, second, third, good)]
            for _ in range(60):
                await linker.get("web")
            after = [len(origin.requests) for origin in (first, second, third, good)]
            assert all(now > before for now, before in zip(after, asked, strict=True)), "when all fail, all are used"


async def test_an_endpoint_that_is_new_warms_up(tmp_path: Path) -> None:
    async with Origin() as old, Origin() as new:
        write(tmp_path, [old])
        async with LinkerProcess(config(tmp_path, "{warmUpMs: 2500}")) as linker, Traffic(linker.port()) as traffic:
            await traffic.more(20)
            # The admin server takes its time only for the first page.
            await linker.admin("/admin/ping")
            write(tmp_path, [old, new])

            async def state() -> str:
                await traffic.more(10)
                return str((await endpoints(linker)).get(new.address, {}).get("state"))

            await becomes("it is there", state, lambda state: state == "warming up")
            before = len(old.requests), len(new.requests)
            await traffic.more(100)
            assert len(new.requests) - before[1] < len(old.requests) - before[0]
            await becomes("it is warm", state, lambda state: state == "in use")
            assert traffic.failed == []


async def test_an_aperture_uses_no_more_endpoints_than_it_needs(tmp_path: Path) -> None:
    async with Origin() as one, Origin() as two, Origin() as three:
        origins = [one, two, three]
        write(tmp_path, origins)
        client = "{loadBalancer: {kind: aperture, minAperture: 1, smoothWindowMs: 100}}"
        async with LinkerProcess(config(tmp_path, client)) as linker:
            for _ in range(30):
                assert status_of(await linker.get("web")) == 200
            assert sorted(len(origin.requests) for origin in origins) == [0, 0, 30]

            async def slow(_request: bytes) -> bytes:
                await asyncio.sleep(0.05)
                return OK

            for origin in origins:
                origin.answer = slow
            async with Traffic(linker.port()) as traffic:

                async def used() -> int:
                    await traffic.more(20)
                    return sum(bool(origin.requests) for origin in origins)

                await becomes("eight at a time need all three", used, lambda used: used == 3)
            assert (await linker.metrics())[f"{CLIENT}/loadbalancer/loadband/widen"] >= 2
