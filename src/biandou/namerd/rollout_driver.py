"""Drives rollouts: chooses who tries a dtab, looks at what linkers have counted, and gives it to all or withdraws it.

What is going to be done is written down first. A namerd that dies between that and changing the namespace leaves
`applying`; whoever drives next finds the namespace as it was or as it shall be, and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from biandou.errors import NamespaceMissing, StaleVersion, StoreDown, StoreError, reason
from biandou.live import Ok
from biandou.namerd.canary import Counts
from biandou.namerd.canary_lease import Lease
from biandou.namerd.in_force import InForce
from biandou.namerd.outcomes import Outcomes, between
from biandou.namerd.rollout import Phase, Rollout, applied, choose, judge, tries, withdraw
from biandou.namerd.rollout_state import LEASE, RolloutStates, Shown, UnreadableRollout, namespaces_with_rollouts
from biandou.stores.interface import Store, Versioned

TICK_SECONDS: Final = 0.25
GONE_SECONDS: Final = 15.0
"""After so long others try it: linkers that have lost their namerd come back in this time."""

TOLD_SECONDS: Final = 5.0
"""How often a reason that alone has changed is written down."""

CHANGED: Final = "the dtab was changed by somebody else meanwhile"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What had been counted when a phase began: `since` says which beginning that was."""

    since: float
    counts: dict[str, Counts]


class RolloutDriver:
    """Drives all rollouts of a store while it has the lease; `now` gives seconds since 1970."""

    def __init__(
        self, store: Store, in_force: InForce, outcomes: Outcomes, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._in_force = in_force
        self._outcomes = outcomes
        self._now = now
        self._states = RolloutStates(store)
        self._lease = Lease(store, namespace=LEASE)
        self._marks: dict[str, _Mark] = {}
        # Since when none of the chosen linkers has been there.
        self._deserted: dict[str, float] = {}
        self._due: set[str] = set()
        self._told = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self._trouble = ""

    def start(self) -> None:
        """Drive from now on."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name="rollouts")

    async def stop(self) -> None:
        """Drive no more, and let another namerd do it at once."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        with contextlib.suppress(StoreError):
            await self._lease.release()

    async def _run(self) -> None:
        names = self._store.namespaces()
        with contextlib.closing(names.observe(lambda _state: None)):
            while True:
                try:
                    state = names.sample()
                    await self.tick(namespaces_with_rollouts(state.value) if isinstance(state, Ok) else [])
                    self._trouble = ""
                except Exception as error:
                    self._complain(error)
                await asyncio.sleep(TICK_SECONDS)

    async def tick(self, namespaces: list[str]) -> None:
        """Do what is due for the rollouts of these namespaces; raises what kept it from some of it."""
        failure: Exception | None = None
        due: set[str] = set()
        for namespace in namespaces:
            try:
                rollout = self._states.now(namespace).rollout
            except UnreadableRollout as error:
                # The other namespaces are none the worse for it.
                failure = error
                continue
            if rollout is not None and not rollout.phase.over:
                due.add(namespace)
        # What linkers report is kept by every namerd: the one that takes over shall not wait for it.
        for namespace in self._due - due:
            self._outcomes.leave(namespace)
            self._marks.pop(namespace, None)
            self._deserted.pop(namespace, None)
        for namespace in due:
            self._outcomes.want(namespace)
        self._due = due
        if due and await self._lease.held():
            for namespace in sorted(due):
                # Somebody else may have written meanwhile: the next tick sees what.
                with contextlib.suppress(StaleVersion):
                    await self._drive(namespace)
        if failure is not None:
            raise failure

    async def _drive(self, namespace: str) -> None:
        """Take one rollout as far as it goes now."""
        shown = self._states.now(namespace)
        rollout = shown.rollout
        if rollout is None or rollout.phase.over:
            return
        stored = self._stored(namespace)
        if rollout.phase is Phase.APPLYING:
            await self._apply(namespace, shown, rollout, stored)
        elif stored is None or stored.version != rollout.base:
            await self._end(namespace, shown, withdraw(rollout, CHANGED))
        else:
            await self._judge(namespace, shown, rollout)

    async def _apply(self, namespace: str, shown: Shown, rollout: Rollout, stored: Versioned | None) -> None:
        if stored is not None and stored.version == rollout.base:
            try:
                await self._store.update(namespace, rollout.dtab, rollout.base, rollout.remark)
            except NamespaceMissing as error:
                raise StaleVersion(namespace) from error
            await self._end(namespace, shown, applied(rollout))
        elif stored is not None and stored.dtab == rollout.dtab:
            await self._end(namespace, shown, applied(rollout))
        else:
            await self._end(namespace, shown, withdraw(rollout, CHANGED))

    async def _judge(self, namespace: str, shown: Shown, rollout: Rollout) -> None:
        standings = self._in_force.standings(namespace)
        there = {one.linker.token for one in standings if one.version is not None and one.may_try}
        unable = {one.linker.token for one in standings if not one.may_try}
        now, counts = self._now(), self._outcomes.sums(namespace)
        if not any(tries(rollout, token) for token in there):
            since = self._deserted.setdefault(namespace, now)
            if rollout.below == 0 or now - since >= GONE_SECONDS:
                chosen = choose(rollout, there) if there else rollout
                told = "" if there else "no linker is there to try it"
                if (chosen.below, told) != (rollout.below, rollout.reason):
                    await self._states.save(namespace, shown, replace(chosen, since=now, reason=told))
            self._marks.pop(namespace, None)
            return
        self._deserted.pop(namespace, None)
        mark = self._marks.get(namespace)
        if mark is None or mark.since != rollout.since:
            # A phase that another namerd began starts anew: what it had seen went with it.
            if mark is None and now - rollout.since > 2 * TICK_SECONDS:
                rollout = replace(rollout, since=now)
                await self._states.save(namespace, shown, rollout)
            self._marks[namespace] = _Mark(rollout.since, counts)
            return

        def chosen_one(token: str) -> bool:
            return tries(rollout, token) and token not in unable

        chosen_counts = between(mark.counts, counts, chosen_one)
        other_counts = between(mark.counts, counts, lambda token: not chosen_one(token))
        judged = judge(rollout, chosen_counts, other_counts, now)
        if judged.phase is not rollout.phase:
            await self._end(namespace, shown, judged)
        elif judged.reason != rollout.reason and now - self._told > TOLD_SECONDS:
            self._told = now
            await self._states.save(namespace, shown, judged)

    async def _end(self, namespace: str, shown: Shown, rollout: Rollout) -> None:
        """Write down that a phase has ended."""
        await self._states.save(namespace, shown, rollout)
        log = _log.warning if rollout.phase is Phase.WITHDRAWN else _log.info
        log("the new dtab of %s: %s%s", namespace, rollout.phase, rollout.reason and f", {rollout.reason}")

    def _stored(self, namespace: str) -> Versioned | None:
        state = self._store.watch(namespace).sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        return state.value

    def _complain(self, error: Exception) -> None:
        """Say once what goes wrong at each tick."""
        told = reason(error)
        if told != self._trouble:
            self._trouble = told
            _log.error("rollouts cannot go on: %s", told, exc_info=None if isinstance(error, StoreError) else error)
