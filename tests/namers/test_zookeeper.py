"""The namers of ZooKeeper against a real one: members come and go, sessions expire, the server stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient

from biandou.clients import zookeeper
from biandou.clients.zookeeper import Members, close_sessions, zookeeper_at
from biandou.clients.zookeeper_access import ZkServer
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import WEIGHT, Addresses, AddressSet, Bound
from biandou.live import Failed, Live, Ok, State
from biandou.namers import followed
from biandou.namers.curator import CuratorNamerKind
from biandou.namers.curator_services import CuratorNamer, read_instances
from biandou.namers.serversets import ServersetsNamerKind
from biandou.namers.system import SystemNamer
from biandou.namers.zk_leader import ZkLeaderNamerKind
from biandou.namers.zk_leaders import ZkLeaderNamer, read_leader
from biandou.namers.zk_serversets import ServersetsNamer, read_members
from biandou.testing.observing import Observed
from tests.stores.etcd_members import free_ports
from tests.stores.zookeeper import INSTALLED, ZooKeeper

Tree = NameTree[Path | Bound]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    if not INSTALLED:
        pytest.skip("ZooKeeper is not installed (zookeeper, and a Java)")
    server = ZooKeeper(tmp_path_factory.mktemp("zookeeper"), free_ports(1)[0])
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
async def sessions() -> AsyncIterator[None]:
    """Leave no thread of kazoo's behind."""
    yield
    await close_sessions()


@pytest.fixture
def writer(server: ZooKeeper) -> Iterator[Any]:
    """Somebody else's session."""
    client = KazooClient(hosts=f"127.0.0.1:{server.port}", timeout=4)
    client.start()
    for name in ("discovery", "services", "group"):
        client.delete(f"/{name}", recursive=True)
        client.ensure_path(f"/{name}/web")
    yield client
    client.stop()
    client.close()


def addrs(server: ZooKeeper) -> tuple[ZkServer, ...]:
    return (ZkServer(host="127.0.0.1", port=server.port),)


def serversets(server: ZooKeeper) -> ServersetsNamer:
    return ServersetsNamerKind(zk_addrs=addrs(server)).namer()


def leaders(server: ZooKeeper) -> ZkLeaderNamer:
    return ZkLeaderNamerKind(zk_addrs=addrs(server)).namer()


def curator(server: ZooKeeper) -> CuratorNamer:
    return CuratorNamerKind(experimental=True, zk_addrs=addrs(server), base_path="/services").namer()


def member(port: int, *, status: str = "ALIVE", shard: int = 0, **more: int) -> bytes:
    others = {name: {"host": "127.0.0.1", "port": other} for name, other in more.items()}
    place = {"host": "127.0.0.1", "port": port}
    told = {"serviceEndpoint": place, "additionalEndpoints": others, "status": status, "shard": shard}
    return json.dumps(told).encode()


def join(writer: Any, data: bytes, node: str = "/discovery/web") -> str:
    return str(writer.create(f"{node}/member_", data, ephemeral=True, sequence=True))


def tree(live: Live[Tree]) -> Live[tuple[str, str, Addresses] | None]:
    """Follow client name, residual and addresses; `None` while it is negative."""

    def inner(found: Tree) -> Live[tuple[str, str, Addresses] | None]:
        if found is NEG:
            return Live.ok(None)
        assert isinstance(found, Leaf)
        assert isinstance(found.value, Bound)
        bound = found.value
        return bound.addresses.map(lambda known: (str(bound.id), str(bound.residual), known))

    return live.flat_map(inner)


Seen = State[tuple[str, str, Addresses] | None]


def at(*ports: int) -> Callable[[Seen], bool]:
    """Say whether these are the ports; none means that the name is negative."""

    def wanted(state: Seen) -> bool:
        if not isinstance(state, Ok):
            return False
        if state.value is None:
            return not ports
        addresses = state.value[2]
        return isinstance(addresses, AddressSet) and sorted(one.port for one in addresses.addresses) == sorted(ports)

    return wanted


