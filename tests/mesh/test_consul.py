"""Consul as registry and as store of the real programs: instances come and go, and Consul is down for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance

EXAMPLES = Path(__file__).parents[2] / "examples"
HTTP = "io.l5d.httpController interface"
DTAB = {"Content-Type": "application/dtab"}


@pytest.fixture
async def server() -> AsyncIterator[ConsulServer]:
    async with ConsulServer() as server:
        yield server


def origin(text: str) -> Origin:
    return Origin(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def instance(one: Origin, service: str = "web", status: str = "passing") -> Instance:
    return Instance(service, one.port, checks=(("service:web", status),))


def config_of(file: Path, **ports: int) -> str:
    """Give an example's text on free ports; `p8500=7` puts port 7 in the place of 8500."""
    text = file.read_text().replace("4180", str(ports.get("p4180", 0)), 1) if "p4180" in ports else file.read_text()
    for port in (9990, 9991, 4140, 4180):
        text = text.replace(f"port: {port}\n", "port: 0\n")
    return text.replace("port: 8500", f"port: {ports.get('p8500', 8500)}")


async def answers(linker: LinkerProcess, name: str, router: str) -> set[bytes]:
    """Give the bodies of some answers in a row; an answer that is no 200 is told as its status line."""
    found = set()
    for _ in range(10):
        head, _, body = (await linker.get(name, router=router)).partition(b"\r\n\r\n")
        found.add(body if head.startswith(b"HTTP/1.1 200 ") else head.split(b"\r\n")[0])
    return found


async def until_answers(linker: LinkerProcess, wanted: set[bytes], name: str = "web", router: str = "http") -> None:
    found: set[bytes] = set()
    try:
        async with asyncio.timeout(10):
            while found != wanted:
                found = await answers(linker, name, router)
    except TimeoutError:
        raise AssertionError(f"{found} instead of {wanted}") from None


async def test_a_linker_follows_consul_and_outlives_it(server: ConsulServer) -> None:
    async with origin("one") as one, origin("two") as two:
        server.register(instance(one))
        config = config_of(EXAMPLES / "consul.yaml", p8500=server.port)
        async with LinkerProcess(config) as linker:
            await until_answers(linker, {b"one"}, "web", "consul")
            server.register(instance(two))
            await until_answers(linker, {b"one", b"two"}, "web", "consul")
            server.register(instance(one, status="critical"))
            await until_answers(linker, {b"two"}, "web", "consul")
            for fault in (faults.answers(500, b"No cluster leader"), faults.answers(200, b"[]"), faults.cuts()):
                server.fail(fault)
                await asyncio.sleep(0.2)
                assert await answers(linker, "web", "consul") == {b"two"}
            await server.stop()
            await asyncio.sleep(0.2)
            assert await answers(linker, "web", "consul") == {b"two"}
            server.deregister(instance(one), instance(two))
            server.register(instance(one))
            server.fail(None)
            await server.start()
            await until_answers(linker, {b"one"}, "web", "consul")
            state = json.loads(await linker.admin("/namer_state/io.l5d.consul.json"))
            assert state["dc1/web"]["state"]["value"] == [f"127.0.0.1:{one.port}"]
            server.deregister(instance(one))
            async with asyncio.timeout(10):
                while not (await linker.get("web", router="consul")).startswith(b"HTTP/1.1 502 "):
                    await asyncio.sleep(0.02)


