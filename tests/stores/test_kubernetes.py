"""`io.l5d.k8s` against a strict API server on loopback: the contract, and one that is away, broken or restored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from biandou.dtab import Dtab
from biandou.errors import ConfigError, StaleVersion, StoreDown, StoreError, StoreForbidden, TooLarge
from biandou.live import Failed, Live, Ok, Pending
from biandou.stores.interface import Store, StoreKind, Versioned
from biandou.stores.kubernetes import KubernetesStoreKind
from biandou.stores.kubernetes_objects import KubernetesStore
from tests.registries import kubernetes_faults as faults
from tests.registries.kubernetes import KubernetesServer
from tests.stores.contract import ONE, THREE, TWO, DurableContract, refused, until

PATH = "/apis/l5d.io/v1alpha1/namespaces/default/dtabs"


@pytest.fixture
async def server() -> AsyncIterator[KubernetesServer]:
    async with KubernetesServer() as server:
        yield server


def kind_of(server: KubernetesServer, **keys: Any) -> KubernetesStoreKind:
    return KubernetesStoreKind(host="127.0.0.1", port=server.port, **keys)


class TestKubernetes(DurableContract):
    @pytest.fixture
    def kind(self, server: KubernetesServer) -> StoreKind:
        return kind_of(server)


@asynccontextmanager
async def opened(server: KubernetesServer, **keys: Any) -> AsyncIterator[KubernetesStore]:
    store = kind_of(server, **keys).store()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def shows(store: Store, namespace: str, dtab: Dtab | None) -> Versioned | None:
    return await until(store.watch(namespace), lambda known: (None if known is None else known.dtab) == dtab)


async def in_trouble(store: KubernetesStore, wanted: bool = True) -> None:
    async with asyncio.timeout(10):
        while (store.trouble is not None) != wanted:
            await asyncio.sleep(0.01)


def now(live: Live[Versioned | None]) -> Dtab | None:
    state = live.sample()
    assert isinstance(state, Ok)
    return None if state.value is None else state.value.dtab


# ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dtab_is_an_object_as_a_namerd_of_linkerd_wrote_it_and_its_version_the_objects(
    server: KubernetesServer,
) -> None:
    async with opened(server, namespace="mesh") as store:
        version = await store.create("web", TWO)
        found = server.state.get("dtabs", "mesh", "web")
        assert found["dentries"] == [
            {"prefix": "/svc", "dst": "/two | /three"},
            {"prefix": "/host/*", "dst": "0.333*/a & 0.667*/b"},
        ]
        assert version == found["metadata"]["resourceVersion"].encode()


async def test_what_somebody_else_writes_is_seen_and_what_is_no_dtab_fails_alone(server: KubernetesServer) -> None:
    async with opened(server) as store:
        version = server.apply("dtabs", "default", "web", dentries=[{"prefix": "/svc", "dst": "/one"}])
        found = await shows(store, "web", ONE)
        assert found is not None
        assert found.version == str(version).encode()
        server.apply("dtabs", "default", "empty", dentries=None)
        await shows(store, "empty", Dtab())
        for name, wrong in enumerate([{}, "/svc => /one", [7], [{"prefix": "/a"}], [{"prefix": "/a", "dst": "b"}]]):
            server.apply("dtabs", "default", f"broken{name}", dentries=wrong)
            await until(store.namespaces(), lambda names, name=name: f"broken{name}" in names)  # type: ignore[misc]
            assert isinstance(store.watch(f"broken{name}").sample(), Failed)
        await store.put("broken1", TWO)
        await shows(store, "broken1", TWO)
        server.remove("dtabs", "default", "web")
        await shows(store, "web", None)


async def test_a_change_leaves_the_rest_of_the_object_as_it_was(server: KubernetesServer) -> None:
    async with opened(server) as store:
        labels = {"team": "mesh"}
        server.apply("dtabs", "default", "web", dentries=[], metadata={"labels": labels})
        found = await shows(store, "web", Dtab())
        assert found is not None
        await store.update("web", ONE, found.version)
        await store.put("web", TWO)
        assert server.state.get("dtabs", "default", "web")["metadata"]["labels"] == labels


async def test_a_namespace_that_is_no_name_of_kubernetes_is_kept_under_a_hash(server: KubernetesServer) -> None:
    names = {"~canary~default", "Web", "a" * 255, "网", "biandou-x", "a_b", "-"}
    async with opened(server) as store, opened(server) as other:
        for name in names:
            await store.create(name, ONE)
            await shows(other, name, ONE)
        assert await until(other.namespaces(), lambda known: len(known) == len(names)) == names
        assert all(found["metadata"]["name"].startswith("biandou-") for found in server.state.below("dtabs", "default"))
        await other.delete("Web")
        await shows(store, "Web", None)
        # Nobody can have a name that hashes to another.
        server.apply("dtabs", "default", "forged", metadata={"annotations": {"biandou.l5d.io/namespace": "Web"}})
        await shows(store, "forged", Dtab())
        assert now(store.watch("Web")) is None


async def test_what_etcd_would_not_take_is_too_large(server: KubernetesServer) -> None:
    async with opened(server) as store:
        await refused(store.put("big", Dtab.read(f"/svc => /{'x' * 1_100_000}")), TooLarge)


async def test_a_put_begins_again_when_somebody_else_was_faster(server: KubernetesServer) -> None:
    async with opened(server) as one, opened(server) as other:
        dtabs = [Dtab.read(f"/svc => /{number}") for number in range(4)]
        await asyncio.gather(*(store.put("web", dtab) for store in (one, other) for dtab in dtabs))
        found = server.state.get("dtabs", "default", "web")
        assert found["dentries"][0]["dst"] in {f"/{number}" for number in range(4)}
        await until(one.watch("web"), lambda known: known == now_versioned(other))


def now_versioned(store: Store) -> Versioned | None:
    state = store.watch("web").sample()
    return state.value if isinstance(state, Ok) else None


# ── Freshness ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_happened_in_a_long_absence_is_learnt(server: KubernetesServer) -> None:
    server.apply("dtabs", "default", "a", dentries=[{"prefix": "/svc", "dst": "/one"}])
    server.apply("dtabs", "default", "b", dentries=[{"prefix": "/svc", "dst": "/one"}])
    async with opened(server) as store:
        await shows(store, "b", ONE)
        await server.stop()
        await in_trouble(store)
        server.remove("dtabs", "default", "b")
        server.apply("dtabs", "default", "a", dentries=[{"prefix": "/svc", "dst": "!"}])
        server.state.forget()
        await server.start()
        await shows(store, "b", None)
        await shows(store, "a", THREE)


async def test_a_cluster_that_was_restored_from_a_backup_is_followed(server: KubernetesServer) -> None:
    server.apply("dtabs", "default", "a", dentries=[{"prefix": "/svc", "dst": "/one"}])
    backup = server.state.copied()
    for dst in ("/two", "/three", "!"):
        server.apply("dtabs", "default", "a", dentries=[{"prefix": "/svc", "dst": dst}])
    server.apply("dtabs", "default", "b", dentries=[])
    async with opened(server) as store:
        await shows(store, "a", THREE)
        await server.watched()
        server.restore(backup)
        found = await shows(store, "a", ONE)
        await shows(store, "b", None)
        assert found is not None
        await store.update("a", TWO, found.version)
        server.apply("dtabs", "default", "a", dentries=[{"prefix": "/svc", "dst": "!"}])
        await shows(store, "a", THREE)


# ── What is no good ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_kubernetes_reads_tell_what_was_known_and_changes_fail_at_once(server: KubernetesServer) -> None:
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


async def test_a_resource_that_nobody_has_defined_is_told_and_waited_for(server: KubernetesServer) -> None:
    defined = server.kinds.pop("/apis/l5d.io/v1alpha1")
    async with opened(server) as store:
        assert store.trouble is not None
        assert "is the custom resource dtabs.l5d.io defined?" in store.trouble
        assert isinstance(store.watch("web").sample(), Pending)
        await refused(store.create("web", ONE), StoreDown)
        server.kinds["/apis/l5d.io/v1alpha1"] = defined
        assert await until(store.watch("web"), lambda _: True) is None
        await store.create("web", ONE)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.answers(503, b"etcd is away"), StoreDown),
        (faults.answers(429, b"later"), StoreDown),
        (faults.answers(403, b'{"message": "dtabs.l5d.io is forbidden"}'), StoreForbidden),
        (faults.answers(401, b"Unauthorized"), StoreForbidden),
        (faults.answers(422, b"Invalid"), StoreError),
        (faults.answers(200, b"junk"), StoreError),
        (faults.answers(200, b"{}"), StoreError),
        (faults.cuts(b"{"), StoreDown),
    ],
)
async def test_a_change_that_kubernetes_does_not_make_says_why_and_shows_nothing(
    server: KubernetesServer, fault: Any, error: type[StoreError]
) -> None:
    async with opened(server) as store:
        server.fail(fault, f"{PATH}/web", cut=False)
        await refused(store.put("web", ONE), error)
        await refused(store.update("web", ONE, b"1"), error)
        assert now(store.watch("web")) is None
        server.fail(None, cut=False)
        await store.put("web", ONE)


async def test_a_service_account_is_asked_for_its_token(tmp_path: Path) -> None:
    faults.authority(tmp_path)
    (tmp_path / "token").write_text("t0ken-1")
    async with KubernetesServer(tokens={"t0ken-1"}, tls=faults.serving(tmp_path)) as server:
        async with opened(server, service_account=str(tmp_path)) as store:
            version = await store.create("web", ONE)
            await refused(store.update("web", TWO, b"7"), StaleVersion)
            await store.update("web", TWO, version)
        assert set(server.presented) == {"Bearer t0ken-1"}


def test_mistakes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="host is a host name"):
        KubernetesStoreKind(host="a:b/c")
    with pytest.raises(ValueError, match="namespace is the name"):
        KubernetesStoreKind(namespace="a/b")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        KubernetesStoreKind(service_account="/nowhere").store()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "https")
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_PORT is no port"):
        KubernetesStoreKind(service_account="/nowhere").store()
