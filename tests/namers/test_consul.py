"""The Consul namer against a strict Consul on loopback."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any

import pytest

from biandou.clients import consul_watch
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.live import Live, Ok, Pending, State
from biandou.namers.consul import ConsulNamerKind, TagWeight
from biandou.namers.consul_services import ConsulNamer
from biandou.testing.observing import Observed
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance

Tree = NameTree[Path | Bound]
CATALOG = "/v1/catalog/service/web"
HEALTH = "/v1/health/service/web"
WEB = Path.read("/dc1/web")
TOKEN = "t0ken-1"  # noqa: S105 - nobody's


@pytest.fixture
async def server() -> AsyncIterator[ConsulServer]:
    async with ConsulServer() as server:
        yield server


def namer_of(server: ConsulServer, **keys: Any) -> ConsulNamer:
    return ConsulNamerKind(host="127.0.0.1", port=server.port, **keys).namer()


def addresses(live: Live[Tree]) -> Live[Addresses | None]:
    """Follow the addresses of a tree; `None` while it is negative."""

    def inner(tree: Tree) -> Live[Addresses | None]:
        if tree is NEG:
            return Live.ok(None)
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        return tree.value.addresses.map(lambda known: known)

    return live.flat_map(inner)


def at(*ports: int) -> Callable[[State[Addresses | None]], bool]:
    """Say whether these are the ports; none means that the name is negative."""

    def wanted(state: State[Addresses | None]) -> bool:
        if not isinstance(state, Ok):
            return False
        if state.value is None:
            return not ports
        return isinstance(state.value, AddressSet) and [one.port for one in state.value.addresses] == [*ports]

    return wanted


async def set_of(live: Live[Tree]) -> AddressSet:
    with Observed(addresses(live)) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok) and isinstance(state.value, AddressSet))
    assert isinstance(state, Ok)
    assert isinstance(state.value, AddressSet)
    return state.value


async def tree_of(live: Live[Tree]) -> Tree:
    with Observed(live) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok))
    assert isinstance(state, Ok)
    return state.value


async def until_blocked(server: ConsulServer, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while server.waiting < count:
            await asyncio.sleep(0.005)


# ── Paths ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "asked", "id_", "residual"),
    [
        ("/dc1/user", ("dc1", "user", None), "/#/io.l5d.consul/dc1/user", "/"),
        ("/dc1/V1/User/x", ("dc1", "user", "v1"), "/#/io.l5d.consul/dc1/V1/User", "/x"),
        ("/DC1/user", ("DC1", "user", None), "/#/io.l5d.consul/DC1/user", "/"),
        ("/.local/User/a/b", ("dc1", "user", None), "/#/io.l5d.consul/.local/User", "/a/b"),
        (r"/dc1/a\x2fb%\xc3\xa9", ("dc1", "a/b%é", None), r"/#/io.l5d.consul/dc1/a\x2fb%\xc3\xa9", "/"),
    ],
)
async def test_a_name_is_asked_for_in_lower_case_and_bound_as_it_was_written(
    path: str, asked: tuple[str, str, str | None], id_: str, residual: str
) -> None:
    """shared/vectors/naming.json consul.path, `.local` and odd names."""
    dc, service, tag = asked
    async with ConsulServer(dc=dc) as server:
        server.register(Instance(service, 1, tags=(tag,) if tag else ()))
        tree = await tree_of(namer_of(server, include_tag=tag is not None).lookup(Path.read(path)))
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        assert (tree.value.id, tree.value.residual) == (Path.read(id_), Path.read(residual))
        wanted = {"dc": dc} | ({"tag": tag} if tag else {})
        assert server.requests[-1][1:] == (f"/v1/catalog/service/{service}", wanted)


@pytest.mark.parametrize(
    ("include_tag", "path"),
    [(False, "/"), (False, "/dc1"), (True, "/dc1/tag"), (False, r"/dc1/\xff"), (False, "/dc1/..")],
)
async def test_what_is_no_service_is_negative_and_not_asked_for(
    server: ConsulServer, include_tag: bool, path: str
) -> None:
    namer = namer_of(server, include_tag=include_tag)
    assert await tree_of(namer.lookup(Path.read(path))) is NEG
    assert server.requests == []


async def test_the_prefix_is_part_of_what_is_bound(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    tree = await tree_of(namer_of(server, prefix="/c/d").lookup(WEB))
    assert isinstance(tree, Leaf)
    assert isinstance(tree.value, Bound)
    assert tree.value.id == Path.read("/#/c/d/dc1/web")


# ── Which instances ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_address_of_the_service_counts_unless_it_is_empty_or_not_preferred(server: ConsulServer) -> None:
    """shared/vectors/naming.json consul.addresses."""
    server.register(Instance("web", 80, "10.0.0.1", "10.1.0.1"), Instance("web", 81, "10.0.0.2"))
    found = await set_of(namer_of(server).lookup(WEB))
    assert [str(one) for one in found.addresses] == ["10.0.0.2:81", "10.1.0.1:80"]
    found = await set_of(namer_of(server, prefer_service_address=False).lookup(WEB))
    assert [str(one) for one in found.addresses] == ["10.0.0.1:80", "10.0.0.2:81"]


async def test_an_instance_without_port_or_address_is_left_out_and_only_such_are_none(server: ConsulServer) -> None:
    server.register(Instance("web", 0), Instance("web", 80, address=""))
    assert await tree_of(namer_of(server).lookup(WEB)) is NEG
    server.fail(faults.answers(200, b'[{"Address": "10.0.0.1", "ServicePort": null}]', X_Consul_Index="99"))
    assert await tree_of(namer_of(server).lookup(WEB)) is NEG


async def test_the_heaviest_tag_counts_and_a_weight_is_always_given(server: ConsulServer) -> None:
    weights = (TagWeight(tag="a", weight=2), TagWeight(tag="b", weight=7))
    server.register(Instance("web", 1, tags=("a", "b")), Instance("web", 2, tags=("c",)))
    found = await set_of(namer_of(server, weights=weights).lookup(WEB))
    assert [one.meta for one in found.addresses] == [{"endpoint_addr_weight": 7.0}, {"endpoint_addr_weight": 1.0}]
    assert all(isinstance(one.meta["endpoint_addr_weight"], float) for one in found.addresses)


@pytest.mark.parametrize(
    ("statuses", "ports"),
    [
        (("passing",), (1,)),
        (("passing", "warning"), (1, 2)),
        (("critical",), (3,)),
        (("maintenance",), (4,)),
    ],
)
async def test_only_instances_of_a_wanted_health_are_used(
    server: ConsulServer, statuses: tuple[Any, ...], ports: tuple[int, ...]
) -> None:
    checks = (
        [("a", "passing")],
        [("a", "warning")],
        [("a", "critical"), ("b", "warning")],
        [("_node_maintenance", "critical")],
    )
    server.register(*(Instance("web", port, checks=(*each,)) for port, each in enumerate(checks, 1)))
    namer = namer_of(server, use_health_check=True, health_statuses=statuses)
    assert at(*ports)(Ok(await set_of(namer.lookup(WEB))))
    assert server.asked(HEALTH)[0] == {"dc": "dc1"} | ({"passing": "true"} if statuses == ("passing",) else {})


async def test_without_health_checks_health_is_not_looked_at(server: ConsulServer) -> None:
    server.register(Instance("web", 1, checks=(("a", "critical"),)))
    assert at(1)(Ok(await set_of(namer_of(server, health_statuses=("passing",)).lookup(WEB))))


async def test_an_instance_that_fails_its_check_goes_and_comes_back(server: ConsulServer) -> None:
    one, two = Instance("web", 1), Instance("web", 2)
    server.register(one, two)
    with Observed(addresses(namer_of(server, use_health_check=True).lookup(WEB))) as seen:
        await seen.until(at(1, 2))
        server.register(Instance("web", 2, checks=(("a", "critical"),)))
        await seen.until(at(1))
        server.register(two)
        await seen.until(at(1, 2))


@pytest.mark.parametrize("mode", ["stale", "consistent"])
async def test_the_consistency_mode_is_asked_for(server: ConsulServer, mode: Any) -> None:
    server.register(Instance("web", 1))
    await set_of(namer_of(server, consistency_mode=mode).lookup(WEB))
    assert server.asked(CATALOG)[0] == {"dc": "dc1", mode: "true"}


async def test_metadata_is_transferred_when_that_is_asked_for(server: ConsulServer) -> None:
    server.register(Instance("web", 1, meta={"v": "1"}, node_meta={"rack": "7"}))
    found = await set_of(namer_of(server, transfer_metadata=True).lookup(WEB))
    assert found.meta == {"v": "1"}
    assert found.addresses == (Address("127.0.0.1", 1, {"rack": "7", "endpoint_addr_weight": 1.0}),)
    assert (await set_of(namer_of(server).lookup(WEB))).meta == {}


async def test_a_host_name_is_resolved_and_an_unknown_one_left_out(server: ConsulServer) -> None:
    server.register(Instance("web", 1, "localhost"), Instance("web", 2, "no.such.host.invalid"), Instance("web", 3))
    assert at(3, 1)(Ok(await set_of(namer_of(server).lookup(WEB))))


# ── The agent ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("include_tag", "path", "authority"),
    [
        (False, "/dc1/Web", "web.service.dc1.mesh"),
        (True, "/dc1/V1/web", "v1.web.service.dc1.mesh"),
        (False, "/.local/web", "web.service.dc1.mesh"),
    ],
)
async def test_set_host_gives_the_name_that_consuls_dns_has(
    server: ConsulServer, include_tag: bool, path: str, authority: str
) -> None:
    server.agent["DebugConfig"] = {"DNSDomain": "mesh."}
    server.register(Instance("web", 1, tags=("v1",)))
    namer = namer_of(server, set_host=True, include_tag=include_tag)
    assert (await set_of(namer.lookup(Path.read(path)))).meta == {"authority": authority}


async def test_an_agent_is_asked_once_and_only_if_need_be(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    namer = namer_of(server)
    await set_of(namer.lookup(WEB))
    assert server.asked("/v1/agent/self") == []
    for _ in range(2):
        await set_of(namer.lookup(Path.read("/.local/web")))
    assert len(server.asked("/v1/agent/self")) == 1


async def test_an_agent_that_refuses_is_asked_again_and_the_name_is_negative_meanwhile(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    server.fail(faults.answers(403, b"Permission denied"), "/v1/agent/")
    with Observed(addresses(namer_of(server).lookup(Path.read("/.local/web")))) as seen:
        await seen.until(at())
        server.fail(None)
        await seen.until(at(1))


# ── Freshness ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_instances_come_and_go_and_an_emptied_service_is_emptied(server: ConsulServer) -> None:
    one, two = Instance("web", 1), Instance("web", 2)
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at())
        server.register(one)
        await seen.until(at(1))
        server.register(two)
        await seen.until(at(1, 2))
        server.deregister(one, two)
        await seen.until(at())
        server.register(two)
        await seen.until(at(2))


BROKEN = {
    "500": faults.answers(500, b"No cluster leader"),
    "429": faults.answers(429, b"too many"),
    "403": faults.answers(403, b"ACL not found"),
    "no index": faults.answers(200, b"[]"),
    "no JSON": faults.answers(200, b"<html>", X_Consul_Index="99"),
    "another shape": faults.answers(200, b'[{"Address": 7}]', X_Consul_Index="99"),
    "an empty body": faults.answers(200, b"", X_Consul_Index="99"),
    "null": faults.answers(200, b"null", X_Consul_Index="99"),
    "cut": faults.cuts(),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
async def test_a_registry_that_fails_leaves_the_last_good_set_in_use(server: ConsulServer, fault: faults.Fault) -> None:
    server.register(Instance("web", 1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        await until_blocked(server)
        asked = len(server.requests)
        server.fail(fault)
        async with asyncio.timeout(5):
            while len(server.requests) < asked + 2:
                await asyncio.sleep(0.01)
        assert at(1)(seen.now)
        assert len(seen.states) <= 2
        assert namer.state()["dc1/web"]["poll"]["error"]
        server.register(Instance("web", 2))
        server.fail(None)
        await seen.until(at(1, 2))
        assert namer.state()["dc1/web"]["poll"]["error"] is None


async def test_a_token_that_may_see_nothing_any_more_does_not_empty_the_set() -> None:
    async with ConsulServer(token=TOKEN) as server:
        server.register(Instance("web", 1))
        with Observed(addresses(namer_of(server, token=TOKEN).lookup(WEB))) as seen:
            await seen.until(at(1))
            await until_blocked(server)
            server.fail(faults.answers(200, b"[]", X_Consul_Index="99", X_Consul_Results_Filtered_By_ACLs="true"))
            async with asyncio.timeout(5):
                while len(server.requests) < 4:
                    await asyncio.sleep(0.01)
            assert at(1)(seen.now)


async def test_a_token_that_may_see_nothing_finds_nothing() -> None:
    async with ConsulServer(token=TOKEN) as server:
        server.register(Instance("web", 1))
        with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
            await seen.until(at())


async def test_before_the_first_answer_a_failure_means_unknown_so_that_alternatives_are_tried(
    server: ConsulServer,
) -> None:
    await server.stop()
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        assert isinstance(seen.now, Pending)
        await seen.until(at())
        server.register(Instance("web", 1))
        await server.start()
        await seen.until(at(1))


async def test_consul_may_be_down_for_a_while_and_change_meanwhile(server: ConsulServer) -> None:
    one = Instance("web", 1)
    server.register(one)
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1))
        await server.stop()
        await asyncio.sleep(0.3)
        assert at(1)(seen.now)
        server.deregister(one)
        server.register(Instance("web", 2))
        await server.start()
        await seen.until(at(2))


async def test_a_registry_that_was_restored_from_a_backup_is_followed(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    backup = server.state.copied()
    for port in range(2, 6):
        server.register(Instance("web", port))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1, 2, 3, 4, 5))
        await until_blocked(server)
        server.restore(backup)
        await seen.until(at(1))
        await until_blocked(server)
        server.register(Instance("web", 7))
        await seen.until(at(1, 7))


# ── One watch a name ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_query_serves_all_who_ask_and_ends_with_the_last(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    namer = namer_of(server)
    with (
        Observed(addresses(namer.lookup(WEB))) as one,
        Observed(addresses(namer.lookup(Path.read("/dc1/WEB/rest")))) as two,
    ):
        await one.until(at(1))
        await two.until(at(1))
        await until_blocked(server)
        assert len(server.requests) == 2
        assert list(namer.state()) == ["dc1/web"]
    assert namer.state() == {}
    async with asyncio.timeout(5):
        while server.waiting:
            await asyncio.sleep(0.005)


async def test_who_comes_back_is_told_only_what_is_known_now(server: ConsulServer) -> None:
    one = Instance("web", 1)
    server.register(one)
    live = addresses(namer_of(server).lookup(WEB))
    with Observed(live) as seen:
        await seen.until(at(1))
    server.deregister(one)
    server.register(Instance("web", 2))
    with Observed(live) as seen:
        await seen.until(at(2))
        assert not any(at(1)(state) for state in seen.states)


async def test_who_comes_back_while_the_registry_is_away_goes_on_with_what_was_known(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    live = addresses(namer_of(server).lookup(WEB))
    with Observed(live) as seen:
        await seen.until(at(1))
    await server.stop()
    with Observed(live) as seen:
        await seen.until(at(1))


async def test_nothing_is_kept_of_a_name_that_nobody_holds(server: ConsulServer) -> None:
    server.register(Instance("web", 1))
    namer = namer_of(server)
    gc.collect()
    gc.disable()
    try:
        await set_of(namer.lookup(WEB))
        await asyncio.sleep(0.05)
        # Without the collector: no cycle holds it.
        assert len(namer._services) + len(namer._followed) == 0
    finally:
        gc.enable()


async def test_a_confirmation_shows_in_the_state(server: ConsulServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consul_watch, "WAIT_SECONDS", 1)
    server.register(Instance("web", 1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        first = namer.state()["dc1/web"]["state"]
        assert (first["running"], first["value"]) == (True, ["127.0.0.1:1"])
        await asyncio.sleep(1.3)
        then = namer.state()["dc1/web"]["state"]
        assert then["lastConfirmedAt"] > first["lastConfirmedAt"]
        assert then["lastUpdatedAt"] == first["lastUpdatedAt"]
        assert len(seen.states) <= 2


async def test_a_registry_that_is_away_for_many_names_fills_no_log(
    server: ConsulServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.stop()
    namer = namer_of(server)
    watches = [Observed(addresses(namer.lookup(Path.of("dc1", f"n{number}")))) for number in range(50)]
    with caplog.at_level(logging.INFO):
        for watch in watches:
            watch.__enter__()
        for watch in watches:
            await watch.until(at())
        await asyncio.sleep(0.5)
    assert len(caplog.records) == 5
    for watch in watches:
        watch.__exit__(None, None, None)


async def test_names_beyond_the_connections_that_wait_are_asked_again_and_again(
    server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_watch, "STAND_SECONDS", 0.1)
    instances = [Instance(f"n{number}", 1) for number in range(12)]
    server.register(*instances)
    namer = namer_of(server, max_blocking_queries=4)
    with ExitStack() as stack:
        watches = [
            stack.enter_context(Observed(addresses(namer.lookup(Path.of("dc1", one.service))))) for one in instances
        ]
        for watch in watches:
            await watch.until(at(1))
        await until_blocked(server, 4)
        server.register(*(Instance(one.service, 2) for one in instances))
        for watch in watches:
            await watch.until(at(1, 2))
        assert server.waiting <= 4
    async with asyncio.timeout(5):
        while server.waiting:
            await asyncio.sleep(0.005)


async def test_a_flood_of_unknown_names_leaves_room_for_those_that_are_there(
    server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_watch, "STAND_SECONDS", 0.1)
    server.register(Instance("web", 1))
    namer = namer_of(server, max_blocking_queries=8)
    with ExitStack() as stack:
        flood = [
            stack.enter_context(Observed(addresses(namer.lookup(Path.of("dc1", f"x{number}"))))) for number in range(40)
        ]
        for watch in flood:
            await watch.until(at())
        await until_blocked(server, 4)
        web = stack.enter_context(Observed(addresses(namer.lookup(WEB))))
        await web.until(at(1))
        await until_blocked(server, 5)
        assert any("index" in query for query in server.asked(CATALOG))
        server.register(Instance("x39", 7))
        await flood[39].until(at(7))


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="healthStatuses names one"):
        ConsulNamerKind(health_statuses=())
    with pytest.raises(ValueError, match="a weight is a number from 0 on"):
        TagWeight(tag="a", weight=-1)
    with pytest.raises(ValueError, match="host is a host name"):
        ConsulNamerKind(host="http://consul")
    with pytest.raises(ValueError, match="token: 1 or more"):
        ConsulNamerKind(token=f"{TOKEN}\n")


async def test_one_address_in_two_spellings_is_one(server: ConsulServer) -> None:
    server.register(Instance("web", 1, address="::1"), Instance("web", 1, address="0:0:0:0:0:0:0:1"))
    server.register(Instance("web", 1, address="127.0.0.9"), Instance("web", 1, "10.0.0.9", "127.0.0.9"))
    with Observed(addresses(namer_of(server, prefer_service_address=True).lookup(WEB))) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok) and isinstance(state.value, AddressSet))
        assert isinstance(state, Ok)
        assert isinstance(state.value, AddressSet)
        assert [one.host for one in state.value.addresses] == ["::1", "127.0.0.9"]