async def test_set_host_asks_for_consuls_name_and_leads_callers_to_theirs(server: ConsulServer) -> None:
    """reference/linker.md §5.1: `Host`, `Location` and `Refresh`."""
    server.agent["DebugConfig"] = {"DNSDomain": "mesh."}
    answer = (
        "HTTP/1.1 302 Found\r\nLocation: http://web.service.dc1.mesh/a\r\nX-Is: web.service.dc1.mesh\r\n"
        "refresh: 5; url=http://web.service.dc1.mesh/b\r\nContent-Length: 0\r\n\r\n"
    )
    async with Origin(answer.encode()) as one:
        server.register(instance(one), instance(one, "bad name"))
        async with LinkerProcess(config_of(EXAMPLES / "consul.yaml", p8500=server.port)) as linker:
            told = (await linker.get("WEB", router="consul")).decode()
            assert one.requests[-1].startswith(b"GET / HTTP/1.1\r\nHost: web.service.dc1.mesh\r\n")
            assert one.requests[-1].lower().count(b"\r\nhost:") == 1
            assert "\r\nLocation: http://WEB/a\r\n" in told
            assert "\r\nrefresh: 5; url=http://WEB/b\r\n" in told
            assert "\r\nX-Is: web.service.dc1.mesh\r\n" in told
            # What no header can hold is left alone.
            told = (await linker.get("x", "/", r"l5d-dtab: /svc/x => /svc/bad\x20name", router="consul")).decode()
            assert told.startswith("HTTP/1.1 302 ")
            assert b"\r\nHost: x\r\n" in one.requests[-1]
            assert "\r\nLocation: http://web.service.dc1.mesh/a\r\n" in told


@asynccontextmanager
async def namerd_on(server: ConsulServer) -> AsyncIterator[LinkerProcess]:
    config = config_of(EXAMPLES / "namerd-consul" / "namerd.yaml", p8500=server.port)
    async with LinkerProcess(config, command="namerd") as namerd:
        yield namerd


async def change(namerd: LinkerProcess, dtab: str) -> int:
    """Give the status of a change to the namespace `default`."""
    url = f"http://127.0.0.1:{namerd.port(HTTP)}/api/1/dtabs/default"
    async with aiohttp.ClientSession() as session, session.put(url, data=dtab, headers=DTAB) as answer:
        return answer.status


async def test_namerd_keeps_dtabs_in_consul_and_finds_services_there(server: ConsulServer) -> None:
    async with origin("one") as one, origin("two") as two, origin("next") as following:
        server.register(instance(one))
        server.register(instance(following, "next"))
        async with namerd_on(server) as namerd, namerd_on(server) as other:
            assert await change(namerd, "/svc => /#/io.l5d.consul/.local") == 204
            assert server.state.keys["namerd/dtabs/default"].value == b"/svc=>/#/io.l5d.consul/.local"
            config = config_of(EXAMPLES / "namerd-consul" / "linker.yaml", p4180=namerd.port(HTTP))
            async with LinkerProcess(config) as linker:
                await until_answers(linker, {b"one"})
                server.register(instance(two))
                await until_answers(linker, {b"one", b"two"})
                server.deregister(instance(one))
                await until_answers(linker, {b"two"})
                # By another namerd, and by somebody who has no namerd.
                assert await change(other, "/svc => /#/io.l5d.consul/.local ; /svc/web => /svc/next") == 204
                await until_answers(linker, {b"next"})
                server.put("namerd/dtabs/default", b"/svc => /#/io.l5d.consul/dc1 ;\n")
                await until_answers(linker, {b"two"})
                await server.stop()
                async with asyncio.timeout(10):
                    while await change(namerd, "/svc => !") != 503:
                        await asyncio.sleep(0.05)
                assert await answers(linker, "web", "http") == {b"two"}
                server.deregister(instance(two))
                server.register(instance(one))
                await server.start()
                await until_answers(linker, {b"one"})
                async with asyncio.timeout(10):
                    while await change(namerd, "/svc => /#/io.l5d.consul/.local/next") != 204:
                        await asyncio.sleep(0.05)


async def test_a_linker_binds_with_a_dtab_that_a_namerd_has_written_to_consul(server: ConsulServer) -> None:
    async with origin("one") as one, origin("two") as two, namerd_on(server) as namerd:
        config = (
            "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], interpreter: "
            f"{{kind: io.l5d.consul.interpreter, host: 127.0.0.1, port: {server.port}}}}}]"
        )
        async with LinkerProcess(config) as linker:
            assert await change(namerd, f"/svc => /$/inet/127.0.0.1/{one.port}") == 204
            await until_answers(linker, {b"one"})
            assert await change(namerd, f"/svc => /$/inet/127.0.0.1/{two.port}") == 204
            await until_answers(linker, {b"two"})
            await server.stop()
            assert await answers(linker, "web", "http") == {b"two"}
