"""`io.l5d.zk` against a real ZooKeeper: the contract, permissions, and a server that is killed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from biandou.dtab import Dtab
from biandou.errors import StoreDown, StoreForbidden, TooLarge
from biandou.live import Failed, Ok
from biandou.stores.interface import StoreKind
from biandou.stores.zk import ZkAcl, ZkAddress, ZkAuth, ZkStoreKind
from tests.stores.contract import ONE, TWO, DurableContract, refused, until
from tests.stores.etcd_members import free_ports
from tests.stores.zookeeper import INSTALLED, ZooKeeper

pytestmark = pytest.mark.skipif(not INSTALLED, reason="ZooKeeper is not installed (zookeeper, and a Java)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    server = ZooKeeper(tmp_path_factory.mktemp("zookeeper"), free_ports(1)[0])
    server.start()
    yield server
    server.kill()


def address(server: ZooKeeper) -> tuple[ZkAddress, ...]:
    return (ZkAddress(host="127.0.0.1", port=server.port),)


def unused(server: ZooKeeper) -> ZkStoreKind:
    return ZkStoreKind(zk_addrs=address(server), path_prefix=f"/{uuid.uuid4().hex}/dtabs", session_timeout_ms=4000)


class TestZk(DurableContract):
    @pytest.fixture
    def kind(self, tmp_path: Path, server: ZooKeeper, monkeypatch: pytest.MonkeyPatch) -> StoreKind:
        # It writes to its disk before it acknowledges, which takes some ten milliseconds.
        monkeypatch.setenv("BIANDOU_KILL_SECONDS", "0.15")
        return unused(server)


async def test_what_we_may_not_change_is_forbidden(server: ZooKeeper) -> None:
    readable = ZkAcl(scheme="world", id="anyone", perms="r")
    kind = ZkStoreKind(
        zk_addrs=address(server),
        path_prefix=f"/{uuid.uuid4().hex}",
        auth_info=ZkAuth(scheme="digest", auth="ann:secret"),
        acls=(readable, ZkAcl(scheme="auth", id="", perms="crwda")),
    )
    owner = kind.store()
    other = ZkStoreKind(zk_addrs=kind.zk_addrs, path_prefix=kind.path_prefix).store()
    await owner.start()
    await other.start()
    try:
        await owner.create("web", ONE)
        await until(other.watch("web"), lambda found: found is not None and found.dtab == ONE)
        await refused(other.put("web", TWO), StoreForbidden)
        await refused(other.create("new", TWO), StoreForbidden)
        await refused(other.delete("web"), StoreForbidden)
        await owner.put("web", TWO)
    finally:
        await owner.stop()
        await other.stop()


async def test_what_is_no_dtab_fails_alone_and_what_is_too_large_is_refused(server: ZooKeeper) -> None:
    store = unused(server).store()
    await store.start()
    try:
        await refused(store.put("big", Dtab.read(f"/svc => /{'x' * 1_100_000}")), TooLarge)
        await store.create("good", ONE)
        client = store._client
        await asyncio.to_thread(client.create, f"{store._prefix}/broken", b"/svc =")
        await until(store.namespaces(), lambda names: names == {"good", "broken"})
        assert isinstance(store.watch("broken").sample(), Failed)
        assert isinstance(store.watch("good").sample(), Ok)
    finally:
        await store.stop()


async def test_while_the_server_is_away_reads_go_on_and_changes_fail_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    own = ZooKeeper(tmp_path, free_ports(1)[0])
    await asyncio.to_thread(own.start)
    store = unused(own).store()
    await store.start()
    try:
        await store.create("web", ONE)
        own.kill()
        async with asyncio.timeout(10):
            while store.trouble is None:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            await refused(store.put("web", TWO), StoreDown)
        known = store.watch("web").sample()
        assert isinstance(known, Ok)
        assert known.value is not None
        assert known.value.dtab == ONE
        await asyncio.to_thread(own.start)
        async with asyncio.timeout(30):
            while store.trouble is not None:
                await asyncio.sleep(0.05)
        await store.put("web", TWO)
        assert [record.getMessage() for record in caplog.records].count("ZooKeeper answers again") == 1
    finally:
        await store.stop()
        own.kill()


def test_mistakes_are_refused() -> None:
    for perms in ("", "x", "rr"):
        with pytest.raises(ValueError, match="perms are some of crwda"):
            ZkAcl(scheme="world", id="anyone", perms=perms)
    somewhere = (ZkAddress(host="h", port=1),)
    with pytest.raises(ValueError, match="pathPrefix begins with a slash"):
        ZkStoreKind(zk_addrs=somewhere, path_prefix="/dtabs/")
    with pytest.raises(ValueError, match="without acls"):
        ZkStoreKind(zk_addrs=somewhere, acls=())