async def test_members_of_a_serverset_come_and_go(server: ZooKeeper, writer: Any) -> None:
    namer = serversets(server)
    with Observed(tree(namer.lookup(Path.of("discovery", "web", "rest")))) as seen:
        await seen.until(at(), 10.0)
        first = join(writer, member(8001))
        state = await seen.until(at(8001))
        assert isinstance(state, Ok)
        assert state.value is not None
        assert state.value[:2] == ("/#/io.l5d.serversets/discovery/web", "/rest")
        join(writer, member(8002, shard=1))
        join(writer, member(8003, status="DEAD"))
        join(writer, b"nothing of ours")
        await seen.until(at(8001, 8002))
        writer.set(first, member(8009))
        await seen.until(at(8009, 8002))
        shown = namer.state()["/discovery/web"]
        assert shown["state"]["value"] == ["127.0.0.1:8002", "127.0.0.1:8009"]
        writer.delete(first)
        await seen.until(at(8002))
        for name in writer.get_children("/discovery/web"):
            writer.delete(f"/discovery/web/{name}")
        await seen.until(at())
        writer.delete("/discovery/web")
        writer.ensure_path("/discovery/web")
        join(writer, member(8004))
        await seen.until(at(8004))
    assert namer.state() == {}


async def test_endpoints_and_shards_are_told_apart(server: ZooKeeper, writer: Any) -> None:
    join(writer, member(8001, admin=9001))
    join(writer, member(8002, shard=1, admin=9002))
    namer = serversets(server)
    for last, ports in (
        ("web", (8001, 8002)),
        ("web:admin", (9001, 9002)),
        ("web#1", (8002,)),
        ("web:admin#0", (9001,)),
    ):
        with Observed(tree(namer.lookup(Path.of("discovery", last)))) as seen:
            await seen.until(at(*ports), 10.0)
    for last in ("web:none", "web#7", "web:a:b", "nobody"):
        with Observed(tree(namer.lookup(Path.of("discovery", last)))) as seen:
            await seen.until(at(), 10.0)


async def test_five_hundred_members_are_followed(server: ZooKeeper, writer: Any) -> None:
    made = [writer.create_async(f"/discovery/web/member_{number}", member(1000 + number)) for number in range(500)]
    for one in made:
        one.get(timeout=30)
    with Observed(tree(serversets(server).lookup(Path.of("discovery", "web")))) as seen:
        await seen.until(at(*range(1000, 1500)), 20.0)
        writer.delete("/discovery/web/member_77")
        await seen.until(at(*(port for port in range(1000, 1500) if port != 1077)))


async def test_a_server_that_stops_leaves_what_was_known_and_what_happened_meanwhile_is_seen(
    server: ZooKeeper, writer: Any
) -> None:
    writer.create("/discovery/web/member_a", member(8001))
    namer = serversets(server)
    with Observed(tree(namer.lookup(Path.of("discovery", "web")))) as seen:
        await seen.until(at(8001), 10.0)
        server.kill()
        await asyncio.sleep(3)
        assert at(8001)(seen.now)
        assert namer.state()["/discovery/web"]["watch"]["error"] is not None
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(writer.retry, writer.create, "/discovery/web/member_b", member(8002))
        await seen.until(at(8001, 8002), 30.0)
        assert namer.state()["/discovery/web"]["watch"]["error"] is None


