"""The announcer of Consul against a small strict agent: registered, passed on time, registered again, deregistered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from biandou.announcers.consul import ConsulAnnouncerKind
from biandou.announcers.consul_agent import Instance
from biandou.announcers.standing import Announcement
from biandou.clients.retry import Retry
from biandou.dtab import Path
from tests.registries.consul import ConsulServer

ID = "biandou-web-192.0.2.7-4140"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Instance, "retry", Retry(0.1, 0.2))


@asynccontextmanager
async def announced(consul: ConsulServer, token: str | None = None, ttl: int = 2) -> AsyncIterator[Announcement]:
    kind = ConsulAnnouncerKind(host="127.0.0.1", port=consul.port, token=token, tags=("mesh",), ttl_seconds=ttl)
    kind.check(Path.of("web"))
    announcement = Announcement(kind.announcer().registration(Path.of("web"), "192.0.2.7", 4140), "announcing")
    try:
        yield announcement
    finally:
        await announcement.withdraw()


async def until(wanted: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not wanted():
            await asyncio.sleep(0.02)


async def test_an_address_is_an_instance_with_a_check_that_passes() -> None:
    async with ConsulServer() as consul:
        async with announced(consul) as announcement:
            await until(lambda: announcement.standing == "registered")
            assert announcement.state()["as"] == ID
            (known,) = consul.announced.services.values()
            shown = known.instance.catalogued("dc1")
            assert (shown["ServiceID"], shown["ServiceName"], shown["ServiceAddress"], shown["ServicePort"]) == (
                ID,
                "web",
                "192.0.2.7",
                4140,
            )
            assert shown["ServiceTags"] == ["mesh"]
            assert consul.announced.status(ID) == "passing"
        assert consul.announced.services == {}
        assert announcement.standing == "withdrawn"


async def test_the_check_is_passed_before_its_time_is_over() -> None:
    """It never becomes critical: it is passed three times within its time to live."""
    async with ConsulServer() as consul, announced(consul) as announcement:
        await until(lambda: announcement.standing == "registered")
        seen = set()
        for _ in range(60):
            seen.add(consul.announced.status(ID))
            await asyncio.sleep(0.05)
        assert seen == {"passing"}
        (times,) = consul.announced.passes.values()
        assert len(times) >= 3
        assert [query for _, path, query in consul.requests if "register" in path] == [
            {"replace-existing-checks": "true"}
        ]


async def test_what_the_agent_has_lost_is_registered_again(caplog: pytest.LogCaptureFixture) -> None:
    async with ConsulServer() as consul, announced(consul) as announcement:
        await until(lambda: announcement.standing == "registered")
        consul.announced.lose_all()
        await until(lambda: consul.announced.status(ID) == "passing")
        assert announcement.state()["failures"] == 0
        assert f"has lost {ID}: it is registered again" in caplog.text


async def test_an_agent_that_does_not_know_a_check_may_say_500() -> None:
    """Older agents do."""

    async def lost(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text=f'CheckID "service:{ID}" does not have associated TTL')

    async with ConsulServer() as consul, announced(consul) as announcement:
        await until(lambda: announcement.standing == "registered")
        consul.announced.lose_all()
        consul.fail(lost, "/v1/agent/check")
        await until(lambda: consul.announced.status(ID) == "passing")


async def test_a_server_that_registers_nothing_is_a_failure_and_not_a_registration() -> None:
    """A web server on the agent's port, or a proxy without an agent behind it, knows none of its paths."""

    async def unknown(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found")

    async with ConsulServer() as consul:
        consul.fail(unknown, "/v1/agent/service/register")
        async with announced(consul) as announcement:
            await until(lambda: announcement.state()["failures"] > 1)
            assert announcement.standing == "failed"
            assert "unexpected status 404" in announcement.state()["error"]
            consul.fail(None)
            await until(lambda: announcement.standing == "registered")


async def test_an_agent_that_comes_later_is_told() -> None:
    """Nothing waits for it, and the failure shows; one that was away finds the instance still there."""
    async with ConsulServer() as consul:
        await consul.stop()
        async with announced(consul) as announcement:
            await until(lambda: announcement.standing == "failed")
            assert f"consul at 127.0.0.1:{consul.port}" in announcement.state()["error"]
            await consul.start()
            await until(lambda: announcement.standing == "registered")
            assert announcement.state()["error"] is None
            await consul.stop()
            await until(lambda: announcement.standing == "failed")
            await consul.start()
            await until(lambda: announcement.standing == "registered")
            assert len(consul.announced.services) == 1


async def test_the_token_is_shown_and_is_needed() -> None:
    async with ConsulServer(token="secret") as consul:  # noqa: S106 - nobody's
        async with announced(consul, "secret") as announcement:
            await until(lambda: announcement.standing == "registered")
        async with announced(consul) as announcement:
            await until(lambda: announcement.standing == "failed")
            assert "403" in announcement.state()["error"]
            assert "secret" not in json.dumps(announcement.state())


async def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with ConsulServer() as consul:
        await consul.stop()
        async with announced(consul) as announcement:
            await until(lambda: announcement.state()["failures"] > 3)
        assert [record.message[:45] for record in caplog.records] == [
            "announcing failed, and is tried again: consul",
            "announcing could not be withdrawn: consul at ",
        ]
        await consul.start()


def test_a_name_is_one_segment() -> None:
    kind = ConsulAnnouncerKind()
    assert str(kind.full_prefix) == "/#/io.l5d.consul"
    for name in (Path.of(), Path.of("dc1", "web"), Path((b"\xff",)), Path((b"a/b",)), Path((b" ",))):
        with pytest.raises(ValueError, match="Consul"):
            kind.check(name)
