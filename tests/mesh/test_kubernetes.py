"""Kubernetes as registry and as store of the real programs: pods come and go, the API server is down for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.registries.kubernetes import KubernetesServer

EXAMPLES = Path(__file__).parents[2] / "examples"
HTTP = "io.l5d.httpController interface"


@pytest.fixture
async def server() -> AsyncIterator[KubernetesServer]:
    async with KubernetesServer() as server:
        yield server


def config_of(file: Path, server: KubernetesServer) -> str:
    """Give an example's text on free ports, with this API server."""
    text = file.read_text()
    for port in (9990, 9991, 4140, 4180):
        text = text.replace(f"port: {port}\n", "port: 0\n")
    return text.replace("port: 8001", f"port: {server.port}")


async def asked(namerd: LinkerProcess, verb: str, dtab: str | None = None) -> tuple[int, str]:
    """Give the status and the text of an answer about the namespace `default`."""
    url = f"http://127.0.0.1:{namerd.port(HTTP)}/api/1/dtabs/default"
    headers = {"Content-Type": "application/dtab", "Accept": "application/dtab"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, url, data=dtab, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_namerds_share_dtabs_in_kubernetes_and_outlive_it(server: KubernetesServer) -> None:
    config = config_of(EXAMPLES / "namerd-k8s" / "namerd.yaml", server)
    async with LinkerProcess(config, command="namerd") as namerd, LinkerProcess(config, command="namerd") as other:
        assert (await asked(namerd, "PUT", "/svc => /one"))[0] == 204
        assert server.state.get("dtabs", "default", "default")["dentries"] == [{"prefix": "/svc", "dst": "/one"}]

        async def shows(dtab: str) -> None:
            async with asyncio.timeout(10):
                while await asked(other, "GET") != (200, f"{dtab}\n"):
                    await asyncio.sleep(0.02)

        await shows("/svc=>/one")
        server.apply("dtabs", "default", "default", dentries=[{"prefix": "/svc", "dst": "/two"}])
        await shows("/svc=>/two")
        await server.stop()
        async with asyncio.timeout(10):
            while (await asked(namerd, "PUT", "/svc => !"))[0] != 503:
                await asyncio.sleep(0.05)
        await shows("/svc=>/two")
        await server.start()
        async with asyncio.timeout(15):
            while (await asked(namerd, "PUT", "/svc => /three"))[0] != 204:
                await asyncio.sleep(0.05)
        await shows("/svc=>/three")
