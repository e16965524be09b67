"""`io.l5d.consul` against a strict Consul on loopback: the contract, and a Consul that is away, broken or restored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from biandou.clients import consul_watch
from biandou.clients.backoff import ConstantBackoff, JitteredBackoff, retry_of
from biandou.clients.retry import Retry
from biandou.dtab import Dtab
from biandou.errors import StaleVersion, StoreDown, StoreError, StoreForbidden, TooLarge
from biandou.live import Failed, Live, Ok, Pending
from biandou.stores.chronicle import ELSEWHERE
from biandou.stores.consul import ConsulStoreKind
from biandou.stores.consul_keys import ConsulStore
from biandou.stores.interface import Remark, Store, StoreKind, Versioned
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer
from tests.stores.contract import ONE, THREE, TWO, DurableContract, refused, until

TOKEN = "t0ken-1"  # noqa: S105 - nobody's
BELOW = "/v1/kv/namerd/dtabs/"


@pytest.fixture
async def server() -> AsyncIterator[ConsulServer]:
    async with ConsulServer() as server:
        yield server


def kind_of(server: ConsulServer, **keys: Any) -> ConsulStoreKind:
    return ConsulStoreKind(host="127.0.0.1", port=server.port, **keys)


class TestConsul(DurableContract):
    @pytest.fixture
    def kind(self, server: ConsulServer) -> StoreKind:
        return kind_of(server)


@asynccontextmanager
async def opened(server: ConsulServer, **keys: Any) -> AsyncIterator[ConsulStore]:
    store = kind_of(server, **keys).store()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def shows(store: Store, namespace: str, dtab: Dtab | None) -> Versioned | None:
    return await until(store.watch(namespace), lambda known: (None if known is None else known.dtab) == dtab)


async def in_trouble(store: ConsulStore, wanted: bool = True) -> None:
    async with asyncio.timeout(10):
        while (store.trouble is not None) != wanted:
            await asyncio.sleep(0.01)


async def blocked(server: ConsulServer, asked: int = 1) -> None:
    """Wait until the store has asked so often, and waits for a change."""
    async with asyncio.timeout(5):
        while len(server.asked(BELOW)) < asked or not server.waiting:
            await asyncio.sleep(0.005)


def now(live: Live[Versioned | None]) -> Dtab | None:
    state = live.sample()
    assert isinstance(state, Ok)
    return None if state.value is None else state.value.dtab


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dtab_is_text_that_a_namerd_of_linkerd_reads_and_its_version_the_keys_index(
    server: ConsulServer,
) -> None:
    async with opened(server, path_prefix="/a/b c") as store:
        version = await store.create("web", ONE)
        entry = server.state.keys["a/b c/web"]
        assert (entry.value, version) == (b"/svc=>/one", str(entry.modified).encode())


async def test_what_somebody_else_writes_is_seen_and_what_is_no_dtab_fails_alone(server: ConsulServer) -> None:
    async with opened(server) as store:
        index = server.put("namerd/dtabs/web", b"/svc => /one ;\n# by hand\n")
        found = await shows(store, "web", ONE)
        assert found is not None
        assert found.version == str(index).encode()
        server.put("namerd/dtabs/broken", b"/svc =")
        server.put("namerd/dtabs/bytes", b"\xff")
        server.put("namerd/dtabs/a/directory", b"/svc => /one")
        server.put("namerd/dtabs/", b"")
        server.put("namerd/dtabs-not", b"/svc => /one")
        await until(store.namespaces(), lambda names: names == {"web", "broken", "bytes"})
        assert isinstance(store.watch("broken").sample(), Failed)
        await store.put("broken", TWO)
        await shows(store, "broken", TWO)
        server.delete("namerd/dtabs/web")
        await shows(store, "web", None)


async def test_what_consul_would_not_take_is_too_large(server: ConsulServer) -> None:
    async with opened(server, history_size=0) as store:
        await refused(store.put("big", Dtab.read(f"/svc => /{'x' * 400_000}")), TooLarge)
        largest = Dtab.read(f"/svc => /{'x' * (383 * 1024 - 7)}")
        await store.put("n" * 255, largest)
        assert now(store.watch("n" * 255)) == largest
        assert [one.remark for one in await store.history("n" * 255)] == [ELSEWHERE], "nothing is kept"
    async with opened(server) as store:
        # An entry of its history needs some of the room.
        await refused(store.put("most", largest), TooLarge)
        await store.put("most", Dtab.read(f"/svc => /{'x' * (380 * 1024)}"))
        assert len(await store.history("most")) == 1


async def test_what_somebody_else_writes_is_in_the_history_without_an_author(server: ConsulServer) -> None:
    async with opened(server) as store:
        version = await store.create("web", ONE, Remark("ann", "begin"))
        index = server.put("namerd/dtabs/web", b"/svc => /other")
        told = await store.history("web")
        assert [(one.version, one.remark, one.time is None) for one in told] == [
            (str(index).encode(), ELSEWHERE, True),
            (version, Remark("ann", "begin"), False),
        ]
        again = await store.put("web", TWO, Remark("bob", "mine"))
        assert [one.version for one in await store.history("web")] == [again, version]
        server.put("namerd/dtabs-history/web/99999999999999999999-x", b"nothing of ours")
        assert [one.version for one in await store.history("web")] == [again, version]


@pytest.mark.parametrize("mode", ["stale", "consistent"])
async def test_modes_datacentre_and_token_are_asked_for(mode: Any) -> None:
    async with ConsulServer(token=TOKEN, dc="dc7") as server:
        keys = {"read_consistency_mode": mode, "write_consistency_mode": mode, "datacenter": "dc7", "token": TOKEN}
        async with opened(server, **keys) as store:
            version = await store.create("web", ONE)
            await store.update("web", TWO, version)
            await refused(store.update("web", ONE, version), StaleVersion)
            await store.delete("web")
        assert server.asked(BELOW)[0] == {mode: "true", "dc": "dc7", "recurse": "true"}
        assert server.asked(BELOW + "web") == [{mode: "true", "dc": "dc7"}]
        assert server.asked("/v1/txn") == [{"dc": "dc7"}] * 4
        assert set(server.tokens) == {TOKEN}


# ── Freshness ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_list_whose_index_goes_back_since_tombstones_were_reaped_is_followed(server: ConsulServer) -> None:
    server.put("namerd/dtabs/a", b"/svc => /one")
    server.put("namerd/dtabs/b", b"/svc => /two")
    async with opened(server) as store:
        server.delete("namerd/dtabs/b")
        await shows(store, "b", None)
        server.state.forget_graves()
        server.put("elsewhere", b"")
        server.put("namerd/dtabs/a", b"/svc => !")
        await shows(store, "a", THREE)


async def test_what_is_gone_after_a_long_absence_is_gone_even_if_no_index_tells(server: ConsulServer) -> None:
    server.put("namerd/dtabs/a", b"/svc => /one")
    server.put("namerd/dtabs/b", b"/svc => /two")
    async with opened(server) as store:
        await server.stop()
        await in_trouble(store)
        server.delete("namerd/dtabs/b")
        server.state.forget_graves()
        await server.start()
        await shows(store, "b", None)
        await shows(store, "a", ONE)


async def test_a_consul_that_was_restored_from_a_backup_is_followed(server: ConsulServer) -> None:
    server.put("namerd/dtabs/a", b"/svc => /one")
    backup = server.state.copied()
    for text in ("/two", "/three", "!"):
        server.put("namerd/dtabs/a", f"/svc => {text}".encode())
    server.put("namerd/dtabs/b", b"/svc => /two")
    async with opened(server) as store:
        await shows(store, "a", THREE)
        await blocked(server)
        server.restore(backup)
        found = await shows(store, "a", ONE)
        await shows(store, "b", None)
        assert found is not None
        await store.update("a", TWO, found.version)
        server.put("namerd/dtabs/a", b"/svc => !")
        await shows(store, "a", THREE)


async def test_an_index_that_is_given_a_second_time_hides_no_change(
    server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that was built anew from a backup counts from there."""
    monkeypatch.setattr(consul_watch, "WAIT_SECONDS", 1)
    backup = server.state.copied()
    first = server.put("namerd/dtabs/web", b"/svc => /one")
    async with opened(server) as store:
        await shows(store, "web", ONE)
        server.restore(backup)
        assert server.put("namerd/dtabs/web", b"/svc => !") == first
        await shows(store, "web", THREE)


