"""`io.l5d.k8s` against a real API server with an etcd: the contract, and a server that is killed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from biandou.errors import StoreDown
from biandou.stores.interface import StoreKind
from biandou.stores.kubernetes import KubernetesStoreKind
from tests.stores import api_server
from tests.stores.api_server import ApiServer
from tests.stores.contract import ONE, TWO, DurableContract, refused, until

WHY = api_server.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=WHY or "")


@pytest.fixture(scope="module", name="server")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def kind_of(server: ApiServer) -> KubernetesStoreKind:
    namespace = f"test-{uuid.uuid4().hex}"
    return KubernetesStoreKind(
        host="127.0.0.1", port=server.port, namespace=namespace, service_account=str(server.account)
    )


class TestRealKubernetes(DurableContract):
    @pytest.fixture
    def kind(self, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> StoreKind:
        # A change is two requests over TLS here: a writer needs some time to get one acknowledged.
        monkeypatch.setenv("BIANDOU_KILL_SECONDS", "0.15")
        return kind_of(server)


async def test_a_server_that_is_killed_loses_nothing_and_is_followed_again(server: ApiServer, tmp_path: Path) -> None:
    kind = kind_of(server)
    store, other = kind.store(), kind.store()
    await store.start()
    await other.start()
    try:
        version = await store.create("web", ONE)
        await until(other.watch("web"), lambda known: known is not None and known.version == version)
        server.kill()
        async with asyncio.timeout(10):
            while store.trouble is None or other.trouble is None:
                await asyncio.sleep(0.01)
        await refused(store.put("web", TWO), StoreDown)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(20):
            while store.trouble is not None:
                await asyncio.sleep(0.05)
        version = await store.update("web", TWO, version)
        found = await until(other.watch("web"), lambda known: known is not None and known.dtab == TWO)
        assert found is not None
        assert found.version == version
    finally:
        await store.stop()
        await other.stop()
