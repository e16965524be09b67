"""What a linker reports of the version that it has in force, and of what it has served."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from biandou.boundary import Scope
from biandou.clients.identity import identity
from biandou.linker.reports import Reports
from biandou.linker.router import Router
from biandou.linker.served import served
from biandou.linker.versions import Versions, standing
from biandou.live import Source


class Namerd:
    """An interpreter that knows its version; `answer` is what its namerd says to reports."""

    def __init__(self, answer: dict[str, Any] | None = None, *, elsewhere: bool = True) -> None:
        self.in_force: Source[str] = Source()
        self.told_elsewhere = elsewhere
        self.may_try = True
        self.reports: list[Any] = []
        self._answer = answer or {"clients": [], "seconds": 0.5}

    def bind(self, *_: Any) -> Any:
        raise NotImplementedError

    def delegate(self, *_: Any) -> Any:
        raise NotImplementedError

    async def report(self, document: bytes) -> list[Any]:
        self.reports.append(json.loads(document))
        return [self._answer]


def server(label: str, requests: int, failures: int, kind: str = "server") -> Scope:
    return Scope(scope=["rt", label, kind, "127.0.0.1/80"], counters={"requests": requests, "failures": failures})


def test_it_says_who_it_is_and_what_is_in_force() -> None:
    namerd = Namerd()
    who = {"token": identity().token, "host": identity().host, "pid": identity().pid}
    assert standing(namerd) == {"linker": {**who, "version": None}}
    namerd.in_force.set("v1")
    assert standing(namerd) == {"linker": {**who, "version": "v1"}}
    namerd.may_try = False
    assert standing(namerd) == {"linker": {**who, "version": "v1", "mayTry": False}}
    assert standing(object()) == {}


async def test_a_new_version_is_reported_at_once_to_namerds_that_do_not_know_it() -> None:
    for elsewhere, most in ((True, 3.0), (False, 100.0)):
        namerd = Namerd(elsewhere=elsewhere)
        versions = Versions()
        versions.watch([namerd, object(), namerd])
        asyncio.get_running_loop().call_later(0.01, namerd.in_force.set, "v1")
        began = time.monotonic()
        pausing = asyncio.create_task(versions.pause(20.0))
        await asyncio.wait([pausing], timeout=most if elsewhere else 0.3)
        assert pausing.done() is elsewhere
        assert time.monotonic() - began < most
        pausing.cancel()
        versions.watch([])
        assert not namerd.in_force.observed


def test_what_the_servers_of_a_router_have_served_is_added_up() -> None:
    scopes = [server("http", 3, 1), server("http", 4, 0), server("other", 100, 100), server("http", 100, 9, "client")]
    assert served("http", scopes) == {"requests": 7, "failures": 1}
    assert served("none", scopes) == {"requests": 0, "failures": 0}


async def test_what_was_served_is_read_and_reported_when_it_is_wanted() -> None:
    reads = 0

    def read() -> list[Scope]:
        nonlocal reads
        reads += 1
        return [server("http", 3, 1)]

    namerd = Namerd({"clients": [], "seconds": 0.5, "served": True})
    reports = Reports(read, [Router("http", namerd)])
    async with asyncio.timeout(10):
        while len(namerd.reports) < 2:
            await asyncio.sleep(0.01)
    reports.stop()
    assert "served" not in namerd.reports[0]
    assert namerd.reports[1]["served"] == {"requests": 3, "failures": 1}
    assert reads == 1
