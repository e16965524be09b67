"""Kubernetes as registry and as store of the real programs: pods come and go, the API server is down for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.registries import kubernetes_faults as faults
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
    for port in (9990, 9991, 4140, 4141, 4180):
        text = text.replace(f"port: {port}\n", "port: 0\n")
    return text.replace("ort: 8001", f"ort: {server.port}")


async def asked(namerd: LinkerProcess, verb: str, dtab: str | None = None) -> tuple[int, str]:
    """Give the status and the text of an answer about the namespace `default`."""
    url = f"http://127.0.0.1:{namerd.port(HTTP)}/api/1/dtabs/default"
    headers = {"Content-Type": "application/dtab", "Accept": "application/dtab"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, url, data=dtab, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


def origin(text: str) -> Origin:
    return Origin(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def pods(*origins: Origin) -> list[dict[str, Any]]:
    """Give the subsets of an Endpoints object, one for each since each has a port of its own."""
    return [
        {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "http", "port": one.port, "protocol": "TCP"}]}
        for one in origins
    ]


async def until_answers(linker: LinkerProcess, wanted: set[bytes]) -> None:
    found: set[bytes] = set()
    try:
        async with asyncio.timeout(10):
            while found != wanted:
                found = {(await linker.get("web", router="k8s")).partition(b"\r\n\r\n")[2] for _ in range(10)}
    except TimeoutError:
        raise AssertionError(f"{found} instead of {wanted}") from None


async def test_a_linker_follows_kubernetes_and_outlives_it(server: KubernetesServer, tmp_path: Path) -> None:
    text = config_of(EXAMPLES / "k8s.yaml", server) + f"stateFile: {{path: {tmp_path / 'state.json'}}}\n"
    async with origin("one") as one, origin("two") as two:
        server.apply("endpoints", "default", "web", subsets=pods(one))
        async with LinkerProcess(text) as linker:
            await until_answers(linker, {b"one"})
            server.apply("endpoints", "default", "web", subsets=pods(one, two))
            await until_answers(linker, {b"one", b"two"})
            server.apply("endpoints", "default", "web", subsets=pods(two))
            await until_answers(linker, {b"two"})
            for fault in (faults.answers(503), faults.answers(200, b"{}"), faults.cuts(b"{")):
                server.fail(fault)
                await asyncio.sleep(0.2)
                await until_answers(linker, {b"two"})
            await server.stop()
            await asyncio.sleep(0.2)
            await until_answers(linker, {b"two"})
            await linker.stop()
        # One that starts now serves from what this one knew.
        async with LinkerProcess(text) as linker:
            await until_answers(linker, {b"two"})
            server.apply("endpoints", "default", "web", subsets=pods(one))
            server.state.forget()
            server.fail(None)
            await server.start()
            await until_answers(linker, {b"one"})
            state = json.loads(await linker.admin("/namer_state/io.l5d.k8s.json"))
            assert state["endpoints"]["default/web"]["watch"]["error"] is None
            server.remove("endpoints", "default", "web")
            async with asyncio.timeout(10):
                while not (await linker.get("web", router="k8s")).startswith(b"HTTP/1.1 502 "):
                    await asyncio.sleep(0.02)


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


async def test_requests_go_by_the_linkers_of_two_nodes_as_the_config_map_says(server: KubernetesServer) -> None:
    """127.0.1.0/24 and 127.0.2.0/24 are the nodes' networks: service-to-linker, linker-to-linker, linker-to-service."""

    def put_linkers(*linkers: tuple[str, LinkerProcess]) -> None:
        subsets = [
            {"addresses": [{"ip": ip}], "ports": [{"name": "incoming", "port": linker.port("incoming")}]}
            for ip, linker in linkers
        ]
        server.apply("endpoints", "mesh", "l5d", subsets=subsets)

    def on(one: Origin) -> dict[str, Any]:
        return {"addresses": [{"ip": one.ip}], "ports": [{"name": "http", "port": one.port}]}

    config = config_of(EXAMPLES / "k8s-daemonset.yaml", server)
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%s"
    async with (
        Origin(text % b"one", "127.0.1.5") as one,
        Origin(text % b"two", "127.0.2.5") as two,
        LinkerProcess(config, environment={"POD_IP": "127.0.1.1"}) as first,
        LinkerProcess(config, environment={"POD_IP": "127.0.2.1"}) as second,
    ):
        server.apply("configmaps", "default", "routes", data={"dtab": "/svc => /#/io.l5d.k8s/default/http ;"})
        server.apply("endpoints", "default", "web", subsets=[on(two)])
        put_linkers(("127.0.1.1", first), ("127.0.2.1", second))

        async def answers(router: str, wanted: bytes) -> None:
            found = b""
            async with asyncio.timeout(10):
                while found != wanted:
                    found = (await first.get("web", router=router)).partition(b"\r\n\r\n")[2]

        await answers("outgoing", b"two")
        counted = await second.metrics()
        assert (
            counted["rt/incoming/client/%/io.l5d.k8s.localnode/127.0.2.1/#/io.l5d.k8s/default/http/web/requests"] >= 1
        )
        assert (await first.get("web", router="incoming")).startswith(b"HTTP/1.1 502 "), "there is none on its own node"
        server.apply("endpoints", "default", "web", subsets=[on(one)])
        await answers("outgoing", b"one")
        server.apply("configmaps", "default", "routes", data={"dtab": "/svc => /#/io.l5d.k8s/default/other ;"})
        async with asyncio.timeout(10):
            while not (await first.get("web", router="outgoing")).startswith(b"HTTP/1.1 502 "):
                await asyncio.sleep(0.02)
