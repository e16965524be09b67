"""Which linkers are there, and which version each has in force: what they say on connections and in reports."""

from __future__ import annotations

import json

import pytest

from biandou.live import Ok
from biandou.namerd.in_force import EXPIRES_SECONDS, InForce, Linker
from biandou.testing.observing import Observed

ONE = Linker("a1", "host-1", 7)
OTHER = Linker("b2", "host-2", 8)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def report(process: str, linker: Linker, version: str | None) -> bytes:
    who = {"token": linker.token, "host": linker.host, "pid": linker.pid, "version": version}
    return json.dumps({"process": process, "clients": {}, "linker": who}).encode()


def seen(in_force: InForce) -> list[tuple[str, str | None, bool]]:
    return [(one.linker.token, one.version, one.connected) for one in in_force.standings("default")]


async def test_a_linker_is_known_as_long_as_it_is_connected() -> None:
    in_force = InForce()
    held = in_force.enter("default", ONE)
    assert seen(in_force) == [("a1", None, True)]
    in_force.hold("default", held, "v1")
    assert seen(in_force) == [("a1", "v1", True)]
    assert in_force.standings("other") == []
    in_force.leave("default", held)
    assert seen(in_force) == []


async def test_a_linker_has_a_version_in_force_when_all_its_routers_have() -> None:
    in_force = InForce()
    first, second = in_force.enter("default", ONE), in_force.enter("default", ONE)
    in_force.hold("default", first, "v2")
    assert seen(in_force) == [("a1", None, True)]
    in_force.hold("default", second, "v1")
    assert seen(in_force) == [("a1", None, True)]
    in_force.hold("default", second, "v2")
    assert seen(in_force) == [("a1", "v2", True)]


async def test_a_linker_that_only_reports_is_forgotten_after_three_pauses() -> None:
    clock = Clock()
    in_force = InForce(clock)
    in_force.report("default", report("a1/http", ONE, "v1"), 2.0)
    in_force.report("default", report("b2/http", OTHER, None), 20.0)
    assert seen(in_force) == [("a1", "v1", False), ("b2", None, False)]
    clock.now += EXPIRES_SECONDS + 1
    assert seen(in_force) == [("b2", None, False)]
    clock.now += 50
    assert seen(in_force) == []


async def test_what_a_linker_says_on_its_connection_is_newer_than_its_report() -> None:
    in_force = InForce()
    in_force.report("default", report("a1/http", ONE, "v1"), 2.0)
    in_force.hold("default", in_force.enter("default", ONE), "v2")
    assert seen(in_force) == [("a1", "v2", True)]


async def test_who_watches_is_told_soon_after_a_change() -> None:
    in_force = InForce()
    held = in_force.enter("default", ONE)
    with Observed(in_force.changes("default")) as changes:
        first = changes.now
        in_force.hold("default", held, "v1")
        await changes.until(lambda state: isinstance(state, Ok) and state != first)


async def test_a_report_of_a_linker_that_does_not_say_who_it_is_changes_nothing() -> None:
    in_force = InForce()
    in_force.report("default", b'{"process":"a1/http","clients":{}}', 2.0)
    assert seen(in_force) == []


@pytest.mark.parametrize(
    "linker",
    [
        1,
        [],
        {"token": "a"},
        {"token": "", "host": "h", "pid": 1},
        {"token": "a", "host": "h\n", "pid": 1},
        {"token": "a", "host": "h", "pid": True},
        {"token": "a", "host": "h", "pid": 1, "version": 1},
        {"token": "a", "host": "h", "pid": 1, "version": "x" * 256},
        {"token": "a" * 256, "host": "h", "pid": 1},
    ],
)
async def test_what_is_no_report_is_refused(linker: object) -> None:
    in_force = InForce()
    with pytest.raises(ValueError, match=r"report|says|version"):
        in_force.report("default", json.dumps({"process": "a", "clients": {}, "linker": linker}).encode(), 2.0)
    assert seen(in_force) == []
