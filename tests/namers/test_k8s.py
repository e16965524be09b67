"""The Kubernetes namers against a strict API server on loopback."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.errors import ConfigError
from biandou.live import Live, Ok, State
from biandou.namers.k8s import K8sExternalNamerKind, K8sNamerKind, K8sNamespacedNamerKind
from biandou.namers.k8s_endpoints import EndpointsNamer
from biandou.testing.observing import Observed
from tests.registries import kubernetes_faults as faults
from tests.registries.kubernetes import KubernetesServer

Tree = NameTree[Path | Bound]
WEB = Path.read("/prod/http/web")
ENDPOINTS = "/api/v1/namespaces/prod/endpoints"
SERVICES = "/api/v1/namespaces/prod/services"


@pytest.fixture
async def server() -> AsyncIterator[KubernetesServer]:
    async with KubernetesServer() as server:
        yield server


def namer_of(server: KubernetesServer, **keys: Any) -> EndpointsNamer:
    return K8sNamerKind(host="127.0.0.1", port=server.port, **keys).namer()


def pods(*hosts: str, ports: dict[str, int] | None = None, unready: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give a subset of an Endpoints object."""
    return {
        "addresses": [{"ip": host, "nodeName": f"node-{host[-1]}"} for host in hosts] or None,
        "notReadyAddresses": [{"ip": host} for host in unready],
        "ports": [{"name": name, "port": port} for name, port in (ports or {"http": 8080}).items()],
    }


def put(server: KubernetesServer, *subsets: dict[str, Any], name: str = "web", **fields: Any) -> None:
    server.apply("endpoints", "prod", name, subsets=[*subsets] or None, **fields)


def addresses(live: Live[Tree]) -> Live[Addresses | None]:
    """Follow the addresses of a tree; `None` while it is negative."""

    def inner(tree: Tree) -> Live[Addresses | None]:
        if tree is NEG:
            return Live.ok(None)
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        return tree.value.addresses.map(lambda known: known)

    return live.flat_map(inner)


def at(*wanted: str) -> Callable[[State[Addresses | None]], bool]:
    """Say whether the set is these addresses."""
    return lambda state: (
        isinstance(state, Ok)
        and isinstance(state.value, AddressSet)
        and [str(one) for one in state.value.addresses] == [*wanted]
    )


def negative(state: State[Addresses | None]) -> bool:
    return isinstance(state, Ok) and state.value is None


async def leaf_of(live: Live[Tree]) -> Bound:
    with Observed(live) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok))
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    assert isinstance(state.value.value, Bound)
    return state.value.value


# ── What a name means ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pods_come_and_go_with_their_nodes(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.2", "10.0.0.1", unready=("10.0.0.9",)))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        state = await seen.until(at("10.0.0.1:8080", "10.0.0.2:8080"))
        assert isinstance(state, Ok)
        assert state.value == AddressSet(
            (Address("10.0.0.1", 8080, {"nodeName": "node-1"}), Address("10.0.0.2", 8080, {"nodeName": "node-2"}))
        )
        put(server, pods("10.0.0.1", "10.0.0.9"))
        await seen.until(at("10.0.0.1:8080", "10.0.0.9:8080"))
    assert server.asked(ENDPOINTS) == [{"fieldSelector": "metadata.name=web"}]


