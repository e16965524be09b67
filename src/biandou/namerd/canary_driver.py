"""Drives canaries: looks at what linkers have counted, and changes dtabs after writing down that it will.

A namerd that dies between the two leaves a canary whose `wanted` weight is not its `weight`; whoever drives next finds
the dtab as it was or as it shall be, and goes on from there. What it finds otherwise is somebody else's, and stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from biandou.dtab import Dtab, NameTree, Path
from biandou.errors import NamespaceMissing, StaleVersion, StoreDown, StoreError, reason
from biandou.live import Ok, Watch
from biandou.namerd.canary import Canary, Status, changed, dtab_at, foreign, judge, pause
from biandou.namerd.canary_lease import Lease
from biandou.namerd.canary_state import CanaryStates, Shown, UnreadableCanary, namespaces_with_canaries
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports, Total, between
from biandou.stores.interface import Remark, Store, Versioned

TICK_SECONDS: Final = 0.25
TOLD_SECONDS: Final = 5.0
"""How often a reason that alone has changed is written down."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What had been counted when a step began: `since` says which beginning that was."""

    since: float
    old: dict[str, Total]
    new: dict[str, Total]


class _Followed:
    """The client names of a canary's two versions, for as long as it is under way."""

    def __init__(self, names: Names, namespace: str, canary: Canary) -> None:
        self.plan = canary.plan
        self.mark: _Mark | None = None
        self.told = float("-inf")
        self._names = names
        self._namespace = namespace
        self._watches: list[Watch] = []
        self._found: dict[Path, frozenset[str]] = {}
        for leaf in {*self.plan.old.leaves(), *self.plan.new.leaves()}:
            self._follow(leaf)

    @property
    def old(self) -> frozenset[str]:
        """The client names of the old version."""
        return self._of(self.plan.old)

    @property
    def new(self) -> frozenset[str]:
        """The client names of the new version."""
        return self._of(self.plan.new)

    def close(self) -> None:
        """Watch them no longer."""
        for watch in self._watches:
            watch.close()

    def _of(self, tree: NameTree[Path]) -> frozenset[str]:
        return frozenset().union(*(self._found.get(leaf, frozenset()) for leaf in tree.leaves()))

    def _follow(self, leaf: Path) -> None:
        def look(state: object) -> None:
            if isinstance(state, Ok):
                self._found[leaf] = frozenset(str(bound.id) for bound in state.value.leaves())

        self._watches.append(self._names.bind(self._namespace, Dtab(), leaf).observe(look))


