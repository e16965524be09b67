"""The announcer of server sets against a real ZooKeeper: one member an address, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Any

import pytest
from kazoo.client import KazooClient

from biandou.announcers.interface import AnnounceError
from biandou.announcers.serversets import ServersetsAnnouncerKind
from biandou.announcers.standing import Announcement
from biandou.announcers.zk_members import Member, MembersAnnouncer
from biandou.clients.zookeeper import Members, ZooKeeperError
from biandou.clients.zookeeper_access import ZkServer
from biandou.dtab import Path
from biandou.namers.zk_serversets import read_members
from tests.stores.etcd_members import free_ports
from tests.stores.zookeeper import INSTALLED, ZooKeeper

NODE = "/discovery/prod/web"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    if not INSTALLED:
        pytest.skip("ZooKeeper is not installed (zookeeper, and a Java)")
    server = ZooKeeper(tmp_path_factory.mktemp("zookeeper"), free_ports(1)[0])
    server.start()
    yield server
    server.kill()


@pytest.fixture
def other(server: ZooKeeper) -> Iterator[Any]:
    """Somebody else's session."""
    client = KazooClient(hosts=f"127.0.0.1:{server.port}", timeout=4)
    client.start()
    client.delete("/discovery", recursive=True)
    yield client
    client.stop()
    client.close()


def announcer(server: ZooKeeper) -> MembersAnnouncer:
    kind = ServersetsAnnouncerKind(
        zk_addrs=(ZkServer(host="127.0.0.1", port=server.port),), path_prefix="/discovery/prod"
    )
    return kind.announcer()


@asynccontextmanager
async def announced(made: MembersAnnouncer, port: int, ip: str = "127.0.0.1") -> AsyncIterator[Announcement]:
    announcement = Announcement(made.registration(Path.of("web"), ip, port), f"announcing {port}")
    try:
        yield announcement
    finally:
        await announcement.withdraw()


def members(client: Any) -> dict[str, bytes]:
    """Give the data of every member, by name."""
    if client.exists(NODE) is None:
        return {}
    return {name: client.get(f"{NODE}/{name}")[0] for name in client.get_children(NODE)}


def ports(client: Any) -> list[int]:
    """Give the ports of the members, as the namer reads them."""
    return sorted(one.port for one in read_members(Members(members(client), "1"), None, None))


