"""`io.l5d.etcd` against real members: the contract, and members that are killed."""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from biandou.clients.etcd import Etcd
from biandou.dtab import Dtab
from biandou.errors import StoreDown, TooLarge
from biandou.live import Failed, Ok, Pending
from biandou.stores.etcd import EtcdStoreKind
from biandou.stores.interface import StoreKind
from tests.stores import etcd_members
from tests.stores.contract import ONE, THREE, TWO, DurableContract, refused, until
from tests.stores.etcd_members import Member

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (etcd-server)")


@pytest.fixture(scope="module", name="member")
def one_member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    (member,) = etcd_members.start(1, tmp_path_factory.mktemp("etcd"))
    yield member
    member.kill()


class TestEtcd(DurableContract):
    @pytest.fixture
    def kind(self, tmp_path: Path, member: Member) -> StoreKind:
        prefix = f"/test/{uuid.uuid4().hex}"
        return EtcdStoreKind(experimental=True, host="127.0.0.1", port=member.client, path_prefix=prefix)


def kind_of(*members: Member) -> EtcdStoreKind:
    return EtcdStoreKind(
        experimental=True,
        endpoints=tuple(f"127.0.0.1:{member.client}" for member in members),
        path_prefix=f"/test/{uuid.uuid4().hex}",
    )


async def test_what_somebody_else_writes_is_seen_and_what_is_no_dtab_fails_alone(member: Member) -> None:
    kind = kind_of(member)
    store, other = kind.store(), Etcd(kind.endpoints)
    await store.start()
    await other.open()
    try:
        revision = await other.put(f"{kind.path_prefix}/web", b"/svc => /one")
        found = await until(store.watch("web"), lambda found: found is not None)
        assert found is not None
        assert (found.dtab, found.version) == (ONE, str(revision).encode())
        await other.put(f"{kind.path_prefix}/broken", b"/svc =")
        await other.put(f"{kind.path_prefix}/a/directory", b"/svc => /one")
        await until(store.namespaces(), lambda names: names == {"web", "broken"})
        assert isinstance(store.watch("broken").sample(), Failed)
        await store.put("broken", TWO)
        await until(store.watch("broken"), lambda found: found is not None and found.dtab == TWO)
    finally:
        await store.stop()
        await other.close()


async def test_a_dtab_that_etcd_would_not_take_is_too_large(member: Member) -> None:
    store = kind_of(member).store()
    await store.start()
    try:
        await refused(store.put("big", Dtab.read(f"/svc => /{'x' * 1_100_000}")), TooLarge)
    finally:
        await store.stop()


async def test_one_of_three_members_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    members = await asyncio.to_thread(etcd_members.start, 3, tmp_path)
    store = kind_of(*members).store()
    await store.start()
    try:
        version = await store.create("web", ONE)
        for number, member in enumerate(members):
            member.kill()
            dtab = Dtab.read(f"/svc => /{number}")
            async with asyncio.timeout(20):
                while True:
                    try:
                        version = await store.update("web", dtab, version)
                        break
                    except StoreDown:
                        # The leader may have been killed: there is a new one within a second.
                        await asyncio.sleep(0.1)
            found = await until(store.watch("web"), lambda found, dtab=dtab: found is not None and found.dtab == dtab)  # type: ignore[misc]
            assert found is not None
            assert found.version == version
            member.start(members)
            await asyncio.to_thread(member.healthy)
        async with asyncio.timeout(20):
            while store.trouble is not None:
                await asyncio.sleep(0.05)
    finally:
        await store.stop()
        for member in members:
            member.kill()


async def test_without_etcd_reads_tell_what_was_known_and_changes_fail_at_once(tmp_path: Path) -> None:
    (member,) = await asyncio.to_thread(etcd_members.start, 1, tmp_path)
    store = kind_of(member).store()
    await store.start()
    try:
        await store.create("web", ONE)
        member.kill()
        async with asyncio.timeout(10):
            while store.trouble is None:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            await refused(store.put("web", TWO), StoreDown)
        known = store.watch("web").sample()
        assert isinstance(known, Ok)
        assert known.value is not None
        assert known.value.dtab == ONE
        member.start([member])
        await asyncio.to_thread(member.healthy)
        async with asyncio.timeout(20):
            while store.trouble is not None:
                await asyncio.sleep(0.05)
        await store.put("web", THREE)
    finally:
        await store.stop()
        member.kill()


async def test_a_store_starts_without_etcd_and_learns_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client, peer = etcd_members.free_ports(2)
    member = Member("late", client, peer, tmp_path)
    store = kind_of(member).store()
    await store.start()
    try:
        assert store.trouble is not None
        assert isinstance(store.watch("web").sample(), Pending)
        await asyncio.sleep(2)
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert said == [f"etcd: cannot connect to 127.0.0.1:{client}: Connection refused"], "once, not at each attempt"
        member.start([member])
        await asyncio.to_thread(member.healthy)
        assert await until(store.watch("web"), lambda _: True) is None
        assert "etcd answers again" in caplog.text
    finally:
        await store.stop()
        member.kill()


def test_mistakes_are_refused() -> None:
    for endpoints in (("host",), ("http://host:1",), ("host:0x1",), (":1",)):
        with pytest.raises(ValueError, match="endpoints are host:port"):
            EtcdStoreKind(endpoints=endpoints)
    with pytest.raises(ValueError, match="pathPrefix begins with a slash"):
        EtcdStoreKind(path_prefix="dtabs")
