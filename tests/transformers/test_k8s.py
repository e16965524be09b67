"""`io.l5d.k8s.localnode` and `io.l5d.k8s.daemonset`: on live addresses, and against a strict API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from biandou.config import linker
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import NODE, Address, Addresses, AddressSet, Bound, LocalStatus, Negative, Origin
from biandou.errors import ConfigError
from biandou.live import Live, Ok, Pending, Source, State
from biandou.testing.observing import Observed
from biandou.transformers.assembly import assemble_namers
from biandou.transformers.k8s_daemonset import DaemonSetTransformerKind
from biandou.transformers.k8s_localnode import LocalNodeTransformerKind
from tests.registries.kubernetes import KubernetesServer

ID = Path.read("/#/io.l5d.k8s/prod/http/web")
Tree = NameTree[Bound]


def interpret(_path: Path) -> Live[Tree]:
    raise AssertionError("neither asks other namers")


def at(host: str, node: str | None = None, port: int = 80) -> Address:
    return Address(host, port, {} if node is None else {NODE: node})


def one(addresses: Live[Addresses]) -> Live[Tree]:
    return Live.ok(Leaf(Bound(ID, addresses, Path.of("rest"))))


def leaf(state: State[Tree]) -> Bound:
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    bound: Bound = state.value.value
    return bound


def addresses(tree: Live[Tree]) -> Live[Addresses]:
    return tree.flat_map(lambda bound: leaf(Ok(bound)).addresses)


def known(*wanted: str) -> Callable[[State[Addresses]], bool]:
    return lambda state: (
        isinstance(state, Ok)
        and isinstance(state.value, AddressSet)
        and [str(address) for address in state.value.addresses] == [*wanted]
    )


def negative(state: State[Addresses]) -> bool:
    return state == Ok(Negative())


# ── localnode ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_host_network_the_pods_network_is_this_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    origin = Origin("a registry")
    found = AddressSet((at("10.1.2.9"), at("10.1.3.3"), at("::1"), at("10.1.2.3")), {"authority": "a"}, origin)
    bound = leaf(LocalNodeTransformerKind().transformer(interpret).apply(one(Live.ok(found))).sample())
    assert str(bound.id) == "/%/io.l5d.k8s.localnode/10.1.2.3/#/io.l5d.k8s/prod/http/web"
    kept = bound.addresses.sample()
    assert kept == Ok(AddressSet((at("10.1.2.9"), at("10.1.2.3")), {"authority": "a"}))
    assert isinstance(kept, Ok)
    assert isinstance(kept.value, AddressSet)
    assert kept.value.origin is origin
    assert kept.value.meta == {"authority": "a"}


def test_with_host_network_the_nodes_name_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "n1")
    found = AddressSet((at("10.1.2.9", "n1"), at("10.1.2.8", "n2"), at("10.1.2.7")))
    transformer = LocalNodeTransformerKind(host_network=True).transformer(interpret)
    bound = leaf(transformer.apply(one(Live.ok(found))).sample())
    assert str(bound.id) == "/%/io.l5d.k8s.localnode/n1/#/io.l5d.k8s/prod/http/web"
    assert bound.addresses.sample() == Ok(AddressSet((at("10.1.2.9", "n1"),)))


def test_what_leaves_nothing_is_negative_and_what_is_no_address_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    transformer = LocalNodeTransformerKind(prefix="/here").transformer(interpret)
    for found, wanted in (
        (AddressSet((at("10.9.9.9"),)), Negative()),
        (Negative(), Negative()),
        (LocalStatus(503), LocalStatus(503)),
    ):
        bound = leaf(transformer.apply(one(Live.ok(found))).sample())
        assert str(bound.id) == "/%/here/#/io.l5d.k8s/prod/http/web"
        assert bound.addresses.sample() == Ok(wanted)


@pytest.mark.parametrize(
    ("kind", "environment", "said"),
    [
        (LocalNodeTransformerKind(), {}, "the environment variable POD_IP is not set"),
        (LocalNodeTransformerKind(host_network=True), {}, "the environment variable NODE_NAME is not set"),
        (LocalNodeTransformerKind(), {"POD_IP": "n1"}, "POD_IP is no IP address: n1"),
    ],
)
def test_without_its_variable_it_can_t_start(
    kind: LocalNodeTransformerKind, environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POD_IP", "NODE_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        kind.transformer(interpret)


# ── daemonset ────────────────────────────────────────────────────────────────────────────────────────────────────────


def daemonset(server: KubernetesServer, **keys: Any) -> DaemonSetTransformerKind:
    return DaemonSetTransformerKind(
        namespace="mesh", service="l5d", port="incoming", k8s_host="127.0.0.1", k8s_port=server.port, **keys
    )


def put(server: KubernetesServer, *pods: tuple[str, str]) -> None:
    server.apply(
        "endpoints",
        "mesh",
        "l5d",
        subsets=[
            {
                "addresses": [{"ip": ip, "nodeName": node} for ip, node in pods] or None,
                "ports": [{"name": "incoming", "port": 4141}],
            }
        ],
    )


async def test_each_endpoint_becomes_the_pod_in_its_network() -> None:
    found: Source[Addresses] = Source(Ok(AddressSet((at("10.1.1.5"), at("10.1.2.5"), at("10.1.1.6")), {"a": 1})))
    async with KubernetesServer() as server:
        put(server, ("10.1.1.1", "n1"), ("10.1.2.1", "n2"), ("10.1.3.1", "n3"))
        tree = daemonset(server).transformer(interpret).apply(one(found))
        with Observed(addresses(tree)) as seen:
            assert isinstance(seen.now, Pending), "as long as nothing is known of the daemonset"
            state = await seen.until(known("10.1.1.1:4141", "10.1.2.1:4141"))
            assert state == Ok(AddressSet((at("10.1.1.1", "n1", 4141), at("10.1.2.1", "n2", 4141)), {"a": 1}))
            put(server, ("10.1.1.1", "n1"), ("10.1.3.1", "n3"))
            await seen.until(known("10.1.1.1:4141"))
            found.set(AddressSet((at("10.1.3.9"),)))
            await seen.until(known("10.1.3.1:4141"))
            found.set(AddressSet((at("10.1.4.9"),)))
            await seen.until(negative)
            found.set(AddressSet((at("::1"), at("10.1.1.9"))))
            await seen.until(known("10.1.1.1:4141"))
            server.remove("endpoints", "mesh", "l5d")
            await seen.until(negative)
            found.set(LocalStatus(503))
            await seen.until(lambda state: state == Ok(LocalStatus(503)))


async def test_with_host_network_the_nodes_names_decide_and_no_name_is_no_node() -> None:
    found: Source[Addresses] = Source(Ok(AddressSet((at("10.1.1.5", "n2"), at("10.1.1.6")))))
    async with KubernetesServer() as server:
        put(server, ("10.1.1.1", "n1"), ("10.1.1.2", "n2"), ("10.1.1.3", ""))
        with Observed(daemonset(server, host_network=True).transformer(interpret).apply(one(found))) as trees:
            bound = leaf(await trees.until(lambda state: isinstance(state, Ok)))
            assert str(bound.id) == "/%/io.l5d.k8s.daemonset/mesh/incoming/l5d/#/io.l5d.k8s/prod/http/web"
            assert bound.residual == Path.of("rest")
            with Observed(bound.addresses) as seen:
                await seen.until(known("10.1.1.2:4141"))
                found.set(AddressSet((at("10.1.1.6"),)))
                await seen.until(negative)


async def test_a_tree_that_is_no_leaf_stays_and_changes_of_the_daemonset_change_no_tree() -> None:
    trees: Source[Tree] = Source(Ok(NEG))
    async with KubernetesServer() as server:
        put(server, ("10.1.1.1", "n1"))
        with Observed(daemonset(server).transformer(interpret).apply(trees)) as seen:
            await seen.until(lambda state: state == Ok(NEG))
            trees.set(Leaf(Bound(ID, Live())))
            await server.watched()
            before = len(seen.states)
            put(server, ("10.1.1.1", "n1"), ("10.1.2.1", "n1"))
            bound = leaf(seen.now)
            with Observed(addresses(Live.ok(Leaf(bound)))):
                assert len(seen.states) == before


async def test_a_namers_transformers_combine_in_the_order_of_the_list(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first wraps the source, the later ones its result: ids are stacked outermost first."""
    monkeypatch.setenv("POD_IP", "10.1.1.9")
    (tmp_path / "web").write_text("10.1.1.5 80\n10.1.2.5 80\n")
    async with KubernetesServer() as server:
        put(server, ("10.1.1.1", "n1"), ("10.1.2.1", "n2"))
        config = linker.parse(
            f"""
namers:
- kind: io.l5d.fs
  rootDir: {tmp_path}
  transformers:
  - kind: io.l5d.k8s.daemonset
    namespace: mesh
    service: l5d
    port: incoming
    k8sHost: 127.0.0.1
    k8sPort: {server.port}
  - kind: io.l5d.k8s.localnode
  - kind: io.l5d.port
    port: 5
routers:
- protocol: http
  servers: [{{}}]
""",
            "test",
        )
        names = assemble_namers(config.namers)
        with Observed(names.interpret(Path.read("/#/io.l5d.fs/web"))) as trees:
            bound = leaf(await trees.until(lambda state: isinstance(state, Ok)))
            assert str(bound.id) == (
                "/%/io.l5d.port/5/%/io.l5d.k8s.localnode/10.1.1.9/%/io.l5d.k8s.daemonset/mesh/incoming/l5d"
                "/#/io.l5d.fs/web"
            )
            with Observed(bound.addresses) as seen:
                await seen.until(known("10.1.1.1:5"))


@pytest.mark.parametrize(
    "keys",
    [{}, {"service": ""}, {"k8sPort": 0}, {"k8sHost": "a/b"}, {"prefix": "x"}, {"hostNetwork": "maybe"}, {"x": 1}],
)
def test_mistakes_are_refused_when_read(keys: dict[str, Any]) -> None:
    written = {"kind": "io.l5d.k8s.daemonset", "namespace": "a", "service": "b", **({"port": "c"} if keys else {})}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**written, **keys}, DaemonSetTransformerKind)


def test_a_port_may_be_written_as_a_number() -> None:
    config = linker.parse(
        """
routers:
- protocol: http
  interpreter:
    kind: default
    transformers:
    - {kind: io.l5d.k8s.daemonset, namespace: a, service: b, port: 4141}
  servers: [{}]
""",
        "test",
    )
    (kind,) = config.routers[0].interpreter.transformers
    assert str(kind.full_prefix) == "/%/io.l5d.k8s.daemonset/a/4141/b"