async def test_an_answer_of_a_server_that_is_behind_does_not_undo_what_was_acknowledged(server: ConsulServer) -> None:
    async with opened(server, read_consistency_mode="stale") as store:
        await store.create("old", ONE)
        behind = server.state.copied()
        version = await store.create("web", ONE)
        await store.delete("old")
        ahead = server.state
        await blocked(server)
        asked = len(server.asked(BELOW))
        server.restore(behind)
        await blocked(server, asked + 2)
        assert "index" not in server.asked(BELOW)[asked]
        assert now(store.watch("web")) == ONE
        assert now(store.watch("old")) is None
        server.restore(ahead)
        await until(store.namespaces(), lambda names: names == {"web"})
        await store.update("web", TWO, version)


# ── What is no good ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_consul_reads_tell_what_was_known_and_changes_fail_at_once(server: ConsulServer) -> None:
    async with opened(server) as store:
        await store.create("web", ONE)
        await server.stop()
        await in_trouble(store)
        async with asyncio.timeout(1):
            for _ in range(100):
                await refused(store.put("web", TWO), StoreDown)
        assert now(store.watch("web")) == ONE
        await server.start()
        await in_trouble(store, False)
        await store.put("web", THREE)


async def test_a_store_starts_without_consul_and_learns_when_it_is_there(server: ConsulServer) -> None:
    await server.stop()
    async with opened(server) as store:
        assert store.trouble is not None
        assert isinstance(store.watch("web").sample(), Pending)
        await server.start()
        assert await until(store.watch("web"), lambda _: True) is None