async def test_a_session_that_expires_misses_nothing(server: ZooKeeper, writer: Any) -> None:
    writer.create("/discovery/web/member_a", member(8001))
    zookeeper = zookeeper_at([f"127.0.0.1:{server.port}"], 10_000)
    with Observed(tree(serversets(server).lookup(Path.of("discovery", "web")))) as seen:
        await seen.until(at(8001), 10.0)
        session = zookeeper._client.client_id
        # Who comes with our session's number and leaves has it expire.
        thief = KazooClient(hosts=f"127.0.0.1:{server.port}", client_id=session)
        await asyncio.to_thread(thief.start)
        await asyncio.to_thread(thief.stop)
        thief.close()
        writer.create("/discovery/web/member_b", member(8002))
        await seen.until(at(8001, 8002), 30.0)
        writer.create("/discovery/web/member_c", member(8003))
        await seen.until(at(8001, 8002, 8003), 10.0)
        assert zookeeper._client.client_id != session


async def test_a_leader_is_the_first_of_its_group(server: ZooKeeper, writer: Any) -> None:
    first = join(writer, b"127.0.0.1:8001,127.0.0.1:8002", "/group/web")
    join(writer, b"127.0.0.1:8009", "/group/web")
    with Observed(tree(leaders(server).lookup(Path.of("group", "web", "a", "b")))) as seen:
        state = await seen.until(at(8001, 8002), 10.0)
        assert isinstance(state, Ok)
        assert state.value is not None
        assert state.value[:2] == ("/#/io.l5d.zkLeader/group/web", "/a/b")
        writer.set(first, b"127.0.0.1:8003")
        await seen.until(at(8003))
        writer.delete(first)
        await seen.until(at(8009))
        for name in writer.get_children("/group/web"):
            writer.delete(f"/group/web/{name}")
        await seen.until(at())


async def test_services_of_curator(server: ZooKeeper, writer: Any) -> None:
    def record(**keys: Any) -> bytes:
        return json.dumps({"name": "web", "id": "x", "address": "127.0.0.1", **keys}).encode()

    writer.create("/services/web/1", record(port=8001, sslPort=None))
    writer.create("/services/web/2", record(port=8002, sslPort=8443))
    writer.create("/services/web/3", record(port=8003, enabled=False))
    with Observed(tree(curator(server).lookup(Path.of("web", "rest")))) as seen:
        state = await seen.until(at(8001, 8443), 10.0)
        assert isinstance(state, Ok)
        assert state.value is not None
        assert state.value[:2] == ("/#/io.l5d.curator/web", "/rest")
        writer.delete("/services/web/2")
        await seen.until(at(8001))
        writer.delete("/services/web", recursive=True)
        await seen.until(at())


async def test_without_a_server_names_are_negative_so_that_others_are_tried() -> None:
    namer = ServersetsNamerKind(zk_addrs=(ZkServer(host="127.0.0.1", port=free_ports(1)[0]),)).namer()
    with Observed(tree(namer.lookup(Path.of("discovery", "web")))) as seen:
        await seen.until(at(), 10.0)


def test_weights_are_the_product_of_what_the_vectors_say() -> None:
    vector = {
        "vector": [
            {"select": "inet=127.0.0.1:8001", "weight": 2.0, "priority": 1},
            {"select": "member=member_1", "weight": 3.0},
            {"select": "shard=1", "weight": 0.5},
            {"select": "shard=2", "weight": -1.0},
            {"select": "shard=3", "weight": 7},
        ]
    }
    data = {
        "member_1": member(8001),
        "member_2": member(8002, shard=1),
        "member_3": member(8003, shard=2),
        "member_4": member(8004, shard=3),
        "vector_1": json.dumps(vector).encode(),
        "vector_2": b"[]",
    }
    found = {one.port: one.meta[WEIGHT] for one in read_members(Members(data, "1"), None, None)}
    assert found == {8001: 6.0, 8002: 0.5, 8004: 1.0}


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[", b"[]", b'{"serviceEndpoint": 5, "status": "ALIVE"}', b"a:b,:7,x:0,x:00008099999"]
)
def test_what_cannot_be_read_is_no_member(data: bytes) -> None:
    members = Members({"member_1": data, "vector_1": data}, "1")
    assert read_members(members, None, None) == ()
    assert read_leader(members) == ()
    assert read_instances(members) == ()


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ('"127.0.0.1"', "true"),
        ('"127.0.0.1"', "1.0"),
        ('"127.0.0.1"', "9" * 30),
        ('"127.0.0.1"', "0"),
        ('"\\ud800"', "80"),
        ("7", "80"),
    ],
)
def test_a_member_without_a_place_costs_no_other_its_own(host: str, port: str) -> None:
    def members(form: str) -> Members:
        good = form.replace("HOST", '"127.0.0.1"').replace("PORT", "9001")
        bad = form.replace("HOST", host).replace("PORT", port)
        return Members({"member_1": bad.encode(), "member_2": good.encode()}, "1")

    sets = members('{"serviceEndpoint": {"host": HOST, "port": PORT}, "status": "ALIVE"}')
    assert [str(one.port) for one in read_members(sets, None, None)] == ["9001"]
    records = members('{"address": HOST, "port": PORT}')
    assert [str(one.port) for one in read_instances(records)] == ["9001"]


