"""The driver of canaries: wherever it is cut off, the next one ends with the same dtab."""

from __future__ import annotations

import json
from typing import Any

import pytest

from biandou.dtab import Dtab, NameTree, Path
from biandou.errors import StoreDown
from biandou.live import Ok
from biandou.namerd.canary import Canary, Plan, Status, abort, begin, dtab_at
from biandou.namerd.canary_driver import CanaryDriver
from biandou.namerd.canary_state import LEASE, CanaryStates
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore
from biandou.stores.interface import NO_REMARK, Remark, Version
from tests.namerd.test_reports import Clock

BEFORE = Dtab.read("/svc=>/x;/svc/web=>/$/inet/127.0.0.1/1;/y=>/z")
WEB = Path.read("/svc/web")
OLD, NEW = "/$/inet/127.0.0.1/1", "/$/inet/127.0.0.1/2"
FEW = 25


class DyingStore(InMemoryStore):
    """Takes `left` changes more (the lease's not counted) and no other."""

    left = 10**9

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        self._spend(namespace)
        return await super().create(namespace, dtab, remark)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        self._spend(namespace)
        return await super().update(namespace, dtab, version, remark)

    def _spend(self, namespace: str) -> None:
        if namespace != LEASE:
            if self.left == 0:
                raise StoreDown("killed")
            self.left -= 1


class Bench:
    """A store with a canary, and one driver after another."""

    def __init__(self) -> None:
        self.store = DyingStore({"default": BEFORE})
        self.states = CanaryStates(self.store)
        self.clock = Clock()
        self.counts = {OLD: [0, 0], NEW: [0, 0]}

    async def start(self) -> None:
        plan = Plan(WEB, NameTree.read(OLD), NameTree.read(NEW), (10, 100), 30.0, 0.01, None, 5)
        await self.states.change("default", WEB, lambda _shown, _present: begin(plan, BEFORE, 0.0))

    def driver(self) -> CanaryDriver:
        self.reports = Reports(self.clock)
        driver = CanaryDriver(self.store, Names(self.store, Namers()), self.reports, self.clock)
        # The lease has tests of its own.
        driver._lease = Always()  # type: ignore[assignment]
        return driver

    async def go(self, driver: CanaryDriver, *, failures: int = 0) -> None:
        """Let twenty seconds pass with ten requests to each version."""
        for counts in self.counts.values():
            counts[0] += 10
        self.counts[NEW][1] += failures
        clients = {
            name: {"requests": requests, "failures": failed, "latencies": []}
            for name, (requests, failed) in self.counts.items()
        }
        document = json.dumps({"process": "linker", "clients": clients}).encode()
        self.reports.take("default", document)
        await driver.tick(["default"])
        self.clock.now += 20

    @property
    def canary(self) -> Canary:
        return self.states.now("default").canaries[WEB]

    @property
    def dtab(self) -> Dtab:
        state = self.store.watch("default").sample()
        assert isinstance(state, Ok)
        assert state.value is not None
        return state.value.dtab


class Always:
    """A lease that is held."""

    async def held(self) -> bool:
        return True


@pytest.mark.parametrize("failures", [0, 5])
@pytest.mark.parametrize("writes", range(8))
async def test_wherever_a_namerd_dies_the_next_one_comes_to_the_same_end(writes: int, failures: int) -> None:
    bench = Bench()
    await bench.start()
    driver = bench.driver()
    bench.store.left = writes
    died = False
    for _ in range(FEW):
        try:
            await bench.go(driver, failures=failures)
        except StoreDown:
            died = True
            bench.store.left = 10**9
            driver = bench.driver()
        dtabs = [dtab_at(bench.canary, weight) for weight in (bench.canary.weight, bench.canary.wanted)]
        assert bench.dtab in dtabs, "the dtab is what was written down, or what was going to be"
    assert died or writes >= 4
    assert bench.canary.wanted == bench.canary.weight
    if failures:
        assert bench.canary.status is Status.ROLLED_BACK
        assert bench.dtab == BEFORE
    else:
        assert bench.canary.status is Status.PROMOTED
        assert str(bench.dtab) == f"/svc=>/x;/svc/web=>{NEW};/y=>/z"


@pytest.mark.parametrize("writes", range(3))
async def test_an_abort_that_is_cut_off_is_done_by_the_next(writes: int) -> None:
    bench = Bench()
    await bench.start()
    driver = bench.driver()
    await bench.go(driver)

    def end(_shown: Any, canary: Canary | None) -> Canary:
        assert canary is not None
        return abort(canary, "by ann")

    await bench.states.change("default", WEB, end)
    bench.store.left = writes
    try:
        await bench.go(driver)
    except StoreDown:
        bench.store.left = 10**9
        await bench.go(bench.driver())
    assert (bench.canary.status, bench.canary.weight, bench.dtab) == (Status.ABORTED, 0, BEFORE)


async def test_versions_that_lead_to_one_client_are_paused_for_they_cannot_be_told_apart() -> None:
    bench = Bench()
    await bench.store.put("default", Dtab.read(f"/a=>{OLD};/b=>{OLD}"))
    plan = Plan(WEB, NameTree.read("/a"), NameTree.read("/b"))
    before = bench.dtab
    await bench.states.change("default", WEB, lambda _shown, _present: begin(plan, before, 0.0))
    await bench.go(bench.driver())
    assert bench.canary.status is Status.PAUSED
    assert bench.canary.reason == f"both versions lead to {OLD}, and cannot be told apart"
