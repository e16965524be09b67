"""A linker that follows a real ZooKeeper with its three namers: traffic moves with members and goes on without it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_polled_registries import origin
from tests.stores.etcd_members import free_ports
from tests.stores.zookeeper import INSTALLED, ZooKeeper

EXAMPLE = Path(__file__).parents[2] / "examples" / "zookeeper.yaml"


async def until_says(linker: LinkerProcess, host: str, wanted: bytes) -> None:
    answer = b""
    try:
        async with asyncio.timeout(20):
            while not answer.endswith(wanted):
                answer = await linker.get(host, router="zookeeper")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{host}: {answer!r} instead of {wanted!r}") from None


def put(writer: Any, one: Origin) -> None:
    """Have all three lead to one service, and nowhere else."""
    place = {"host": "127.0.0.1", "port": one.port}
    for node, data in (
        ("/discovery/web", json.dumps({"serviceEndpoint": place, "status": "ALIVE", "shard": 0}).encode()),
        ("/group", f"127.0.0.1:{one.port}".encode()),
        ("/services/api", json.dumps({"address": "127.0.0.1", "port": one.port}).encode()),
    ):
        writer.ensure_path(node)
        before = writer.get_children(node)
        writer.create(f"{node}/member_", data, sequence=True)
        for name in before:
            writer.delete(f"{node}/{name}")


async def test_traffic_goes_to_the_members(tmp_path: Path) -> None:
    if not INSTALLED:
        pytest.skip("ZooKeeper is not installed (zookeeper, and a Java)")
    server = ZooKeeper(tmp_path, free_ports(1)[0])
    await asyncio.to_thread(server.start)
    writer = KazooClient(hosts=f"127.0.0.1:{server.port}")
    try:
        await asyncio.to_thread(writer.start)
        async with origin("one") as one, origin("two") as two:
            await asyncio.to_thread(put, writer, one)
            text = EXAMPLE.read_text().replace("2181", str(server.port))
            text = text.replace("port: 9990", "port: 0").replace("port: 4140", "port: 0")
            text += f"stateFile: {{path: {tmp_path / 'state.json'}}}\n"
            async with LinkerProcess(text) as linker:
                for host in ("web", "leader", "api"):
                    await until_says(linker, host, b"one")
                await asyncio.to_thread(put, writer, two)
                for host in ("web", "leader", "api"):
                    await until_says(linker, host, b"two")
                server.kill()
                await asyncio.sleep(1)
                for host in ("web", "leader", "api"):
                    assert (await linker.get(host, router="zookeeper")).endswith(b"two")
            # One that starts now serves from what this one knew.
            async with LinkerProcess(text) as linker:
                for host in ("web", "leader", "api"):
                    assert (await linker.get(host, router="zookeeper")).endswith(b"two")
    finally:
        writer.stop()
        writer.close()
        server.kill()
