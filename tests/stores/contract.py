"""What every store must do: `StoreContract` for all, `DurableContract` for those that outlive their process.

A store's test subclasses one of them and gives `open_store`; a durable one gives its `kind` as well, from which other
processes open the same store.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from biandou.dtab import Dtab, NameTree
from biandou.dtab import Path as Name
from biandou.errors import NamespaceExists, NamespaceMissing, NamespaceRefused, StaleVersion, TooLarge
from biandou.live import Live, Ok, Pending, State
from biandou.namerd.canary import Plan, begin
from biandou.namerd.canary_lease import Lease
from biandou.namerd.canary_state import CanaryStates
from biandou.stores.chronicle import PRUNE_EVERY
from biandou.stores.interface import MAX_DENTRIES, HistoricStore, Remark, Store, StoreKind, Version, Versioned
from tests.mesh.programs import run

T = TypeVar("T")

SECONDS = 10.0
KILLS = int(os.environ.get("BIANDOU_KILLS", "40"))
"""How many writers the test kills; issue 5 asks for 200 (`BIANDOU_KILLS=200`)."""

ONE = Dtab.read("/svc => /one")
TWO = Dtab.read("/svc => /two | /three ; /host/* => 0.333 * /a & 0.667 * /b")
THREE = Dtab.read("/svc => !")


async def until(live: Live[T], wanted: Callable[[T], bool]) -> T:
    """Give the first value that is `wanted`; raises `TimeoutError`."""
    found: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def look(state: State[T]) -> None:
        if isinstance(state, Ok) and not found.done() and wanted(state.value):
            found.set_result(state.value)

    watch = live.observe(look)
    try:
        async with asyncio.timeout(SECONDS):
            return await found
    finally:
        watch.close()


async def dtab_of(store: Store, namespace: str) -> Dtab | None:
    """Give what a namespace is now."""
    versioned = await until(store.watch(namespace), lambda _: True)
    return versioned.dtab if versioned is not None else None


async def refused(change: Awaitable[Version | None], error: type[Exception]) -> None:
    """Expect a change to be refused in just this way."""
    with pytest.raises(error):
        await change


Opened = Callable[[], AsyncIterator[Store]]


class StoreContract:
    """What holds for every store; each test has one of its own, empty."""

    @pytest.fixture
    def kind(self, tmp_path: Path) -> StoreKind:
        """Give the configuration of a store that nobody has used."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, kind: StoreKind) -> AsyncIterator[Store]:
        """Give the store, open."""
        store = kind.store()
        await store.start()
        try:
            yield store
        finally:
            await store.stop()

    # ── Create, read, list, delete ───────────────────────────────────────────────────────────────────────────────────

    async def test_a_new_store_is_known_to_be_empty(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            assert await until(store.namespaces(), lambda _: True) == frozenset()
            assert await until(store.watch("web"), lambda _: True) is None
            assert store.trouble is None

    async def test_what_was_created_is_read_with_its_version(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            version = await store.create("web", TWO)
            assert store.watch("web").sample() == Ok(Versioned(TWO, version))

    async def test_weights_and_odd_segments_are_kept_exactly(self, kind: StoreKind) -> None:
        dtab = Dtab.read(r"/a\x20b => 0.123456 * /c\xff & 7 * /d")
        async with self.opened(kind) as store:
            await store.create("web", dtab)
            assert await dtab_of(store, "web") == dtab
        assert "0.123456" in str(dtab)

    async def test_the_state_of_a_canary_and_the_lease_on_driving_it_are_kept(self, kind: StoreKind) -> None:
        plan = Plan(Name.read("/svc/web"), NameTree.read("/a"), NameTree.read("/b"))
        canary = begin(plan, TWO, 1.5)
        async with self.opened(kind) as store:
            await until(store.namespaces(), lambda _: True)
            states = CanaryStates(store)
            shown = states.now("default")
            await states.save("default", shown, canary)
            assert states.now("default").canaries == {plan.path: canary}
            with pytest.raises(StaleVersion):
                await states.save("default", shown, canary)
            one, other = Lease(store), Lease(store)
            assert (await one.held(), await other.held()) == (True, False)
            await one.release()
            assert await other.held()

    async def test_an_empty_dtab_is_a_dtab(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", Dtab())
            assert await dtab_of(store, "web") == Dtab()
            assert await until(store.namespaces(), lambda _: True) == {"web"}

    async def test_nothing_is_created_twice(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            await refused(store.create("web", TWO), NamespaceExists)
            assert await dtab_of(store, "web") == ONE

    async def test_the_list_is_what_was_created_and_not_deleted(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            for name in ("b", "a", "c"):
                await store.create(name, ONE)
            await store.put("d", ONE)
            await store.delete("b")
            assert await until(store.namespaces(), lambda names: "b" not in names) == {"a", "c", "d"}

    async def test_what_was_deleted_is_gone_and_can_be_created_again(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            await store.delete("web")
            assert await dtab_of(store, "web") is None
            await refused(store.delete("web"), NamespaceMissing)
            await store.create("web", TWO)
            assert await dtab_of(store, "web") == TWO

    async def test_a_name_that_no_store_takes_is_refused(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            for name in ("", "a/b", "a\nb", "x" * 256, "\udcff"):
                await refused(store.create(name, ONE), NamespaceRefused)
                await refused(store.put(name, ONE), NamespaceRefused)

    # ── Compare and set ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_an_update_needs_the_version_that_is_there(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            first = await store.create("web", ONE)
            second = await store.update("web", TWO, first)
            assert second != first
            await refused(store.update("web", THREE, first), StaleVersion)
            await refused(store.update("web", THREE, b"no version at all"), StaleVersion)
            await refused(store.update("web", THREE, b""), StaleVersion)
            assert store.watch("web").sample() == Ok(Versioned(TWO, second))

    async def test_what_is_missing_is_not_updated(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await refused(store.update("web", ONE, b"1"), NamespaceMissing)
            assert await dtab_of(store, "web") is None

    async def test_a_put_needs_no_version_and_makes_a_new_one(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            first = await store.put("web", ONE)
            second = await store.put("web", TWO)
            assert second != first
            await refused(store.update("web", THREE, first), StaleVersion)
            assert await dtab_of(store, "web") == TWO

    async def test_the_version_of_a_deleted_namespace_matches_nothing_that_comes_after(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            former = await store.create("web", ONE)
            await store.delete("web")
            await store.create("web", ONE)
            await refused(store.update("web", TWO, former), StaleVersion)

    async def test_of_concurrent_updates_of_one_version_one_is_made(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            version = await store.create("web", ONE)
            dtabs = [Dtab.read(f"/svc => /{number}") for number in range(20)]
            outcomes = await asyncio.gather(
                *(store.update("web", dtab, version) for dtab in dtabs), return_exceptions=True
            )
            made = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, bytes)]
            assert len(made) == 1
            assert all(isinstance(outcome, bytes | StaleVersion) for outcome in outcomes)
            assert await dtab_of(store, "web") == dtabs[made[0]]

    async def test_of_concurrent_creations_one_is_made(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            outcomes = await asyncio.gather(*(store.create("web", ONE) for _ in range(20)), return_exceptions=True)
            assert sum(isinstance(outcome, bytes) for outcome in outcomes) == 1
            assert sum(isinstance(outcome, NamespaceExists) for outcome in outcomes) == 19

    async def test_concurrent_writers_that_retry_lose_nothing(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", Dtab())

            async def add(number: int) -> None:
                entry = Dtab.read(f"/{number} => /x")
                while True:
                    known = await until(store.watch("web"), lambda _: True)
                    assert known is not None
                    try:
                        await store.update("web", known.dtab + entry, known.version)
                    except StaleVersion:
                        await asyncio.sleep(0)
                    else:
                        return

            await asyncio.gather(*(add(number) for number in range(10)))
            dtab = await dtab_of(store, "web")
            assert dtab is not None
            assert sorted(str(dentry.prefix) for dentry in dtab) == sorted(f"/{number}" for number in range(10))

    # ── Watch ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_watch_tells_each_state_that_stays(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            web = store.watch("web")
            seen: list[State[Versioned | None]] = []
            watch = web.observe(seen.append)
            await until(web, lambda versioned: versioned is None)
            version = await store.create("web", ONE)
            await until(web, lambda versioned: versioned is not None and versioned.dtab == ONE)
            await store.update("web", TWO, version)
            await until(web, lambda versioned: versioned is not None and versioned.dtab == TWO)
            await store.delete("web")
            await until(web, lambda versioned: versioned is None)
            watch.close()
            dtabs = [None if state.value is None else state.value.dtab for state in seen if isinstance(state, Ok)]
            assert dtabs == [None, ONE, TWO, None]

    async def test_a_watch_is_told_nothing_of_other_namespaces(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            seen: list[State[Versioned | None]] = []
            watch = store.watch("web").observe(seen.append)
            await store.create("other", TWO)
            await store.delete("other")
            watch.close()
            assert len([state for state in seen if not isinstance(state, Pending)]) == 1

    async def test_who_has_stopped_watching_is_told_nothing(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            seen: list[State[Versioned | None]] = []
            store.watch("web").observe(seen.append).close()
            count = len(seen)
            await store.put("web", TWO)
            assert len(seen) == count

    async def test_the_list_is_told_at_each_change(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            names = store.namespaces()
            await until(names, lambda known: known == frozenset())
            await store.put("web", ONE)
            await until(names, lambda known: known == {"web"})
            await store.delete("web")
            await until(names, lambda known: known == frozenset())

    # ── Size ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    # ── History ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_every_version_is_kept_with_its_time_author_and_message(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            assert isinstance(store, HistoricStore)
            began = time.time()
            first = await store.create("web", ONE, Remark("ann", "begin"))
            second = await store.update("web", TWO, first, Remark("bob", "shift"))
            third = await store.put("web", THREE, Remark("", "as it was"))
            await store.put("other", THREE)
            revisions = await store.history("web")
            assert [(one.version, one.dtab, one.remark) for one in revisions] == [
                (third, THREE, Remark("", "as it was")),
                (second, TWO, Remark("bob", "shift")),
                (first, ONE, Remark("ann", "begin")),
            ]
            assert all(one.time is not None and began - 1 < one.time < time.time() + 1 for one in revisions)
            assert await store.history("web", 1) == revisions[:1]
            assert await store.history("never") == []
            assert await until(store.namespaces(), lambda names: len(names) == 2) == {"web", "other"}

    async def test_a_refused_change_is_no_version(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            assert isinstance(store, HistoricStore)
            first = await store.create("web", ONE)
            await refused(store.create("web", TWO), NamespaceExists)
            await store.update("web", TWO, first)
            await refused(store.update("web", THREE, first), StaleVersion)
            await refused(store.delete("never"), NamespaceMissing)
            assert [one.dtab for one in await store.history("web")] == [TWO, ONE]
            assert await store.history("never") == []

    async def test_a_past_of_many_versions_is_bounded(self, kind: StoreKind) -> None:
        if not hasattr(kind, "history_size"):
            pytest.skip("this store keeps every version")
        async with self.opened(msgspec.structs.replace(kind, history_size=3)) as store:
            assert isinstance(store, HistoricStore)
            dtabs = [Dtab.read(f"/svc => /{number}") for number in range(40)]
            for dtab in dtabs:
                await store.put("web", dtab)
            assert [one.dtab for one in await store.history("web", 500)] == dtabs[:-4:-1]
        async with self.opened(msgspec.structs.replace(kind, history_size=500)) as store:
            # Some more than were wanted may be there, until they are looked for.
            assert isinstance(store, HistoricStore)
            await store.put("web", ONE)
            assert len(await store.history("web", 500)) <= 3 + PRUNE_EVERY + 1

    async def test_ten_thousand_entries_are_kept_and_one_more_is_refused(self, kind: StoreKind) -> None:
        dtab = Dtab.read(";".join(f"/svc/n{number} => /#/io.l5d.fs/n{number}" for number in range(MAX_DENTRIES)))
        assert len(dtab) == 10_000
        async with self.opened(kind) as store:
            version = await store.create("big", dtab)
            assert await dtab_of(store, "big") == dtab
            await refused(store.update("big", dtab + ONE, version), TooLarge)
            await refused(store.put("big", dtab + ONE), TooLarge)
            assert await dtab_of(store, "big") == dtab


class DurableContract(StoreContract):
    """What holds for a store that outlives its process."""

    async def test_a_restart_changes_nothing(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("gone", ONE)
            await store.delete("gone")
            version = await store.create("web", TWO)
            empty = await store.create("empty", Dtab())
        async with self.opened(kind) as store:
            assert await until(store.namespaces(), lambda _: True) == {"web", "empty"}
            assert await until(store.watch("web"), lambda _: True) == Versioned(TWO, version)
            assert await until(store.watch("empty"), lambda _: True) == Versioned(Dtab(), empty)
            await store.update("web", ONE, version)

    async def test_two_that_share_a_store_see_and_respect_each_other(self, kind: StoreKind) -> None:
        async with self.opened(kind) as one, self.opened(kind) as other:
            first = await one.create("web", ONE)
            await until(other.watch("web"), lambda known: known == Versioned(ONE, first))
            await refused(other.create("web", TWO), NamespaceExists)
            second = await other.update("web", TWO, first)
            await refused(one.update("web", THREE, first), StaleVersion)
            await until(one.watch("web"), lambda known: known == Versioned(TWO, second))
            await one.delete("web")
            await until(other.namespaces(), lambda names: names == frozenset())

    @pytest.mark.timeout(600)
    async def test_no_kill_loses_what_was_acknowledged_or_makes_up_what_was_not(self, kind: StoreKind) -> None:
        """See tests/stores/kills.py."""
        register = type(kind)
        told = await run(
            sys.executable,
            "-m",
            "tests.stores.kills",
            f"{register.__module__}:{register.__qualname__}",
            json.dumps(msgspec.to_builtins(kind)),
            str(KILLS),
            seconds=500,
        )
        assert told.status == 0, told.errors
        assert json.loads(told.output)["kills"] == KILLS