def test_a_shard_that_is_no_number_anybody_has_is_no_failure() -> None:
    namer = ServersetsNamerKind(zk_addrs=(ZkServer(host="127.0.0.1", port=1),)).namer()
    assert namer.question(["web#" + "9" * 5000])[1] == "/web#" + "9" * 5000


async def test_what_is_no_path_is_negative() -> None:
    namer = ServersetsNamerKind(zk_addrs=(ZkServer(host="127.0.0.1", port=1),)).namer()
    for path in (Path.of(), Path((b"\xff",)), Path.of("a", "b/c"), Path.of("..", "x")):
        assert namer.lookup(path).sample() == Ok(NEG)
    with pytest.raises(ValueError, match="one server at least"):
        ServersetsNamerKind(zk_addrs=())


async def test_a_path_may_name_its_zookeeper(server: ZooKeeper, writer: Any) -> None:
    join(writer, member(8001))
    join(writer, b"127.0.0.1:8002", "/group/web")
    system = SystemNamer()
    hosts = f"127.0.0.1:{server.port}"
    for name, node, port in (
        ("com.twitter.serverset", "discovery", 8001),
        ("io.buoyant.namer.zk.leader", "group", 8002),
    ):
        with Observed(tree(system.lookup(Path.of(name, hosts, node, "web", "rest")))) as seen:
            state = await seen.until(at(port), 10.0)
            assert isinstance(state, Ok)
            assert state.value is not None
            assert state.value[1] == "/rest"
            assert state.value[0].startswith(f"/$/{name}/")
    for wrong in ("127.0.0.1:0", "a:b"):
        assert isinstance(system.lookup(Path.of("com.twitter.serverset", wrong, "x")).sample(), Failed)


async def test_a_change_that_no_watch_told_of_is_found_and_counted(
    server: ZooKeeper, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "PATIENCE_SECONDS", 0.2)
    writer.ensure_path("/discovery/web")
    first = join(writer, member(8001))
    namer = ServersetsNamerKind(zk_addrs=addrs(server), reconcile_seconds=1).namer()
    with Observed(tree(namer.lookup(Path.of("discovery", "web")))) as seen:
        await seen.until(at(8001), 10.0)
        with monkeypatch.context() as deaf:
            # Kazoo calls the watch's function of the client that reads: here it hears nothing.
            deaf.setattr(zookeeper.ZooKeeper, "_read", lambda *_: None)
            writer.delete(first)
            join(writer, member(8002))
            await asyncio.sleep(0.3)
            assert at(8001)(seen.now)
        await seen.until(at(8002), 10.0)
        assert namer.state()["/discovery/web"]["watch"]["corrections"] == 1
        # The watches are set again.
        join(writer, member(8003))
        await seen.until(at(8002, 8003))
        await asyncio.sleep(2.5)
        assert namer.state()["/discovery/web"]["watch"]["corrections"] == 1
