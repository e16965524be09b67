"""Linkers that make themselves known in a real ZooKeeper and at a Consul: found, reloaded, and stopped under load."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kazoo.client import KazooClient

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import Traffic
from tests.mesh.test_polled_registries import origin
from tests.registries.consul import ConsulServer
from tests.stores.etcd_members import free_ports
from tests.stores.zookeeper import INSTALLED, ZooKeeper

EXAMPLE = Path(__file__).parents[2] / "examples" / "announcers.yaml"
NODE = "/discovery/prod/web"


@pytest.fixture
async def zookeeper(tmp_path: Path) -> AsyncIterator[ZooKeeper]:
    if not INSTALLED:
        pytest.skip("ZooKeeper is not installed (zookeeper, and a Java)")
    server = ZooKeeper(tmp_path, free_ports(1)[0])
    await asyncio.to_thread(server.start)
    yield server
    server.kill()


def config_of(zookeeper_port: int, consul_port: int, service: Origin) -> str:
    """Give "announcers.yaml" on free ports of loopback."""
    text = EXAMPLE.read_text().replace("ip: 0.0.0.0", "ip: 127.0.0.1")
    for port in (9990, 4140, 4141):
        text = text.replace(f"port: {port}\n", "port: 0\n")
    return (
        text.replace("2181", str(zookeeper_port))
        .replace("port: 8500", f"port: {consul_port}")
        .replace("/127.0.0.1/8080", f"/127.0.0.1/{service.port}")
    )


class Posts(Traffic):
    """Requests that nobody may send again: one that is lost is a failure."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._request = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbody"


async def announcements(linker: LinkerProcess) -> dict[str, Any]:
    """Give what `/admin/announcer` says, by the path."""
    return {one["path"]: one for one in json.loads(await linker.admin("/admin/announcer"))}


async def until_registered(linker: LinkerProcess, path: str) -> Any:
    async with asyncio.timeout(20):
        while (found := (await announcements(linker)).get(path, {})).get("state") != "registered":
            await asyncio.sleep(0.05)
    return found


async def until(wanted: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(wanted):
            await asyncio.sleep(0.02)


async def test_a_linker_is_found_and_leaves_under_load_without_a_failure(zookeeper: ZooKeeper) -> None:
    """Two linkers are found by the second's other router; the first one's end loses no request, not even a POST."""
    async with ConsulServer() as consul, origin("one") as one, origin("two") as two:
        first = LinkerProcess(config_of(zookeeper.port, consul.port, one))
        async with first, LinkerProcess(config_of(zookeeper.port, consul.port, two)) as second:
            for linker in (first, second):
                for path in ("/#/io.l5d.serversets/web", "/#/io.l5d.consul/web"):
                    known = await until_registered(linker, path)
                    assert known["address"] == f"127.0.0.1:{linker.port('incoming')}"
            assert {known.instance.port for known in consul.announced.services.values()} == {
                first.port("incoming"),
                second.port("incoming"),
            }
            port = second.port("outgoing")
            async with Traffic(port) as gets, Posts(port) as posts:
                async with asyncio.timeout(20):
                    while {*await posts.more(50)} != {"one", "two"}:
                        await asyncio.sleep(0.05)
                failed = len(gets.failed), len(posts.failed)
                serves: list[bool] = []

                async def look(request: web.Request) -> web.StreamResponse:
                    serves.append((await first.get("web", router="incoming")).endswith(b"one"))
                    return await consul.answered(request)

                consul.fail(look, "/v1/agent/service/deregister")
                assert await first.stop() == 0
                assert serves == [True], "it still serves when it is withdrawn"
                assert {*await posts.more(200)} == {"two"}
                assert {*await gets.more(200)} == {"two"}
                assert (len(gets.failed), len(posts.failed)) == failed
            (left,) = consul.announced.services.values()
            assert left.instance.port == second.port("incoming")
            line = await second.logged("announcing 127.0.0.1")
            assert line.endswith(f"announcing 127.0.0.1:{second.port('incoming')} as /web to zk-serversets")


async def test_a_reload_adds_and_removes_and_leaves_the_others_alone(zookeeper: ZooKeeper) -> None:
    """What both configurations announce keeps its very node; what has no announcer is said."""
    client = KazooClient(hosts=f"127.0.0.1:{zookeeper.port}")
    await asyncio.to_thread(client.start)
    try:
        async with ConsulServer() as consul, origin("one") as one:
            text = config_of(zookeeper.port, consul.port, one)
            async with LinkerProcess(text) as linker:
                node = (await until_registered(linker, "/#/io.l5d.serversets/web"))["as"]
                await until_registered(linker, "/#/io.l5d.consul/web")
                stat = client.exists(node)
                more = text.replace("    - /#/io.l5d.consul/web", "    - /#/io.l5d.serversets/api\n    - /#/nowhere")
                assert b"200 OK" in await linker.reload(more)
                assert consul.announced.services == {}
                await until(lambda: client.exists("/discovery/prod/api") and client.get_children("/discovery/prod/api"))
                assert client.exists(node) == stat
                assert "no announcer found for /#/nowhere" in await linker.logged("no announcer found")
                assert {*await announcements(linker)} == {"/#/io.l5d.serversets/web", "/#/io.l5d.serversets/api"}
                # A file that can't be used changes nothing.
                assert b"200 OK" not in await linker.reload(
                    text.replace("/#/io.l5d.consul/web", "/#/io.l5d.consul/a/b")
                )
                assert client.exists(node) == stat
            assert client.get_children(NODE) == []
    finally:
        client.stop()
        client.close()


async def test_a_zookeeper_that_hangs_does_not_keep_a_linker(zookeeper: ZooKeeper) -> None:
    """The linker ends in time, says what it could not do, and its member goes with its session."""
    async with ConsulServer() as consul, origin("one") as one:
        async with LinkerProcess(config_of(zookeeper.port, consul.port, one)) as linker:
            await until_registered(linker, "/#/io.l5d.serversets/web")
            assert zookeeper.process is not None
            zookeeper.process.send_signal(signal.SIGSTOP)
            try:
                began = asyncio.get_running_loop().time()
                assert await linker.stop() == 0
                assert asyncio.get_running_loop().time() - began < 8
                # Which of them depends on whether kazoo takes the connection for lost before.
                said = ("could not be withdrawn: zookeeper at", "is announced to zookeeper at")
                assert any(text in line for line in linker.log for text in said), linker.log
                assert consul.announced.services == {}
            finally:
                zookeeper.process.send_signal(signal.SIGCONT)
        client = KazooClient(hosts=f"127.0.0.1:{zookeeper.port}")
        await asyncio.to_thread(client.start)
        try:
            await until(lambda: client.get_children(NODE) == [])
        finally:
            client.stop()
            client.close()


async def test_registries_that_are_away_hold_up_neither_start_nor_stop() -> None:
    """The linker serves, says why it is not announced, and ends in time."""
    nobody, silent = free_ports(2)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take whatever is said, and answer nothing."""
        while await reader.read(4096):
            pass
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", silent)
    async with listener, origin("one") as one:
        loop = asyncio.get_running_loop()
        async with LinkerProcess(config_of(nobody, silent, one)) as linker:
            assert (await linker.get("web", router="incoming")).endswith(b"one")
            await linker.logged("failed, and is tried again: zookeeper at", 15.0)
            found = await announcements(linker)
            assert found["/#/io.l5d.serversets/web"]["state"] == "failed"
            began = loop.time()
            assert await linker.stop() == 0
            assert loop.time() - began < 6
