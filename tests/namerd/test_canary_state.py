"""Canaries in a store: what is written is read, whole and unchanged."""

from __future__ import annotations

import asyncio

import pytest

from biandou.dtab import Dtab, NameTree, Path
from biandou.errors import StaleVersion
from biandou.namerd.canary import Canary, Plan, Status, abort, begin, changed
from biandou.namerd.canary_state import MAX_CANARIES, RESERVED, CanaryStates, Shown, UnreadableCanary
from biandou.stores.in_memory import InMemoryStore

BEFORE = Dtab.read("/svc => /a ; /svc/web => 0.5 * /b & 1 * (/c | /d)")


def canary(path: str = "/svc/web") -> Canary:
    plan = Plan(Path.read(path), NameTree.read("/b"), NameTree.read("/c | /d"), (10, 100), 5.5, 0.1, None, 3)
    return changed(begin(plan, BEFORE, 17.25), 18.5)


async def test_what_is_written_is_read() -> None:
    states = CanaryStates(InMemoryStore())
    assert states.now("default") == Shown({}, None)
    written = await states.change("default", Path.read("/svc/web"), lambda _shown, _present: canary())
    assert states.now("default").canaries == {Path.read("/svc/web"): written}


async def test_of_two_who_write_at_once_one_is_refused() -> None:
    states = CanaryStates(InMemoryStore())
    shown = states.now("default")
    await states.save("default", shown, canary())
    with pytest.raises(StaleVersion):
        await states.save("default", shown, canary())
    shown = states.now("default")
    results = await asyncio.gather(*[states.save("default", shown, canary()) for _ in range(2)], return_exceptions=True)
    assert [type(result) for result in results] == [type(None), StaleVersion]


async def test_those_that_ended_first_are_forgotten_beyond_a_bound() -> None:
    states = CanaryStates(InMemoryStore())
    for number in range(MAX_CANARIES + 5):
        await states.save("default", states.now("default"), abort(canary(f"/svc/{number}"), "x"))
    known = states.now("default").canaries
    assert len(known) == MAX_CANARIES
    assert Path.read("/svc/4") not in known
    assert all(other.status is Status.ABORTED for other in known.values())


async def test_what_is_no_canary_is_an_error_that_names_it() -> None:
    states = CanaryStates(InMemoryStore({RESERVED + "default": Dtab.read("/svc/web => /canary/x")}))
    with pytest.raises(UnreadableCanary, match="/svc/web"):
        states.now("default")