class CanaryDriver:
    """Drives all canaries of a store while it has the lease; `now` gives seconds since 1970."""

    def __init__(self, store: Store, names: Names, reports: Reports, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._names = names
        self._reports = reports
        self._now = now
        self._states = CanaryStates(store)
        self._lease = Lease(store)
        self._followed: dict[tuple[str, Path], _Followed] = {}
        self._running: asyncio.Task[None] | None = None
        self._trouble = ""

    def start(self) -> None:
        """Drive from now on."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name="canaries")

    async def stop(self) -> None:
        """Drive no more, and let another namerd do it at once."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        self._leave(set())
        with contextlib.suppress(StoreError):
            await self._lease.release()

    async def _run(self) -> None:
        names = self._store.namespaces()
        with contextlib.closing(names.observe(lambda _state: None)):
            while True:
                try:
                    state = names.sample()
                    if await self.tick(namespaces_with_canaries(state.value) if isinstance(state, Ok) else []):
                        self._trouble = ""
                except Exception as error:
                    self._complain(error)
                await asyncio.sleep(TICK_SECONDS)

    async def tick(self, namespaces: list[str]) -> bool:
        """Do what is due for the canaries of these namespaces; says whether all of them could be read.

        Raises what kept it from some of it.
        """
        well = True
        due: list[tuple[str, Path]] = []
        for namespace in namespaces:
            try:
                canaries = self._states.now(namespace).canaries
            except UnreadableCanary as error:
                # The other namespaces are none the worse for it.
                self._complain(error)
                well = False
                continue
            for path, canary in canaries.items():
                if canary.status is Status.RUNNING or canary.wanted != canary.weight:
                    due.append((namespace, path))
        # What linkers report is kept by every namerd: the one that takes over shall not wait for it.
        self._leave(set(due))
        for key in due:
            self._follow(key)
        if not due or not await self._lease.held():
            return well
        for namespace, path in due:
            # Somebody else may have written meanwhile: the next tick sees what.
            with contextlib.suppress(StaleVersion):
                await self._drive(namespace, path)
        return well

    async def _drive(self, namespace: str, path: Path) -> None:
        """Take one canary as far as it goes now."""
        while True:
            shown = self._states.now(namespace)
            canary = shown.canaries.get(path)
            followed = self._followed.get((namespace, path))
            if canary is None or followed is None:
                return
            if canary.wanted != canary.weight:
                await self._apply(namespace, shown, canary)
            elif canary.status is not Status.RUNNING or not await self._judge(namespace, shown, canary, followed):
                return

    async def _apply(self, namespace: str, shown: Shown, canary: Canary) -> None:
        """Give the dtab the weight that is wanted, and write down that it has it."""
        stored = self._stored(namespace)
        wanted = dtab_at(canary, canary.wanted)
        if stored is None or stored.dtab not in (wanted, dtab_at(canary, canary.weight)):
            _log.warning("the canary %s of %s is paused: its dtab was changed", canary.plan.path, namespace)
            await self._states.save(namespace, shown, foreign(canary))
            return
        if stored.dtab != wanted:
            said = f"{canary.plan.path}: {canary.wanted}% for {canary.plan.new} ({canary.status}: {canary.reason})"
            try:
                await self._store.update(namespace, wanted, stored.version, Remark("canary", said[:1000]))
            except NamespaceMissing as error:
                raise StaleVersion(namespace) from error
            _log.info("canary of %s, %s", namespace, said)
        await self._states.save(namespace, shown, changed(canary, self._now()))

    async def _judge(self, namespace: str, shown: Shown, canary: Canary, followed: _Followed) -> bool:
        """Decide by what was counted; says whether that changes the dtab."""
        stored = self._stored(namespace)
        if stored is None or stored.dtab != dtab_at(canary, canary.weight):
            await self._states.save(namespace, shown, foreign(canary))
            return False
        old, new = followed.old, followed.new
        if old & new:
            both = ", ".join(sorted(old & new))
            told = f"both versions lead to {both}, and cannot be told apart"
            await self._states.save(namespace, shown, pause(canary, told))
            return False
        now = self._now()
        counted_old, counted_new = self._reports.totals(namespace, old), self._reports.totals(namespace, new)
        if followed.mark is None or followed.mark.since != canary.since:
            # A step that another namerd began starts anew: what it had seen went with it.
            if followed.mark is None and now - canary.since > TICK_SECONDS:
                canary = replace(canary, since=now)
                await self._states.save(namespace, shown, canary)
            followed.mark = _Mark(canary.since, counted_old, counted_new)
            return False
        judged = judge(canary, between(followed.mark.old, counted_old), between(followed.mark.new, counted_new), now)
        if judged == replace(canary, reason=judged.reason):
            if judged.reason != canary.reason and now - followed.told > TOLD_SECONDS:
                followed.told = now
                await self._states.save(namespace, shown, judged)
            return False
        await self._states.save(namespace, shown, judged)
        return judged.wanted != judged.weight

    def _stored(self, namespace: str) -> Versioned | None:
        state = self._store.watch(namespace).sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        return state.value

    # ── Which clients count ──────────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, key: tuple[str, Path]) -> None:
        namespace, path = key
        canary = self._states.now(namespace).canaries[path]
        followed = self._followed.get(key)
        if followed is None or followed.plan != canary.plan:
            if followed is not None:
                followed.close()
            followed = self._followed[key] = _Followed(self._names, namespace, canary)
        wanted: set[str] = set()
        for (known, _), other in self._followed.items():
            if known == namespace:
                wanted |= other.old | other.new
        self._reports.want(namespace, wanted)

    def _leave(self, due: set[tuple[str, Path]]) -> None:
        """Forget those that nothing is due for."""
        for key in [key for key in self._followed if key not in due]:
            self._followed.pop(key).close()
            if not any(known == key[0] for known, _ in self._followed):
                self._reports.want(key[0], ())

    def _complain(self, error: Exception) -> None:
        """Say once what goes wrong at each tick."""
        told = reason(error)
        if told != self._trouble:
            self._trouble = told
            _log.error("canaries cannot go on: %s", told, exc_info=None if isinstance(error, StoreError) else error)