async def until(wanted: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(wanted):
            await asyncio.sleep(0.02)


async def until_stands(announcement: Announcement, standing: str, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while announcement.standing != standing:
            await asyncio.sleep(0.02)


async def expire(made: MembersAnnouncer, server: ZooKeeper) -> int:
    """Have the session of an announcer expire: who comes with its number and leaves does that."""
    session = made._session._client.client_id
    thief = KazooClient(hosts=f"127.0.0.1:{server.port}", client_id=session)
    await asyncio.to_thread(thief.start)
    await asyncio.to_thread(thief.stop)
    thief.close()
    return int(session[0])


async def test_a_member_has_the_form_of_server_sets(server: ZooKeeper, other: Any) -> None:
    """Ephemeral, sequential, its parents made, and its JSON as Finagle writes it."""
    async with announced(announcer(server), 4140, "192.0.2.7") as announcement:
        await until_stands(announcement, "registered")
        ((name, data),) = members(other).items()
        assert name == "member_0000000000"
        assert data == (
            b'{"serviceEndpoint":{"host":"192.0.2.7","port":4140},"additionalEndpoints":{},"status":"ALIVE","shard":0}'
        )
        assert other.get(f"{NODE}/{name}")[1].ephemeralOwner != 0
        acls, _ = other.get_acls(f"{NODE}/{name}")
        assert [(acl.id.scheme, acl.id.id) for acl in acls] == [("world", "anyone")]
        assert announcement.state()["as"] == f"{NODE}/{name}"


async def test_what_is_withdrawn_is_gone(server: ZooKeeper, other: Any) -> None:
    made = announcer(server)
    async with announced(made, 4140) as announcement:
        await until_stands(announcement, "registered")
    assert members(other) == {}
    assert announcement.standing == "withdrawn"
    assert made._session._client is None


async def test_each_address_has_a_member(server: ZooKeeper, other: Any) -> None:
    """Linkerd kept only the last one."""
    made = announcer(server)
    async with announced(made, 4140) as first:
        async with announced(made, 4141) as second:
            await until_stands(first, "registered")
            await until_stands(second, "registered")
            assert ports(other) == [4140, 4141]
        assert ports(other) == [4140]
        assert made._session.id is not None


async def test_an_expired_session_is_survived(server: ZooKeeper, other: Any) -> None:
    """There is one member again, of another session, and never two."""
    made = announcer(server)
    async with announced(made, 4140) as announcement:
        await until_stands(announcement, "registered")
        before = await expire(made, server)
        most = 0

        def again() -> bool:
            nonlocal most
            owners = [other.get(f"{NODE}/{name}")[1].ephemeralOwner for name in other.get_children(NODE)]
            most = max(most, len(owners))
            return bool(owners) and before not in owners

        await until(again)
        await asyncio.sleep(0.3)
        assert ports(other) == [4140]
        assert most == 1
        assert announcement.state()["failures"] == 0
    assert members(other) == {}


async def test_a_member_that_somebody_deletes_comes_again(server: ZooKeeper, other: Any) -> None:
    async with announced(announcer(server), 4140) as announcement:
        await until_stands(announcement, "registered")
        (name,) = members(other)
        other.delete(f"{NODE}/{name}")
        await until(lambda: ports(other) == [4140] and name not in members(other))


async def test_the_member_of_a_former_linker_is_replaced(server: ZooKeeper, other: Any) -> None:
    """It ended without saying so, and its session lasts a while yet; other members stay."""
    other.ensure_path(NODE)
    place = {"host": "127.0.0.1", "port": 4140}
    former = json.dumps({"serviceEndpoint": place, "additionalEndpoints": {}, "status": "ALIVE", "shard": 0}).encode()
    left = other.create(f"{NODE}/member_", former, ephemeral=True, sequence=True)
    by_hand = other.create(f"{NODE}/member_by_hand", former)
    another = other.create(f"{NODE}/member_", former.replace(b"4140", b"4141"), ephemeral=True, sequence=True)
    async with announced(announcer(server), 4140) as announcement:
        await until_stands(announcement, "registered")
        found = {f"{NODE}/{name}" for name in members(other)}
        assert left not in found
        assert {by_hand, another} < found
        assert len(found) == 3


async def test_two_linkers_with_one_address_do_not_fight(server: ZooKeeper, other: Any) -> None:
    """As each host's Docker bridge is: one member stands for both, and when its linker goes the other makes one."""
    async with announced(announcer(server), 4140) as first:
        await until_stands(first, "registered")
        async with announced(announcer(server), 4140) as second:
            await until_stands(second, "registered")
            await until(lambda: first.state()["as"] == second.state()["as"])
            (name,) = members(other)
            await asyncio.sleep(0.5)
            assert [*members(other)] == [name]
        await until(lambda: ports(other) == [4140] and [*members(other)] != [name])
    assert members(other) == {}


async def test_a_member_whose_making_was_not_answered_is_found(
    server: ZooKeeper, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection may break between the making and its answer: another would be the second of one address."""
    made = announcer(server)
    create, asked = made._session.create, []

    async def unanswered(path: str, data: bytes, instead_of: Any = ()) -> str:
        node = await create(path, data, instead_of)
        asked.append(node)
        raise ZooKeeperError("no answer in time")

    monkeypatch.setattr(made._session, "create", unanswered)
    monkeypatch.setattr(Member, "retry", type(Member.retry)(0.1, 0.1))
    async with announced(made, 4140) as announcement:
        await until_stands(announcement, "registered")
        # The first found that there is no parent.
        assert [node.rpartition("/")[2] for node in asked] == [*members(other)]


async def test_what_was_never_answered_is_withdrawn_too(
    server: ZooKeeper, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = announcer(server)
    create = made._session.create

    async def unanswered(path: str, data: bytes, instead_of: Any = ()) -> str:
        await create(path, data, instead_of)
        raise ZooKeeperError("no answer in time")

    monkeypatch.setattr(made._session, "create", unanswered)
    first, second = (made.registration(Path.of("web"), "127.0.0.1", port) for port in (4140, 4141))
    for member in (first, second):
        with pytest.raises(AnnounceError, match="no answer in time"):
            await member.register()
    assert ports(other) == [4140, 4141]
    await first.withdraw()
    assert ports(other) == [4141]
    await second.withdraw()
    assert members(other) == {}


async def test_a_member_is_withdrawn_that_was_made_and_not_looked_at(
    server: ZooKeeper, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection may break right after its making."""
    made = announcer(server)

    async def lost(_path: str, _gone: Any) -> int | None:
        raise ZooKeeperError("no answer in time")

    monkeypatch.setattr(made._session, "owner", lost)
    first, second = (made.registration(Path.of("web"), "127.0.0.1", port) for port in (4140, 4141))
    for member in (first, second):
        with pytest.raises(AnnounceError, match="no answer in time"):
            await member.register()
    await first.withdraw()
    assert ports(other) == [4141]
    await second.withdraw()


async def test_a_zookeeper_that_comes_later_is_told(tmp_path: File) -> None:
    """Nothing waits for it, the failure shows, and a server that was away finds the members as they were."""
    if not INSTALLED:
        pytest.skip("ZooKeeper is not installed (zookeeper, and a Java)")
    late = ZooKeeper(tmp_path, free_ports(1)[0])
    try:
        async with announced(announcer(late), 4140) as announcement:
            await until_stands(announcement, "failed")
            assert announcement.state()["error"] == f"zookeeper at 127.0.0.1:{late.port}: not connected"
            await asyncio.to_thread(late.start)
            await until_stands(announcement, "registered")
            node = announcement.state()["as"]
            await asyncio.to_thread(late.kill)
            await until_stands(announcement, "failed")
            await asyncio.to_thread(late.start)
            await until_stands(announcement, "registered")
            client = KazooClient(hosts=f"127.0.0.1:{late.port}")
            await asyncio.to_thread(client.start)
            assert ports(client) == [4140]
            assert announcement.state()["as"] == node or announcement.state()["failures"] == 0
            client.stop()
            client.close()
    finally:
        late.kill()


async def test_what_cannot_be_withdrawn_does_not_wait_for_ever() -> None:
    """With nobody there the session's end alone makes the members vanish."""
    kind = ServersetsAnnouncerKind(zk_addrs=(ZkServer(host="127.0.0.1", port=free_ports(1)[0]),))
    announcement = Announcement(kind.announcer().registration(Path.of("web"), "127.0.0.1", 1), "announcing")
    await asyncio.sleep(0.1)
    async with asyncio.timeout(3):
        await announcement.withdraw()
    assert announcement.standing == "withdrawn"


def test_names_are_paths_of_nodes() -> None:
    kind = ServersetsAnnouncerKind(zk_addrs=(ZkServer(host="zk"),))
    assert kind.node(Path.of("prod", "web")) == "/discovery/prod/web"
    assert str(kind.full_prefix) == "/#/io.l5d.serversets"
    kind.check(Path.of("web"))
    kind.check(Path.of())
    for name in (Path((b"..",)), Path((b"a/b",)), Path((b"\xff",)), Path((b"a\0",))):
        with pytest.raises(ValueError, match="no node of ZooKeeper"):
            kind.check(name)
    with pytest.raises(ValueError, match="root"):
        ServersetsAnnouncerKind(zk_addrs=(ZkServer(host="zk"),), path_prefix="/").check(Path.of())
    with pytest.raises(ValueError, match="zkAddrs"):
        ServersetsAnnouncerKind(zk_addrs=())
