"""The Rancher namer against a strict metadata service on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from biandou.dtab import Path
from biandou.live import Pending
from biandou.namers.rancher import RancherNamerKind
from biandou.namers.rancher_containers import RancherNamer
from biandou.testing.observing import Observed
from tests.registries import polled as faults
from tests.registries.polled_names import addresses, at, bound_of, known, ports
from tests.registries.rancher import API, RancherServer, container

WEB = Path.read("/http/shop/web")
VERSION = f"{API}/version"
CONTAINERS = f"{API}/containers"


@pytest.fixture
async def server() -> AsyncIterator[RancherServer]:
    async with RancherServer() as server:
        yield server


def namer_of(server: RancherServer, **keys: Any) -> RancherNamer:
    return RancherNamerKind(host="127.0.0.1", port=server.port, **keys).namer()


def hosts(seen: Observed[Any]) -> list[str]:
    return [one.host for one in known(seen.now)]


async def test_running_containers_are_followed(server: RancherServer) -> None:
    server.run(
        container("Web", "10.0.0.2"), container("Web", "10.0.0.1"), container("web", "10.0.0.3", state="stopped")
    )
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(80, 80))
        assert hosts(seen) == ["10.0.0.1", "10.0.0.2"]
        await server.until_asked(VERSION)
        server.run(container("Web", "10.0.0.4"))
        await seen.until(at(80))
        assert hosts(seen) == ["10.0.0.4"]
        server.run()
        await seen.until(at())
        # An index that goes back is another one all the same.
        server.run(container("Web", "10.0.0.5"), version=1)
        await seen.until(at(80))
    assert server.asked(VERSION)[:2] == [
        {"wait": "true", "maxWait": "30", "value": "initial"},
        {"wait": "true", "maxWait": "30", "value": "2"},
    ]


@pytest.mark.parametrize(
    ("path", "port", "id_"),
    [
        ("/http/SHOP/Web/x", 80, "/http/SHOP/Web"),
        ("/https/shop/web", 443, "/https/shop/web"),
        ("/8080/shop/web", 8080, "/8080/shop/web"),
        ("/admin/shop/web", 9990, "/admin/shop/web"),
    ],
)
async def test_a_port_is_a_number_or_has_a_name(server: RancherServer, path: str, port: int, id_: str) -> None:
    server.run(container("web", "10.0.0.1"))
    namer = namer_of(server, port_mappings={"admin": 9990})
    with Observed(addresses(namer.lookup(Path.read(path)))) as seen:
        await seen.until(at(port))
    assert str((await bound_of(namer.lookup(Path.read(path)))).id) == f"/#/io.l5d.rancher{id_}"


@pytest.mark.parametrize(
    "path", ["/", "/http/shop", "/none/shop/web", "/0/shop/web", "/70000/shop/web", r"/http/\xff/a"]
)
async def test_other_names_are_negative_and_ask_nothing(server: RancherServer, path: str) -> None:
    with Observed(addresses(namer_of(server).lookup(Path.read(path)))) as seen:
        await seen.until(at())
    assert server.requests == []


async def test_a_service_that_is_not_there_is_negative(server: RancherServer) -> None:
    server.run(container("web", "10.0.0.1"))
    with Observed(addresses(namer_of(server).lookup(Path.read("/http/shop/none")))) as seen:
        await seen.until(at())


async def test_as_long_as_nothing_was_ever_known_a_name_is_pending(server: RancherServer) -> None:
    """reference/naming.md §1.13."""
    server.run(container("web", "10.0.0.1"))
    server.fail(faults.answers(500))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await server.until_asked(VERSION, 2)
        assert isinstance(seen.now, Pending)
        server.fail(None)
        await seen.until(at(80))


FAULTS = {
    "500": faults.answers(500),
    "404": faults.answers(404, b"Not found"),
    "no JSON": faults.answers(200, b"<html>"),
    "another shape": faults.answers(200, b"7.5"),
    "junk": faults.answers(200, faults.JUNK),
    "cut": faults.cuts(),
}


@pytest.mark.parametrize("where", [VERSION, CONTAINERS])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_what_is_known_stays_in_use_while_rancher_fails(
    server: RancherServer, fault: faults.Fault, where: str
) -> None:
    server.run(container("web", "10.0.0.1"))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(80))
        await server.until_asked(VERSION)
        server.fail(fault, where)
        server.run(container("web", "10.0.0.2"), container("web", "10.0.0.3"))
        await server.until_asked(where, 2)
        assert ports(seen.now) == [80]
        server.fail(None)
        await seen.until(at(80, 80), 8)
        assert namer.state()["containers"]["watch"]["error"] is None


async def test_a_connection_that_never_answers_is_given_up(server: RancherServer) -> None:
    server.run(container("web", "10.0.0.1"))
    namer = namer_of(server, max_wait=1)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(80))
        server.fail(faults.stays_silent(), times=1)
        async with asyncio.timeout(10):
            while namer.state()["containers"]["watch"]["error"] is None:
                await asyncio.sleep(0.02)
        assert ports(seen.now) == [80]


async def test_a_service_that_does_not_wait_is_not_asked_without_a_pause(server: RancherServer) -> None:
    server.waits = False
    server.run(container("web", "10.0.0.1"))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(80))
        await asyncio.sleep(0.5)
        assert len(server.asked(VERSION)) <= 3


async def test_a_change_without_a_new_version_is_found_and_counted(server: RancherServer) -> None:
    server.run(container("web", "10.0.0.1"))
    namer = namer_of(server, max_wait=1, reconcile_seconds=1)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(80))
        server.containers = [container("web", "10.0.0.1"), container("web", "10.0.0.2")]
        await seen.until(at(80, 80))
        assert namer.state()["containers"]["watch"]["corrections"] == 1


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="host"):
        RancherNamerKind(host="a b")