async def test_the_name_is_in_lower_case_and_the_rest_stays(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    bound = await leaf_of(namer_of(server).lookup(Path.read("/Prod/HTTP/Web/Rest/of/it")))
    assert (bound.id, bound.residual) == (Path.read("/#/io.l5d.k8s/prod/http/web"), Path.read("/Rest/of/it"))


async def test_a_known_port_without_ready_pods_is_empty_and_an_unknown_one_negative(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at("10.0.0.1:8080"))
        put(server, pods(unready=("10.0.0.1",)))
        await seen.until(at())
        put(server, pods("10.0.0.1", ports={"admin": 9990}))
        await seen.until(negative)
        put(server, pods("10.0.0.1"))
        await seen.until(at("10.0.0.1:8080"))
        put(server)
        await seen.until(negative)
        put(server, pods("10.0.0.1"))
        await seen.until(at("10.0.0.1:8080"))
        server.remove("endpoints", "prod", "web")
        await seen.until(negative)


async def test_a_change_of_addresses_does_not_change_the_tree(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    tree = namer_of(server).lookup(WEB)
    with Observed(tree) as trees, Observed(addresses(tree)) as seen:
        await seen.until(at("10.0.0.1:8080"))
        put(server, pods("10.0.0.2"))
        await seen.until(at("10.0.0.2:8080"))
        assert sum(isinstance(state, Ok) for state in trees.states) == 1


async def test_each_subset_has_ports_of_its_own(server: KubernetesServer) -> None:
    put(
        server,
        pods("10.0.0.1", ports={"http": 8080}),
        pods("10.0.0.2", ports={"http": 9090, "x": 1}),
        {"addresses": [{"ip": "fd00::1"}], "ports": [{"name": "http", "port": 53, "protocol": "UDP"}]},
    )
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at("10.0.0.1:8080", "10.0.0.2:9090"))


async def test_a_number_is_a_port_of_the_service(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    with Observed(addresses(namer_of(server).lookup(Path.read("/prod/80/web")))) as seen:
        await seen.until(negative)
        server.apply("services", "prod", "web", spec={"ports": [{"name": "http", "port": 80, "targetPort": "main"}]})
        await seen.until(at("10.0.0.1:8080"))
        put(server, pods("10.0.0.1", ports={"other": 1}))
        await seen.until(negative)
        server.apply("services", "prod", "web", spec={"ports": [{"name": "http", "port": 80, "targetPort": 8081}]})
        await seen.until(at("10.0.0.1:8081"))
        server.remove("endpoints", "prod", "web")
        await seen.until(at())
        server.apply("services", "prod", "web", spec={"ports": [{"port": 81}]})
        await seen.until(negative)


async def test_a_label_is_a_part_of_the_path(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"), metadata={"labels": {"version": "v1"}})
    namer = namer_of(server, label_selector="version")
    one = namer.lookup(WEB + Path.of("V1", "rest"))
    assert await leaf_of(one) == Bound(Path.read("/#/io.l5d.k8s/prod/http/web/v1"), Live(), Path.of("rest"))
    assert namer.lookup(WEB).sample() == Ok(NEG)
    with Observed(addresses(one)) as first, Observed(addresses(namer.lookup(WEB + Path.of("v2")))) as second:
        await first.until(at("10.0.0.1:8080"))
        await second.until(negative)
        put(server, pods("10.0.0.1"), metadata={"labels": {"version": "v2"}})
        await first.until(negative)
        await second.until(at("10.0.0.1:8080"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/prod",
        "/prod/http",
        r"/prod/http/a\x2fb",
        r"/prod/http/a\x2cb",
        r"/\xff/http/web",
        r"/prod/http/\xe7\xbd\x91",
    ],
)
async def test_what_can_be_no_name_is_negative_and_not_asked_for(server: KubernetesServer, path: str) -> None:
    assert namer_of(server).lookup(Path.read(path)).sample() == Ok(NEG)
    await asyncio.sleep(0.02)
    assert not server.requests


async def test_the_namespace_may_come_from_the_environment(
    server: KubernetesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = K8sNamespacedNamerKind(host="127.0.0.1", port=server.port, env_var="WHERE")
    monkeypatch.delenv("WHERE", raising=False)
    with pytest.raises(ConfigError, match="the environment variable WHERE is not set"):
        kind.namer()
    monkeypatch.setenv("WHERE", "prod")
    put(server, pods("10.0.0.1"))
    bound = await leaf_of(kind.namer().lookup(Path.read("/http/web/rest")))
    assert (bound.id, bound.residual) == (Path.read("/#/io.l5d.k8s.ns/http/web"), Path.of("rest"))


async def test_outside_the_cluster_a_service_is_its_load_balancer(server: KubernetesServer) -> None:
    def balanced(*ingress: dict[str, str]) -> None:
        spec = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
        server.apply("services", "prod", "web", spec=spec, status={"loadBalancer": {"ingress": [*ingress]}})

    namer = K8sExternalNamerKind(host="127.0.0.1", port=server.port).namer()
    named, numbered = namer.lookup(Path.read("/Prod/http/web/rest")), namer.lookup(Path.read("/prod/80/web"))
    with Observed(addresses(named)) as seen, Observed(addresses(numbered)) as other:
        await seen.until(negative)
        balanced({"ip": "203.0.113.2"}, {"hostname": "localhost", "ip": "203.0.113.3"})
        await seen.until(at("127.0.0.1:80", "203.0.113.2:80"))
        await other.until(at("127.0.0.1:80", "203.0.113.2:80"))
        assert (await leaf_of(named)).id == Path.read("/#/io.l5d.k8s.external/Prod/http/web")
        balanced()
        await seen.until(negative)
    assert len(server.asked(SERVICES)) == 1


# ── One watch, and what goes wrong ───────────────────────────────────────────────────────────────────────────────────


async def test_one_watch_serves_all_and_ends_when_nobody_is_left(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1", ports={"http": 1, "admin": 2}))
    namer = namer_of(server)
    watches = [Observed(addresses(namer.lookup(WEB))) for _ in range(5)]
    watches.append(Observed(addresses(namer.lookup(Path.read("/prod/admin/web")))))
    for watch in watches:
        watch.__enter__()
    for watch in watches:
        await watch.until(lambda state: isinstance(state, Ok))
    await server.watched(1)
    assert list(namer.state()["endpoints"]) == ["prod/web"]
    assert len(server.asked(ENDPOINTS)) == 1
    for watch in watches:
        watch.__exit__(None, None, None)
    await server.watched(0)
    assert namer.state() == {"endpoints": {}, "portMappings": {}}
    gc.collect()
    put(server, pods("10.0.0.2"))
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at("10.0.0.2:8080"))
        assert not any(at("10.0.0.1:1")(state) for state in seen.states)


BROKEN = {
    "busy": faults.answers(503),
    "forbidden": faults.answers(403, b'{"message": "endpoints is forbidden"}'),
    "no JSON": faults.answers(200, b"<html>"),
    "missing": faults.answers(404, b"404 page not found"),
    "cut": faults.cuts(b'{"items": []'),
    "half of a surrogate pair": faults.answers(
        200,
        b'{"metadata": {"resourceVersion": "2"}, "items": [{"metadata": {"name": "web", "resourceVersion": "1"},'
        b' "subsets": [{"addresses": [{"ip": "10.0.0.2", "nodeName": "\\ud800"}],'
        b' "ports": [{"name": "http", "port": 1}]}]}]}',
    ),
    "strange": faults.answers(
        200,
        b'{"metadata": {"resourceVersion": "2"}, "items": [{"metadata": {"name": "web", "resourceVersion": "1"},'
        b' "subsets": [{"addresses": [{"ip": "nowhere"}], "ports": [{"name": "http", "port": 1}]}]}]}',
    ),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
async def test_a_registry_that_fails_leaves_the_last_good_set(server: KubernetesServer, fault: Any) -> None:
    put(server, pods("10.0.0.1"))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at("10.0.0.1:8080"))
        await server.watched()
        server.fail(fault)
        async with asyncio.timeout(5):
            while namer.state()["endpoints"]["prod/web"]["watch"]["error"] is None:
                await asyncio.sleep(0.01)
        assert at("10.0.0.1:8080")(seen.now)
        server.remove("endpoints", "prod", "web")
        server.fail(None)
        # What is emptied is emptied.
        await seen.until(negative)
        assert namer.state()["endpoints"]["prod/web"]["watch"]["error"] is None
        assert namer.state()["endpoints"]["prod/web"]["watch"]["corrections"] == 0


async def test_a_registry_that_is_away_from_the_start_says_nothing_until_it_is_there(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    await server.stop()
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await asyncio.sleep(0.3)
        assert not any(isinstance(state, Ok) for state in seen.states)
        await server.start()
        await seen.until(at("10.0.0.1:8080"))


async def test_a_name_that_is_used_again_while_kubernetes_is_away_means_what_it_meant(server: KubernetesServer) -> None:
    put(server, pods("10.0.0.1"))
    web = namer_of(server).lookup(WEB)
    with Observed(addresses(web)) as seen:
        await seen.until(at("10.0.0.1:8080"))
    await server.stop()
    with Observed(addresses(web)) as seen:
        await seen.until(at("10.0.0.1:8080"))


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="labelSelector is the key of a label"):
        K8sNamerKind(label_selector="a=b")
    with pytest.raises(ValueError, match="host is a host name"):
        K8sExternalNamerKind(host="http://kubernetes")
