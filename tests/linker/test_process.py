"""The linker's process: parts come up in order, drain in order, and say what they do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from biandou.boundary import Drained
from biandou.config.linker import parse
from biandou.config.plan import Plan, RouterPlan, ServerPlan
from biandou.dtab import Path
from biandou.errors import ConfigError
from biandou.linker.process import Linker, Parts, close_inherited, show_address, with_inherited
from biandou.linker.systemd import InheritedSocket
from biandou.testing.compiled_engine import CompiledEngine, compiled_engines

CONFIG = """
admin: {port: 9990, shutdownGraceMs: 2500}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1 ;
  servers:
  - port: 4140
"""


class RecordingAdmin:
    """Says when it is started and stopped."""

    def __init__(self, parts: Parts, events: list[str], engines: list[CompiledEngine]) -> None:
        self.parts = self.shown = self._prepared = parts
        self._events = events
        self._engines = engines

    async def start(self) -> list[str]:
        self._events.append(f"admin starts, engine serving: {self._engines[0].started}")
        return ["serving http admin on 127.0.0.1:9990"]

    async def prepare(self, parts: Parts) -> RecordingAdmin:
        self._events.append("admin prepared")
        self._prepared = parts
        return self

    async def __call__(self) -> list[str]:
        self.shown = self._prepared
        return []

    async def drop(self) -> None:
        self._events.append("admin dropped")

    async def stop(self) -> None:
        self._events.append(f"admin stops, engine drained: {bool(self._engines[0].stopped)}")


class Running:
    """A linker on this loop, with stand-ins for engine and admin server."""

    def __init__(self, engines: list[CompiledEngine], caplog: pytest.LogCaptureFixture) -> None:
        self.engines = engines
        self.events: list[str] = []
        self.admin: RecordingAdmin | None = None
        self.caplog = caplog
        self.file = CONFIG

    @property
    def engine(self) -> CompiledEngine:
        return self.engines[0]

    @property
    def log(self) -> list[str]:
        return [record.getMessage() for record in self.caplog.records]

    def open_admin(self, parts: Parts) -> RecordingAdmin:
        self.admin = RecordingAdmin(parts, self.events, self.engines)
        return self.admin

    async def logged(self, start: str) -> str:
        async with asyncio.timeout(5):
            while True:
                for line in self.log:
                    if start in line:
                        return line
                await asyncio.sleep(0.005)

    async def start(self, *, drains: bool = True) -> asyncio.Task[int]:
        task = asyncio.create_task(Linker(parse(CONFIG), 2, self.open_admin, lambda: parse(self.file)).run())
        while "initialized" not in self.log:
            await asyncio.sleep(0.005)
            if task.done():
                task.result()
        self.engine.drains = drains
        return task


@pytest.fixture
def running(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    with compiled_engines() as engines, caplog.at_level(logging.INFO, "biandou"):
        yield Running(engines, caplog)


async def ended(task: asyncio.Task[int]) -> int:
    return await asyncio.wait_for(task, 5)


async def test_the_log_tells_the_start_in_order(running: Running) -> None:
    task = await running.start()
    assert [line for line in running.log if "files may be open" not in line] == [
        "serving http admin on 127.0.0.1:9990",
        "serving http on 127.0.0.1:4140",
        "initialized",
    ]
    assert running.events == ["admin starts, engine serving: False"]
    assert running.engine.plan["workers"] == 2
    os.kill(os.getpid(), signal.SIGTERM)
    assert await ended(task) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_within_the_configured_grace_and_ends_with_0(
    running: Running, number: signal.Signals
) -> None:
    task = await running.start(drains=False)
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.05)
    assert f"Received {number.name}. Shutting down ..." in running.log
    assert running.engine.stopped == [2500]
    assert not task.done(), "a request is still running"
    assert running.events[1:] == [], "the admin server is the last to go"
    running.engine.post(Drained())
    assert await ended(task) == 0
    assert running.events[1:] == ["admin stops, engine drained: True"]


async def test_a_second_signal_stops_at_once(running: Running) -> None:
    task = await running.start(drains=False)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 1) == 1
    assert "Received SIGTERM again. Stopping at once ..." in running.log


async def test_requests_that_outlast_the_grace_are_told_and_the_end_is_still_graceful(running: Running) -> None:
    task = await running.start(drains=False)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    running.engine.post(Drained(unfinished=3))
    assert await ended(task) == 0
    assert "3 requests were cut off: they outlasted the grace of 2500 ms" in running.log


async def test_admin_ends_the_linker_with_a_grace_of_its_own_but_a_second_at_least(running: Running) -> None:
    task = await running.start()
    assert running.admin is not None
    running.admin.parts.stop(10)
    assert await ended(task) == 0
    assert running.engine.stopped == [1000]


async def test_a_reload_replaces_the_plan_and_says_in_one_line_what_became_of_what(running: Running) -> None:
    task = await running.start()
    running.file = (
        CONFIG.replace("port: 4140", "port: 4141")
        + "namers: [{kind: io.l5d.rewrite, prefix: /r, pattern: /a, name: /b}]"
    )
    os.kill(os.getpid(), signal.SIGHUP)
    line = await running.logged("reloaded: ")
    assert line == (
        "reloaded: added server 127.0.0.1:4141, namer /#/r; removed server 127.0.0.1:4140; kept router http, admin"
    )
    assert [server["port"] for server in running.engine.plan["routers"][0]["servers"]] == [4141]
    assert running.engine.reopened == 1, "SIGHUP opens the access logs anew as well"
    assert running.admin is not None
    assert running.admin.shown.config.namers[0].full_prefix == Path.read("/#/r")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await ended(task) == 0


async def test_a_file_with_mistakes_changes_nothing(running: Running) -> None:
    task = await running.start()
    plan = running.engine.plan
    running.file = CONFIG.replace("port: 4140", "port: seven")
    assert running.admin is not None
    with pytest.raises(ConfigError, match=r"<text>:7:11: routers\[0\]\.servers\[0\]\.port"):
        await running.admin.parts.reload()
    assert running.engine.plan is plan
    assert "stays as it was" in await running.logged("can't be reloaded")
    running.file = CONFIG.replace("2500", "7500")
    assert await running.admin.parts.reload() == "changed admin; kept router http, server 127.0.0.1:4140"
    os.kill(os.getpid(), signal.SIGTERM)
    assert await ended(task) == 0
    assert running.engine.stopped == [7500], "the next good file counts"


async def test_what_the_engine_refuses_leaves_the_admin_server_as_it_was(running: Running) -> None:
    task = await running.start()
    running.engine.refusal = "cannot listen on 127.0.0.1:4141: Address already in use"
    running.file = CONFIG.replace("port: 4140", "port: 4141").replace("port: 9990", "port: 9991")
    assert running.admin is not None
    with pytest.raises(OSError, match="Address already in use"):
        await running.admin.parts.reload()
    assert running.events[1:] == ["admin prepared", "admin dropped"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await ended(task) == 0


async def test_systemd_is_told_when_it_serves_and_when_it_stops(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"biandou-test-process-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        task = await running.start()
        assert channel.recv(100) == b"READY=1"
        assert running.admin is not None
        await running.admin.parts.reload()
        state, _, moment = channel.recv(100).decode().partition("\nMONOTONIC_USEC=")
        assert state == "RELOADING=1"
        assert 0 <= time.monotonic_ns() // 1000 - int(moment) < 5_000_000
        assert channel.recv(100) == b"READY=1"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await ended(task) == 0
        assert channel.recv(100) == b"STOPPING=1"


def test_inherited_sockets_go_to_the_servers_of_their_address(caplog: pytest.LogCaptureFixture) -> None:
    server = ServerPlan(ip="127.0.0.1", port=4140)
    router = RouterPlan(label="http", protocol="http", dst_prefix="/svc", identifiers=[], servers=[server])
    unwanted = os.dup(0)
    inherited = [InheritedSocket(77, "127.0.0.1", 4140, ""), InheritedSocket(unwanted, "127.0.0.1", 4141, "other")]
    planned = with_inherited(Plan(workers=1, routers=[router]), inherited)
    assert planned.routers[0].servers[0].fds == [77]
    assert "no server is configured for the socket on 127.0.0.1:4141" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(unwanted)


def test_our_copies_of_the_sockets_in_a_plan_are_closed_and_no_others() -> None:
    first, second, other = os.dup(0), os.dup(0), os.dup(0)
    servers = [ServerPlan(ip="127.0.0.1", port=1, fds=[first, second]), ServerPlan(ip="127.0.0.1", port=2)]
    router = RouterPlan(label="http", protocol="http", dst_prefix="/svc", identifiers=[], servers=servers)
    close_inherited(Plan(workers=1, routers=[router]))
    for fd in (first, second):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    os.close(other)


def test_an_address_is_shown_as_urls_show_it() -> None:
    assert show_address("127.0.0.1", 80) == "127.0.0.1:80"
    assert show_address("::1", 80) == "[::1]:80"
