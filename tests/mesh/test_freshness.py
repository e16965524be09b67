"""Where endpoints come from and how fresh they are, as the real programs show it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_namerd import HTTP, namerd
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def origins(linker: LinkerProcess) -> dict[str, Any]:
    """Give each client's origin and endpoints."""
    shown = json.loads(await linker.admin("/admin/endpoints.json"))["http"]
    return {
        name: {**client["origin"], "endpoints": [one["address"] for one in client["endpoints"]]}
        for name, client in shown.items()
        if "origin" in client
    }


async def until(linker: LinkerProcess, client: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(10):
            while not (found and wanted(found)):
                found = (await origins(linker)).get(client, {})
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{client} is {found}") from None
    return found


async def test_each_clients_origin_shows_on_the_admin_page_and_as_metrics() -> None:
    """Through `setHost`, a transformer of the namer and one of the interpreter."""
    async with Origin(ANSWER) as one, ConsulServer() as server:
        many = [Instance("web", one.port + 1 + number) for number in range(9)]
        server.register(*many)
        config = f"""
admin: {{port: 0}}
telemetry: [{{kind: io.l5d.prometheus}}]
namers:
- kind: io.l5d.consul
  host: 127.0.0.1
  port: {server.port}
  setHost: true
  reconcileSeconds: 1
  holdCollapseMs: 700
  transformers: [{{kind: io.l5d.specificHost, host: 127.0.0.1}}]
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.consul/dc1
  interpreter: {{kind: default, transformers: [{{kind: io.l5d.port, port: {one.port}}}]}}
  servers: [{{port: 0}}]
"""
        async with LinkerProcess(config) as linker:
            assert (await linker.get("web")).endswith(b"ok")
            client = next(iter(await origins(linker)))
            found = await until(linker, client, lambda found: found["age"] < 5)
            assert found["registry"] == f"consul at 127.0.0.1:{server.port}"
            assert found["version"] == str(server.state.index)
            assert found["changed"] <= found["confirmed"]
            assert found["corrections"] == 0
            assert found["endpoints"] == [f"127.0.0.1:{one.port}"]
            metrics = await linker.metrics()
            place = f"rt/http/client/{client[1:]}/discovery"
            assert 0 <= metrics[f"{place}/age_seconds"] < 5
            assert (metrics[f"{place}/corrections"], metrics[f"{place}/holds"], metrics[f"{place}/held"]) == (0, 0, 0)
            text = (await linker.admin("/admin/metrics/prometheus")).decode()
            assert f'rt:client:discovery:corrections{{rt="http", client="{client[1:]}"}} 0\n' in text
            assert f'rt:client:discovery:age_seconds{{rt="http", client="{client[1:]}"}} ' in text
            # A plain read confirms it, though Consul's own wait lasts a minute.
            later = await until(linker, client, lambda now: now["confirmed"] > found["confirmed"])
            assert later["changed"] == found["changed"]
            server.deregister(*many[1:])
            await linker.logged("the set has collapsed in one step, and is held for 0.7 s")
            await until(linker, client, lambda now: "heldUntil" in now)
            assert (await linker.metrics())[f"{place}/holds"] == 1
            await until(linker, client, lambda now: "heldUntil" not in now)
            await server.stop()
            failed = await until(linker, client, lambda now: "error" in now)
            assert failed["endpoints"] == [f"127.0.0.1:{one.port}"]
            await server.start()
            await until(linker, client, lambda now: "error" not in now)


async def test_files_and_a_namerd_are_registries_too(tmp_path: Path) -> None:
    async with Origin(ANSWER) as one:
        (tmp_path / "web").write_text(f"127.0.0.1 {one.port}\n")
        namers = f"namers: [{{kind: io.l5d.fs, rootDir: {tmp_path}, reconcileSeconds: 1}}]\n"
        storage = "storage: {kind: io.l5d.inMemory, namespaces: {default: /svc=>/#/io.l5d.fs}}\n"
        interfaces = "interfaces: [{kind: io.l5d.httpController, port: 0}, {kind: io.l5d.mesh, port: 0}]\n"
        async with namerd(storage + interfaces + namers) as control:
            http, mesh = control.port(HTTP), control.port("io.l5d.mesh interface")
            config = f"""
admin: {{port: 0}}
{namers}
routers:
- {{protocol: http, dtab: /svc => /#/io.l5d.fs, servers: [{{port: 0}}]}}
- protocol: http
  label: byHttp
  interpreter: {{kind: io.l5d.namerd.http, dst: /$/inet/127.0.0.1/{http}}}
  servers: [{{port: 0}}]
- protocol: http
  label: byMesh
  interpreter: {{kind: io.l5d.mesh, dst: /$/inet/127.0.0.1/{mesh}}}
  servers: [{{port: 0}}]
"""
            async with LinkerProcess(config) as linker:
                for router in ("http", "byHttp", "byMesh"):
                    assert (await linker.get("web", router=router)).endswith(b"ok")
                shown = json.loads(await linker.admin("/admin/endpoints.json"))
                found = {router: clients["/#/io.l5d.fs/web"]["origin"] for router, clients in shown.items()}
                assert {router: origin["registry"] for router, origin in found.items()} == {
                    "http": f"files in {tmp_path}",
                    "byHttp": f"namerd at /$/inet/127.0.0.1/{http}",
                    "byMesh": f"namerd at /$/inet/127.0.0.1/{mesh}",
                }
                assert all(origin["age"] < 5 and "changed" in origin for origin in found.values())
                # A reading of the directory confirms what inotify has no reason to tell.
                await until(linker, "/#/io.l5d.fs/web", lambda now: now["confirmed"] > found["http"]["confirmed"])
                await control.stop()
                async with asyncio.timeout(10):
                    while True:
                        shown = json.loads(await linker.admin("/admin/endpoints.json"))
                        lost = [shown[router]["/#/io.l5d.fs/web"]["origin"] for router in ("byHttp", "byMesh")]
                        if all("error" in origin for origin in lost):
                            break
                        await asyncio.sleep(0.05)
