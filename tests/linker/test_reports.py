"""What a linker reports to namerd: only what is wanted, and nothing is read for it otherwise."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from biandou.boundary import Scope, Stat, encode
from biandou.linker.reports import MOST_SECONDS, Reports, read_answer, totals
from biandou.linker.router import Router

WEB = "/#/io.l5d.fs/web"


def client(name: str, requests: int, label: str = "http", *more: str) -> Scope:
    latency = msgspec.Raw(encode(Stat(count=requests, sum=0.0, buckets=[(7.0, requests)])))
    return Scope(
        scope=["rt", label, "client", name, *more],
        counters={"requests": requests, "failures": 1},
        stats={"request_latency_ms": latency},
    )


def test_a_wanted_client_is_reported_with_all_that_transformers_made_of_it() -> None:
    scopes = [
        client("#/io.l5d.fs/web", 3),
        client("%/io.l5d.port/80/#/io.l5d.fs/web", 4),
        client("#/io.l5d.fs/other", 100),
        client("#/io.l5d.fs/web", 100, "another"),
        client("#/io.l5d.fs/web", 100, "http", "service", "svc/web"),
    ]
    assert totals("http", [WEB, "/$/x"], scopes) == {
        WEB: {"requests": 7, "failures": 2, "latencies": [(7.0, 7)]},
        "/$/x": {"requests": 0, "failures": 0, "latencies": []},
    }


@pytest.mark.parametrize("answer", [None, [], {}, {"clients": [1], "seconds": 1}, {"clients": [], "seconds": "x"}])
def test_an_answer_that_is_none_wants_nothing_for_a_while(answer: Any) -> None:
    assert read_answer(answer) == ([], MOST_SECONDS)


class Namerd:
    """An interpreter that keeps what is reported, and wants `WEB`."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def bind(self, *_: Any) -> Any:
        raise NotImplementedError

    def delegate(self, *_: Any) -> Any:
        raise NotImplementedError

    async def report(self, document: bytes) -> list[Any]:
        self.reports.append(json.loads(document))
        return [{"clients": [WEB], "seconds": 0.5}, {"clients": [], "seconds": 9}]


async def test_nothing_is_read_before_something_is_wanted() -> None:
    reads = 0

    def read() -> list[Scope]:
        nonlocal reads
        reads += 1
        return [client("#/io.l5d.fs/web", 3)]

    namerd = Namerd()
    reports = Reports(read, [Router("http", namerd)])
    async with asyncio.timeout(5):
        while not namerd.reports:
            await asyncio.sleep(0.01)
        assert (reads, namerd.reports[0]["clients"]) == (0, {})
        while len(namerd.reports) < 2:
            await asyncio.sleep(0.01)
    assert reads == 1
    assert namerd.reports[1]["clients"][WEB]["requests"] == 3
    assert namerd.reports[0]["process"] == namerd.reports[1]["process"]
    reports.replan([])
    await asyncio.sleep(0.7)
    assert len(namerd.reports) == 2
