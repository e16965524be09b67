"""The Nacos namer against strict Nacoses on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from biandou.dtab import Path
from biandou.live import Failed
from biandou.namers.nacos import NacosNamerKind
from biandou.namers.nacos_services import NacosNamer
from biandou.testing.observing import Observed
from tests.registries import polled as faults
from tests.registries.nacos import NacosServer, host
from tests.registries.polled_names import addresses, at, bound_of, known, ports

WEB = Path.read("/web")
LIST = "/nacos/v2/ns/instance/list"
LOGIN = "/nacos/v1/auth/login"
USER = {"username": "me", "password": "s3cret&="}
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


def namer_of(*servers: NacosServer, **keys: Any) -> NacosNamer:
    urls = tuple(f"http://127.0.0.1:{server.port}/nacos" for server in servers)
    return NacosNamerKind(**{"servers": urls, "ttl_ms": 100, "jitter_ms": 10, **keys}).namer()


@VERSIONS
async def test_a_service_is_followed(version: str) -> None:
    async with NacosServer(version=version) as server:
        server.register("web", host(1), host(2, healthy=False), host(3, enabled=False), host(4, weight=0))
        with Observed(addresses(namer_of(server, api_version=version).lookup(WEB))) as seen:
            await seen.until(at(1))
            server.register("web", host(1, weight=0.5), host(2))
            assert [one.weight for one in known(await seen.until(at(1, 2)))] == [0.5, 1.0]
            server.register("web")
            await seen.until(at())
            server.register("web", host(5))
            await seen.until(at(5))


@VERSIONS
async def test_a_name_is_of_a_namespace_a_group_and_clusters(version: str) -> None:
    async with NacosServer(version=version) as server:
        server.register("web", host(1), group="shop", namespace="n1")
        server.register("web", host(2), {**host(4), "clusterName": "far"}, group="DEFAULT_GROUP", namespace="n1")
        keys: dict[str, Any] = {"api_version": version, "namespace": "n1"}
        wanted: list[tuple[str, dict[str, Any], int]] = [
            ("web", {"group": "shop"}, 1),
            ("shop@@web", {}, 1),
            ("web", {"clusters": ("far",)}, 4),
        ]
        for name, more, port in wanted:
            with Observed(addresses(namer_of(server, **keys, **more).lookup(Path.of(name)))) as seen:
                await seen.until(at(port))
        for path in (Path.of("none"), Path.of("@@web"), Path.of("a@@b@@c"), Path.of(b"\xff"), Path()):
            with Observed(addresses(namer_of(server, **keys).lookup(path))) as seen:
                await seen.until(at())
        bound = await bound_of(namer_of(server, **keys).lookup(Path.read("/web/x")))
        assert (str(bound.id), str(bound.residual)) == ("/#/io.biandou.nacos/web", "/x")


async def test_metadata_is_passed_on_if_wanted() -> None:
    async with NacosServer() as server:
        server.register("web", host(1, zone="a"))
        with Observed(addresses(namer_of(server, transfer_metadata=True).lookup(WEB))) as seen:
            assert dict(known(await seen.until(at(1)))[0].meta) == {"zone": "a", "endpoint_addr_weight": 1.0}


def test_the_server_says_how_often_it_is_asked_unless_we_are_told() -> None:
    namer = NacosNamerKind().namer()
    assert 9.5 <= namer.wait(0) <= 10.5
    for told, least, most in ((3000.0, 2.5, 3.5), (1.0, 0.5, 1.5), (1e12, 29.5, 30.5), (float("inf"), 9.5, 10.5)):
        namer._cache_millis = told
        assert least <= namer.wait(0) <= most
    assert NacosNamerKind(ttl_ms=100, jitter_ms=0).namer().wait(0) == 0.1


@pytest.mark.parametrize(("version", "by_code"), [("v1", False), ("v2", False), ("v2", True)])
async def test_a_token_is_got_and_got_anew_when_it_is_refused(version: str, by_code: bool) -> None:
    async with NacosServer(version=version, user=("me", "s3cret&=")) as server:
        server.denies_by_code = by_code
        server.register("web", host(1))
        with Observed(addresses(namer_of(server, api_version=version, **USER).lookup(WEB))) as seen:
            await seen.until(at(1))
            server.tokens.clear()
            server.register("web", host(2))
            await seen.until(at(2))
            assert server.logins == 2


async def test_a_token_is_renewed_before_it_is_over() -> None:
    async with NacosServer(user=("me", "s3cret&=")) as server:
        server.token_ttl = 1
        server.register("web", host(1))
        with Observed(addresses(namer_of(server, **USER).lookup(WEB))) as seen:
            await seen.until(at(1))
            await server.until_asked(LOGIN, 1)
            assert ports(seen.now) == [1]


async def test_secrets_are_in_no_log_and_on_no_page(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "biandou")
    async with NacosServer(user=("me", "s3cret&=")) as server:
        server.register("web", host(1))
        namer = namer_of(server, **USER)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            for fault in (faults.cuts(), faults.answers(500), faults.answers(400, b"x")):
                server.fail(fault, LIST, 1)
                async with asyncio.timeout(5):
                    while namer.state()["DEFAULT_GROUP@@web"]["watch"]["error"] is None:
                        await asyncio.sleep(0.01)
                shown = json.dumps(namer.state())
                assert "s3cret" not in shown
                assert "token1" not in shown
                await server.until_asked(LIST, 2)
    assert "s3cret" not in caplog.text
    assert "token1" not in caplog.text


async def test_a_wrong_password_fails_the_name() -> None:
    async with NacosServer(user=("me", "another")) as server:
        with Observed(addresses(namer_of(server, **USER).lookup(WEB))) as seen:
            state = await seen.until(lambda state: isinstance(state, Failed))
            assert isinstance(state, Failed)
            assert "login: 403" in str(state.error)


async def test_the_next_server_is_asked_when_one_is_away() -> None:
    async with NacosServer() as first, NacosServer() as second:
        first.register("web", host(1))
        second.register("web", host(2))
        with Observed(addresses(namer_of(first, second).lookup(WEB))) as seen:
            await seen.until(at(1))
            await first.stop()
            await seen.until(at(2))
            await first.start()
            second.fail(faults.answers(500))
            await seen.until(at(1))


FAULTS = {
    "500": faults.answers(500, b"no"),
    "403": faults.answers(403),
    "404 of a proxy": faults.answers(404, b"<html>Not Found</html>"),
    "404 of Spring": faults.answers(404, b'{"status": 404, "error": "Not Found", "path": "/nacos"}'),
    "no JSON": faults.answers(200, b"<html>"),
    "a code": faults.answers(200, b'{"code": 30000, "message": "server error", "data": null}'),
    "no hosts": faults.answers(200, b'{"code": 0, "message": "success", "data": {}}'),
    "no data": faults.answers(200, b'{"code": 0, "message": "success"}'),
    "another shape": faults.answers(200, b'{"code": 0, "data": {"hosts": [{"ip": 7}]}}'),
    "junk": faults.answers(200, faults.JUNK),
    "cut": faults.cuts(),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_what_is_known_stays_in_use_while_nacos_fails(fault: faults.Fault) -> None:
    async with NacosServer() as server:
        server.register("web", host(1))
        namer = namer_of(server)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            server.fail(fault)
            await server.until_asked(LIST, 3)
            assert ports(seen.now) == [1]
            assert namer.state()["DEFAULT_GROUP@@web"]["watch"]["error"]
            server.register("web", host(2))
            server.fail(None)
            await seen.until(at(2))
            assert all(ports(state) in ([1], [2], None) for state in seen.states)


async def test_a_404_with_nacos_own_code_is_a_service_that_is_not_there() -> None:
    async with NacosServer() as server:
        server.register("web", host(1))
        with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
            await seen.until(at(1))
            server.fail(faults.answers(404, b'{"code": 20004, "message": "resource not found", "data": null}'))
            await seen.until(at())


async def test_a_404_of_version_1_is_a_failure() -> None:
    async with NacosServer(version="v1") as server:
        server.register("web", host(1))
        with Observed(addresses(namer_of(server, api_version="v1").lookup(WEB))) as seen:
            await seen.until(at(1))
            server.fail(faults.answers(404, b"Not Found"))
            await server.until_asked("/nacos/v1/ns/instance/list", 3)
            assert ports(seen.now) == [1]


@pytest.mark.parametrize("fault", [faults.never_ends(), faults.trickles(), faults.stays_silent()])
async def test_an_answer_without_an_end_is_bounded(fault: faults.Fault) -> None:
    async with NacosServer() as server:
        server.register("web", host(1))
        namer = namer_of(server)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            server.fail(fault, times=1)
            async with asyncio.timeout(8):
                while namer.state()["DEFAULT_GROUP@@web"]["watch"]["error"] is None:
                    await asyncio.sleep(0.02)
            assert ports(seen.now) == [1]


@pytest.mark.parametrize(
    "keys",
    [{"servers": ()}, {"group": "a@@b"}, {"clusters": ("a,b",)}, {"password": "s3cret"}, {"servers": ("ftp://a",)}],
)
def test_keys_that_cannot_be_used_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"servers|group|username"):
        NacosNamerKind(**keys)