BROKEN = {
    "no leader": faults.answers(500, b"No cluster leader"),
    "limited": faults.answers(429, b"too many"),
    "refused": faults.answers(403, b"ACL not found"),
    "no index": faults.answers(200, b"[]"),
    "no index at 404": faults.answers(404, b""),
    "hidden": faults.answers(404, b"", X_Consul_Index="99", X_Consul_Results_Filtered_By_ACLs="true"),
    "no JSON": faults.answers(200, b"<html>", X_Consul_Index="99"),
    "no Base64": faults.answers(200, b'[{"Key":"namerd/dtabs/a","ModifyIndex":1,"Value":"?"}]', X_Consul_Index="99"),
    "cut": faults.cuts(),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
async def test_a_bad_answer_removes_nothing(server: ConsulServer, fault: faults.Fault) -> None:
    server.put("namerd/dtabs/web", b"/svc => /one")
    async with opened(server) as store:
        server.fail(fault, BELOW)
        await in_trouble(store)
        assert now(store.watch("web")) == ONE
        server.put("namerd/dtabs/web", b"/svc => !")
        server.fail(None)
        await shows(store, "web", THREE)
        assert store.trouble is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.answers(500, b"No cluster leader"), StoreDown),
        (faults.answers(403, b"ACL not found"), StoreForbidden),
        (faults.answers(409, b'{"Errors":[{"OpIndex":0,"What":"Permission denied"}]}'), StoreForbidden),
        (faults.answers(409, b'{"Errors":[{"OpIndex":0,"What":"who knows"}]}'), StoreError),
        (faults.answers(413, b"too large"), StoreError),
        (faults.answers(200, b"{}"), StoreError),
        (faults.answers(200, b"junk"), StoreError),
        (faults.cuts(b"{"), StoreDown),
    ],
)
async def test_a_change_that_consul_does_not_make_says_why_and_shows_nothing(
    server: ConsulServer, fault: faults.Fault, error: type[StoreError]
) -> None:
    async with opened(server) as store:
        server.fail(fault, "/v1/txn")
        await refused(store.put("web", ONE), error)
        assert now(store.watch("web")) is None
        server.fail(None)
        await store.put("web", ONE)


async def test_an_agent_that_is_silent_is_given_up() -> None:
    async with ConsulServer() as server, opened(server) as store:
        server.fail(faults.stays_silent(), "/v1/txn")
        async with asyncio.timeout(6):
            await refused(store.put("web", ONE), StoreDown)


# ── Keys of the configuration ────────────────────────────────────────────────────────────────────────────────────────


def test_a_backoff_is_kept_and_never_asks_without_pause() -> None:
    otherwise = Retry(0.1, 5.0)
    assert retry_of(None, otherwise) is otherwise
    assert retry_of(ConstantBackoff(ms=2000), otherwise) == Retry(2.0, 2.0)
    assert retry_of(ConstantBackoff(), otherwise) == Retry(0.1, 0.1)
    assert retry_of(JitteredBackoff(min_ms=1, max_ms=60_000), otherwise) == Retry(0.1, 60.0)


def test_mistakes_are_refused() -> None:
    for prefix in ("dtabs", "/dtabs/", "/a//b", ""):
        with pytest.raises(ValueError, match="pathPrefix begins with a slash"):
            ConsulStoreKind(path_prefix=prefix)
    with pytest.raises(ValueError, match="host is a host name"):
        ConsulStoreKind(host="a:b/c")
    with pytest.raises(ValueError, match="token: 1 or more"):
        ConsulStoreKind(token=f" {TOKEN}")
