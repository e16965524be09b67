"""`io.l5d.k8s.configMap`: a dtab in a ConfigMap, against a strict API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from biandou.dtab import NEG, Dtab, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.interpreters.k8s_config_map import ConfigMapInterpreterKind
from biandou.live import Live, Ok, Pending, Source, State
from biandou.namers.all import Namers
from biandou.testing.observing import Observed
from tests.registries import kubernetes_faults as faults
from tests.registries.kubernetes import KubernetesServer

CONFIG_MAPS = "/api/v1/namespaces/prod/configmaps"


@pytest.fixture
async def server() -> AsyncIterator[KubernetesServer]:
    async with KubernetesServer() as server:
        yield server


def bind(server: KubernetesServer, base: Live[Dtab] | None = None, local: str = "") -> Live[NameTree[Bound]]:
    kind = ConfigMapInterpreterKind(
        name="routes", filename="dtab", namespace="prod", host="127.0.0.1", port=server.port
    )
    return kind.interpreter(base or Live.ok(Dtab()), Namers()).bind(Dtab.read(local), Path.read("/svc/8080"))


def put(server: KubernetesServer, **data: str) -> None:
    server.apply("configmaps", "prod", "routes", data=data or None)


def to(host: str) -> Any:
    def so(state: State[NameTree[Bound]]) -> bool:
        if isinstance(state, Ok) and isinstance(state.value, Leaf):
            return str(state.value.value.id) == f"/$/inet/{host}/8080"
        return False

    return so


def nowhere(state: State[NameTree[Bound]]) -> bool:
    return state == Ok(NEG)


async def test_names_are_bound_with_the_dtab_of_the_config_map_as_it_changes(server: KubernetesServer) -> None:
    put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
    with Observed(bind(server)) as name:
        await name.until(to("127.0.0.1"))
        put(server, dtab="/svc => /$/inet/127.0.0.2 ;", other="(")
        await name.until(to("127.0.0.2"))
    assert server.asked(CONFIG_MAPS) == [{"fieldSelector": "metadata.name=routes"}]


async def test_the_routers_own_dtab_and_then_the_requests_override_it(server: KubernetesServer) -> None:
    put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
    base = Source[Dtab](Ok(Dtab.read("/svc => /$/inet/127.0.0.3 ;")))
    with Observed(bind(server, base)) as name:
        await name.until(to("127.0.0.3"))
        base.set(Dtab())
        await name.until(to("127.0.0.1"))
    with Observed(bind(server, base, "/svc => /$/inet/127.0.0.4 ;")) as name:
        await name.until(to("127.0.0.4"))


async def test_what_is_not_there_is_an_empty_dtab_until_it_is(
    server: KubernetesServer, caplog: pytest.LogCaptureFixture
) -> None:
    with Observed(bind(server)) as name, caplog.at_level(logging.WARNING, "biandou"):
        await name.until(nowhere)
        assert "prod/routes/dtab: there is no such ConfigMap" in caplog.text
        put(server, other="/svc => /$/inet/127.0.0.1 ;")
        put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
        await name.until(to("127.0.0.1"))
        put(server)
        await name.until(nowhere)
        assert "the ConfigMap holds no dtab" in caplog.text
        put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
        await name.until(to("127.0.0.1"))
        server.remove("configmaps", "prod", "routes")
        await name.until(nowhere)


async def test_a_mistake_leaves_the_last_good_dtab_and_before_one_the_routers_own(
    server: KubernetesServer, caplog: pytest.LogCaptureFixture
) -> None:
    put(server, dtab="/svc => /a ;\n/svc/web => (")
    base = Live.ok(Dtab.read("/svc => /$/inet/127.0.0.3 ;"))
    with Observed(bind(server, base)) as name, caplog.at_level(logging.WARNING, "biandou"):
        await name.until(to("127.0.0.3"))
        assert "prod/routes/dtab:2:" in caplog.text
    put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
    with Observed(bind(server)) as name:
        await name.until(to("127.0.0.1"))
        put(server, dtab="(")
        put(server, dtab="/svc => /$/inet/127.0.0.2 ;")
        await name.until(to("127.0.0.2"))
        assert [state for state in name.states if nowhere(state)] == []


async def test_kubernetes_may_be_away_and_answer_with_junk(server: KubernetesServer) -> None:
    put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
    with Observed(bind(server)) as name:
        await name.until(to("127.0.0.1"))
        for fault in (faults.answers(503), faults.answers(200, b"{}"), faults.cuts(b"{")):
            server.fail(fault)
            await asyncio.sleep(0.15)
            assert to("127.0.0.1")(name.now)
        server.fail(None)
        server.apply("configmaps", "prod", "routes", data=["no", "texts"])
        await asyncio.sleep(0.15)
        assert to("127.0.0.1")(name.now)
        put(server, dtab="/svc => /$/inet/127.0.0.2 ;")
        await name.until(to("127.0.0.2"), 12)


async def test_as_long_as_nothing_was_known_names_wait(server: KubernetesServer) -> None:
    server.fail(faults.answers(503))
    put(server, dtab="/svc => /$/inet/127.0.0.1 ;")
    with Observed(bind(server)) as name:
        await asyncio.sleep(0.2)
        assert isinstance(name.now, Pending)
        server.fail(None)
        await name.until(to("127.0.0.1"), 12)


@pytest.mark.parametrize("keys", [{"name": "a"}, {"filename": "a"}, {"name": "", "filename": "a"}, {"port": 0}])
def test_mistakes_are_refused_when_read(keys: dict[str, Any]) -> None:
    whole = {"name": "a", "filename": "b"} if "port" in keys else {}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "io.l5d.k8s.configMap", **whole, **keys}, ConfigMapInterpreterKind)


def test_a_name_that_kubernetes_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be the name of a ConfigMap"):
        ConfigMapInterpreterKind(name="A_b", filename="x").interpreter(Live.ok(Dtab()), Namers())
