"""`io.l5d.consul.interpreter`: a dtab in a key of a strict Consul on loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from biandou.dtab import Dtab, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.interpreters.consul import ConsulInterpreterKind
from biandou.live import Failed, Live, Ok, State
from biandou.namers.all import Namers
from biandou.testing.observing import Observed
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer

KEY = "namerd/dtabs/default"
PATH = f"/v1/kv/{KEY}"
TOKEN = "t0ken-1"  # noqa: S105 - nobody's


@pytest.fixture
async def server() -> AsyncIterator[ConsulServer]:
    async with ConsulServer() as server:
        yield server


def bind(server: ConsulServer, path: str, base: str = "", local: str = "", **keys: Any) -> Live[NameTree[Bound]]:
    kind = ConsulInterpreterKind(host="127.0.0.1", port=server.port, **keys)
    return kind.interpreter(Live.ok(Dtab.read(base)), Namers()).bind(Dtab.read(local), Path.read(path))


def at(host: int | None) -> Any:
    """Say whether a name comes to this host of loopback; `None` means that it is not known."""

    def wanted(state: State[NameTree[Bound]]) -> bool:
        if not isinstance(state, Ok):
            return False
        if isinstance(state.value, Leaf):
            return str(state.value.value.id) == f"/$/inet/127.0.0.{host}/8080"
        return host is None

    return wanted


def to(host: int) -> bytes:
    return f"/svc => /$/inet/127.0.0.{host} ;\n".encode()


async def test_names_are_bound_with_the_dtab_of_the_key_and_a_change_is_in_force_at_once(server: ConsulServer) -> None:
    server.put(KEY, to(1))
    with Observed(bind(server, "/svc/8080")) as name:
        await name.until(at(1))
        server.put(KEY, to(2))
        await name.until(at(2))
    assert server.asked(PATH)[0] == {"raw": "true"}


async def test_the_routers_own_dtab_and_then_the_requests_override_the_key(server: ConsulServer) -> None:
    server.put(KEY, to(1))
    with Observed(bind(server, "/svc/8080", to(2).decode())) as name:
        await name.until(at(2))
    with Observed(bind(server, "/svc/8080", to(2).decode(), to(3).decode())) as name:
        await name.until(at(3))


async def test_a_key_that_is_missing_or_removed_is_an_empty_dtab(server: ConsulServer) -> None:
    with Observed(bind(server, "/svc/8080")) as name:
        await name.until(at(None))
        server.put(KEY, to(1))
        await name.until(at(1))
        server.delete(KEY)
        await name.until(at(None))


@pytest.mark.parametrize("text", [b"/svc => (", b"\xff"])
async def test_what_is_no_dtab_leaves_the_last_good_one_and_is_a_failure_until_there_is_one(
    server: ConsulServer, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(KEY, text)
    with Observed(bind(server, "/svc/8080")) as name, caplog.at_level(logging.WARNING):
        await name.until(lambda state: isinstance(state, Failed))
        server.put(KEY, to(1))
        await name.until(at(1))
        server.put(KEY, text)
        async with asyncio.timeout(5):
            while "the last good dtab stays in force" not in caplog.text:
                await asyncio.sleep(0.01)
        assert at(1)(name.now)


async def test_while_consul_is_away_the_last_good_dtab_stays_also_for_who_comes_back(server: ConsulServer) -> None:
    server.put(KEY, to(1))
    live = bind(server, "/svc/8080")
    with Observed(live) as name:
        await name.until(at(1))
        await server.stop()
        await asyncio.sleep(0.2)
        assert at(1)(name.now)
    with Observed(live) as name:
        await name.until(at(1))
        server.put(KEY, to(2))
        await server.start()
        await name.until(at(2))


async def test_who_comes_back_is_told_only_what_is_known_now(server: ConsulServer) -> None:
    server.put(KEY, to(1))
    live = bind(server, "/svc/8080")
    with Observed(live) as name:
        await name.until(at(1))
    server.put(KEY, to(2))
    with Observed(live) as name:
        await name.until(at(2))
        assert not any(at(1)(state) for state in name.states)


async def test_before_the_first_answer_a_failure_is_told_and_logged_once(
    server: ConsulServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(KEY, to(1))
    server.fail(faults.answers(403, b"ACL not found"))
    with Observed(bind(server, "/svc/8080")) as name, caplog.at_level(logging.INFO):
        await name.until(lambda state: isinstance(state, Failed))
        await asyncio.sleep(0.4)
        assert len(caplog.records) == 1
        server.fail(None)
        await name.until(at(1))


async def test_its_keys_say_what_is_asked_for() -> None:
    async with ConsulServer(token=TOKEN, dc="dc7") as server:
        server.put("a b/web", to(1))
        keys = {"path_prefix": "/a b", "namespace": "web", "datacenter": "dc7", "token": TOKEN}
        with Observed(bind(server, "/svc/8080", read_consistency_mode="stale", **keys)) as name:
            await name.until(at(1))
        assert server.requests[0][1:] == ("/v1/kv/a b/web", {"stale": "true", "dc": "dc7", "raw": "true"})


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="pathPrefix begins with a slash"):
        ConsulInterpreterKind(path_prefix="dtabs")
    with pytest.raises(ValueError, match="a namespace has a name without slashes"):
        ConsulInterpreterKind(namespace="a/b")
