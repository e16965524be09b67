"""The driver of rollouts: wherever it is cut off, the next one ends with the same dtab; what is others' stays."""

from __future__ import annotations

import contextlib

import pytest

from biandou.dtab import Dtab
from biandou.errors import StoreDown
from biandou.live import Ok
from biandou.namerd.in_force import InForce, Linker
from biandou.namerd.outcomes import Outcomes
from biandou.namerd.rollout import Phase, Rollout, Terms, abort, tries
from biandou.namerd.rollout_driver import CHANGED, RolloutDriver
from biandou.namerd.rollout_state import RolloutStates
from biandou.stores.interface import Remark
from tests.namerd.test_canary_driver import Always, DyingStore
from tests.namerd.test_reports import Clock
from tests.namerd.test_rollout import served

OLD, NEW = Dtab.read("/svc=>/$/inet/127.0.0.1/1"), Dtab.read("/svc=>/$/inet/127.0.0.1/2")
TOKENS = ["a", "b", "c", "d"]


class Bench:
    """A store with a rollout, four linkers, and one driver after another."""

    def __init__(self, linkers: int = 4) -> None:
        self.store = DyingStore({"default": OLD})
        self.states = RolloutStates(self.store)
        self.clock = Clock()
        self.in_force = InForce(self.clock)
        self.linkers = [self.in_force.enter("default", Linker(token, "host", 1)) for token in TOKENS[:linkers]]
        for held in self.linkers:
            self.in_force.hold("default", held, "v")
        self.counts = {token: [0, 0] for token in TOKENS}

    async def start(self) -> None:
        state = self.store.watch("default").sample()
        assert isinstance(state, Ok)
        assert state.value is not None
        begun = Rollout("r1", NEW, state.value.version, Terms(0.25, 50.0, 0.01, 20), Remark("anna", "why"))
        await self.states.change("default", lambda _present: begun)

    def driver(self) -> RolloutDriver:
        self.outcomes = Outcomes()
        driver = RolloutDriver(self.store, self.in_force, self.outcomes, self.clock)
        # The lease has tests of its own.
        driver._lease = Always()  # type: ignore[assignment]
        return driver

    async def go(self, driver: RolloutDriver, *, failures: int = 0) -> None:
        """Let eleven seconds pass with ten requests to each linker; so many fail where the new dtab is tried."""
        trying = self.rollout.phase.tried
        for token, counts in self.counts.items():
            counts[0] += 10
            counts[1] += failures if trying and tries(self.rollout, token) else 0
            self.outcomes.take("default", served(f"{token}/http", *counts))
        await driver.tick(["default"])
        self.clock.now += 11

    async def until_over(self, driver: RolloutDriver, *, failures: int = 0) -> None:
        for _ in range(40):
            if self.rollout.phase.over:
                return
            await self.go(driver, failures=failures)
        raise AssertionError(f"not over: {self.rollout}")

    @property
    def rollout(self) -> Rollout:
        found = self.states.now("default").rollout
        assert found is not None
        return found

    @property
    def dtab(self) -> Dtab:
        state = self.store.watch("default").sample()
        assert isinstance(state, Ok)
        assert state.value is not None
        return state.value.dtab


async def test_a_good_dtab_goes_to_all_after_its_trial() -> None:
    bench = Bench()
    await bench.start()
    driver = bench.driver()
    await bench.go(driver)
    assert sum(tries(bench.rollout, token) for token in TOKENS) == 1
    assert bench.dtab == OLD
    await bench.until_over(driver)
    assert (bench.rollout.phase, bench.dtab) == (Phase.APPLIED, NEW)


async def test_a_bad_dtab_is_withdrawn_and_the_namespace_was_never_changed() -> None:
    bench = Bench()
    before = bench.store.watch("default").sample()
    await bench.start()
    await bench.until_over(bench.driver(), failures=5)
    assert bench.rollout.phase is Phase.WITHDRAWN
    assert "50% of 20 requests failed where it was tried" in bench.rollout.reason
    assert bench.store.watch("default").sample() == before


@pytest.mark.parametrize("failures", [0, 5])
@pytest.mark.parametrize("changes", range(8))
async def test_wherever_a_namerd_dies_the_next_one_ends_alike(changes: int, failures: int) -> None:
    bench = Bench()
    await bench.start()
    bench.store.left = changes
    driver = bench.driver()
    with contextlib.suppress(StoreDown):
        await bench.until_over(driver, failures=failures)
    bench.store.left = 10**9
    await bench.until_over(bench.driver(), failures=failures)
    wanted = (Phase.WITHDRAWN, OLD) if failures else (Phase.APPLIED, NEW)
    assert (bench.rollout.phase, bench.dtab) == wanted


async def test_a_dtab_that_somebody_else_changes_stays_and_ends_the_trial() -> None:
    bench = Bench()
    await bench.start()
    driver = bench.driver()
    await bench.go(driver)
    await bench.store.put("default", Dtab.read("/mine=>/x"))
    await bench.go(driver)
    assert (bench.rollout.phase, bench.rollout.reason) == (Phase.WITHDRAWN, CHANGED)
    assert bench.dtab == Dtab.read("/mine=>/x")


async def test_when_all_that_tried_it_are_gone_others_do() -> None:
    bench = Bench()
    await bench.start()
    driver = bench.driver()
    while bench.rollout.phase is not Phase.TRYING:
        await bench.go(driver)
    for held in bench.linkers:
        if tries(bench.rollout, held.linker.token):
            bench.in_force.leave("default", held)
    gone = bench.rollout.below
    # They may come back.
    await bench.go(driver)
    await bench.go(driver)
    assert bench.rollout.below == gone
    await bench.go(driver)
    assert bench.rollout.below > gone
    await bench.until_over(driver)
    assert bench.dtab == NEW


async def test_without_linkers_it_waits_and_says_so() -> None:
    bench = Bench(0)
    await bench.start()
    driver = bench.driver()
    for _ in range(10):
        await bench.go(driver)
    assert (bench.rollout.phase, bench.rollout.reason) == (Phase.MEASURING, "no linker is there to try it")
    await bench.states.change("default", lambda present: abort(present, "by anna") if present else bench.rollout)
    await bench.go(driver)
    assert not bench.outcomes.wants("default")
