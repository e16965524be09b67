"""Which namerd drives: one at a time, and another when its beat stops."""

from __future__ import annotations

from biandou.namerd.canary_lease import LEASE_SECONDS, Lease
from biandou.stores.in_memory import InMemoryStore
from tests.namerd.test_reports import Clock


async def test_one_has_it_until_its_beat_stops_and_then_another_has_it() -> None:
    store, clock = InMemoryStore(), Clock()
    one, other = Lease(store, clock), Lease(store, clock)
    for _ in range(20):
        assert await one.held()
        assert not await other.held()
        clock.now += 1.0
    clock.now += LEASE_SECONDS
    assert await other.held()
    assert not await one.held()


async def test_who_lets_go_is_followed_at_once() -> None:
    store, clock = InMemoryStore(), Clock()
    one, other = Lease(store, clock), Lease(store, clock)
    assert await one.held()
    assert not await other.held()
    await other.release()
    assert not await other.held(), "only the holder lets go"
    await one.release()
    assert await other.held()
