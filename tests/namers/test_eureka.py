"""The Eureka namer against strict Eurekas on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from biandou.dtab import Path
from biandou.live import Failed
from biandou.namers.eureka import EurekaNamerKind
from biandou.namers.eureka_applications import EurekaNamer
from biandou.testing.observing import Observed
from tests.registries import polled as faults
from tests.registries.eureka import EurekaServer, instance
from tests.registries.polled_names import addresses, at, bound_of, known, ports

WEB = Path.read("/web")
ALL = "/eureka/apps"
DELTA = "/eureka/apps/delta"


@pytest.fixture
async def server() -> AsyncIterator[EurekaServer]:
    async with EurekaServer() as server:
        yield server


def namer_of(*servers: EurekaServer, **keys: Any) -> EurekaNamer:
    urls = tuple(f"http://127.0.0.1:{server.port}/eureka/" for server in servers)
    return EurekaNamerKind(**{"servers": urls, "ttl_ms": 100, "jitter_ms": 10, **keys}).namer()


@pytest.mark.parametrize("single", [False, True])
async def test_instances_are_followed_by_deltas(server: EurekaServer, single: bool) -> None:
    """A list of one may be that one alone."""
    server.single = single
    one, two = instance("web", 1), instance("web", 2)
    server.register(one)
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1))
        server.register(two)
        await seen.until(at(1, 2))
        server.register({**one, "status": "OUT_OF_SERVICE"})
        await seen.until(at(2))
        server.cancel(two)
        await seen.until(at())
        server.register(one)
        await seen.until(at(1))
    assert len(server.asked(ALL)) == 1
    assert len(server.asked(DELTA)) >= 4


async def test_only_instances_that_are_up_are_used(server: EurekaServer) -> None:
    states = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")
    server.register(*(instance("web", port, status=status) for port, status in enumerate(states, 1)))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1))


async def test_changes_that_no_delta_tells_of_are_found_by_the_hash_code(server: EurekaServer) -> None:
    server.register(instance("web", 1))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1))
        server.register(instance("web", 2))
        server.recent = []
        await seen.until(at(1, 2))
        assert len(server.asked(ALL)) == 2


async def test_changes_that_even_the_hash_code_hides_are_found_and_counted(server: EurekaServer) -> None:
    server.register(instance("web", 1))
    namer = namer_of(server, reconcile_seconds=1)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        server.register(instance("web", 2))
        server.cancel(instance("web", 1))
        server.recent = []
        await seen.until(at(2))
        assert namer.state()["apps"]["watch"]["corrections"] == 1


async def test_without_deltas_all_is_asked_for(server: EurekaServer) -> None:
    """As configured, and as a server wants it that has turned them off."""
    server.register(instance("web", 1))
    with Observed(addresses(namer_of(server, delta=False).lookup(WEB))) as seen:
        await seen.until(at(1))
        server.register(instance("web", 2))
        await seen.until(at(1, 2))
    assert server.asked(DELTA) == []
    server.deltas = False
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1, 2))
        server.cancel(instance("web", 1))
        await seen.until(at(2))


async def test_a_tag_is_sent_back_and_an_answer_that_nothing_changed_confirms() -> None:
    async with EurekaServer(tags=True) as server:
        server.register(instance("web", 1))
        namer = namer_of(server, delta=False)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            await server.until_asked(ALL, 3)
            assert "if-none-match" in server.heads[-1]
            assert ports(seen.now) == [1]
            server.register(instance("web", 2))
            await seen.until(at(1, 2))


async def test_ports_hosts_zones_and_names(server: EurekaServer) -> None:
    server.register(
        instance("web", 1, secure=11, zone="cn-east-1a", other="x"),
        {**instance("web", 2), "port": {"$": "2", "@enabled": "false"}},
    )
    with Observed(addresses(namer_of(server).lookup(Path.read("/Web/x")))) as seen:
        assert dict(known(await seen.until(at(1)))[0].meta) == {"zone": "cn-east-1a"}
    with Observed(addresses(namer_of(server, use_secure_port=True, transfer_metadata=True).lookup(WEB))) as seen:
        assert dict(known(await seen.until(at(11)))[0].meta) == {"zone": "cn-east-1a", "other": "x"}
    with Observed(addresses(namer_of(server, use_host_name=True).lookup(WEB))) as seen:
        assert known(await seen.until(at(1)))[0].host == "127.0.0.1"
    bound = await bound_of(namer_of(server).lookup(Path.read("/Web/x/y")))
    assert (str(bound.id), str(bound.residual)) == ("/#/io.biandou.eureka/Web", "/x/y")


@pytest.mark.parametrize("path", ["/", "/none", r"/\xff"])
async def test_what_is_not_registered_is_negative(server: EurekaServer, path: str) -> None:
    server.register(instance("web", 1))
    with Observed(addresses(namer_of(server).lookup(Path.read(path)))) as seen:
        await seen.until(at())


async def test_the_next_server_is_asked_when_one_is_away_or_talks_nonsense() -> None:
    async with EurekaServer() as first, EurekaServer() as second:
        first.register(instance("web", 1))
        second.register(instance("web", 1), instance("web", 2))
        namer = namer_of(first, second)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            assert second.requests == []
            first.fail(faults.answers(200, b"<html>"))
            await seen.until(at(1, 2))
            await second.until_asked(DELTA)
            # What a delta of the second says counts only after all that it knows.
            assert [path for _, path, _ in second.requests][:2] == [ALL, DELTA]
            await second.stop()
            first.fail(None)
            await seen.until(at(1))
            assert namer.state()["apps"]["watch"]["error"] is None


FAULTS = {
    "no applications": faults.answers(200, b'{"applications": {}}'),
    "500": faults.answers(500, b"no"),
    "401": faults.answers(401),
    "no JSON": faults.answers(200, b"<html>"),
    "nothing": faults.answers(200, b"{}"),
    "another shape": faults.answers(200, b'{"applications": {"application": 7}}'),
    "junk": faults.answers(200, faults.JUNK),
    "cut": faults.cuts(),
    "no id": faults.answers(
        200, b'{"applications": {"application": [{"name": "WEB", "instance": [{"status": "UP"}]}]}}'
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_what_is_known_stays_in_use_while_eureka_fails(
    server: EurekaServer, fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.register(instance("web", 1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        server.fail(fault)
        await server.until_asked(DELTA, 3)
        assert ports(seen.now) == [1]
        assert namer.state()["apps"]["watch"]["error"]
        server.register(instance("web", 2))
        server.fail(None)
        await seen.until(at(1, 2))
        assert all(ports(state) in ([1], [1, 2], None) for state in seen.states)


@pytest.mark.parametrize("fault", [faults.never_ends(), faults.trickles(), faults.stays_silent()])
async def test_an_answer_without_an_end_is_bounded(server: EurekaServer, fault: faults.Fault) -> None:
    server.register(instance("web", 1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        server.fail(fault, times=1)
        async with asyncio.timeout(8):
            while namer.state()["apps"]["watch"]["error"] is None:
                await asyncio.sleep(0.02)
        assert ports(seen.now) == [1]


async def test_a_server_that_was_started_anew_and_is_empty_empties(server: EurekaServer) -> None:
    server.register(instance("web", 1))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1))
        server.instances, server.recent = {}, []
        await seen.until(at())


async def test_a_registry_that_collapses_is_held_if_wanted(server: EurekaServer) -> None:
    server.register(*(instance("web", port) for port in range(1, 7)))
    with Observed(addresses(namer_of(server, hold_collapse_ms=1000).lookup(WEB))) as seen:
        await seen.until(at(1, 2, 3, 4, 5, 6))
        server.instances, server.recent = {}, []
        await server.until_asked(ALL)
        await server.until_asked(DELTA, 2)
        assert ports(seen.now) == [1, 2, 3, 4, 5, 6]
        await seen.until(at())


async def test_a_name_of_which_nothing_was_ever_known_fails_and_mends(server: EurekaServer) -> None:
    server.register(instance("web", 1))
    server.fail(faults.answers(503))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(lambda state: isinstance(state, Failed))
        server.fail(None)
        await seen.until(at(1))


async def test_a_password_is_sent_and_not_shown() -> None:
    async with EurekaServer(user="me:s3cret") as server:
        server.register(instance("web", 1))
        namer = namer_of(server, username="me", password="s3cret")  # noqa: S106 - nobody's
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            assert "s3cret" not in json.dumps(namer.state())


async def test_one_question_serves_all_names_and_ends_with_the_last(server: EurekaServer) -> None:
    server.register(*(instance(f"web{number}", number) for number in range(1, 200)))
    namer = namer_of(server, ttl_ms=60_000)
    watched = [Observed(addresses(namer.lookup(Path.of(f"web{number}")))) for number in range(1, 200)]
    for one in watched:
        one.__enter__()
    for number, one in enumerate(watched, 1):
        await one.until(at(number))
    assert len(server.requests) == 1
    for one in watched:
        one.__exit__(None, None, None)
    assert namer.state() == {}


@pytest.mark.parametrize(
    "keys",
    [
        {"servers": ()},
        {"servers": ("localhost:8761",)},
        {"servers": ("http://me:pass@localhost/eureka",)},
        {"servers": ("http://localhost:x/eureka",)},
        {"servers": ("http://localhost/eureka?a=b",)},
        {"username": "me"},
    ],
)
def test_keys_that_cannot_be_used_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"servers|username") as refused:
        EurekaNamerKind(**keys)
    assert "me:pass" not in str(refused.value)
