"""The reference's state pages of interpreters and stores, of the real programs."""

from __future__ import annotations

import json
from pathlib import Path

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_namerd import HTTP, ask
from tests.mesh.test_namerd_mesh import MESH
from tests.registries.consul import ConsulServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_interpreters_and_stores_show_what_they_follow(tmp_path: Path) -> None:
    async with ConsulServer() as consul, Origin(OK) as origin:
        stored = (
            f"admin: {{port: 0}}\nstorage: {{kind: io.l5d.consul, host: 127.0.0.1, port: {consul.port}}}\n"
            "interfaces: [{kind: io.l5d.httpController, port: 0}, {kind: io.l5d.mesh, port: 0}]\n"
        )
        async with LinkerProcess(stored, command="namerd") as namerd:
            dtab = f"/svc => /$/inet/127.0.0.1/{origin.port} ;".encode()
            made = await ask(namerd, "POST /api/1/dtabs/default", dtab, "Content-Type: application/dtab")
            assert made[0] == 204
            page = json.loads(await namerd.admin("/storage/namerd/dtabs.json"))
            assert page["default"]["state"]["value"] == {
                "version": page["default"]["state"]["value"]["version"],
                "dtab": f"/svc=>/$/inet/127.0.0.1/{origin.port}",
            }
            assert page["default"]["poll"] == {"error": None}
            linkers = "admin: {port: 0}\nrouters:\n"
            for label, interpreter in (
                ("mesh", f"kind: io.l5d.mesh, dst: /$/inet/127.0.0.1/{namerd.port(MESH)}, root: /default"),
                ("keys", f"kind: io.l5d.consul.interpreter, host: 127.0.0.1, port: {consul.port}"),
            ):
                linkers += (
                    f"- {{protocol: http, label: {label}, servers: [{{port: 0}}], interpreter: {{{interpreter}}}}}\n"
                )
            async with LinkerProcess(linkers) as linker:
                keys = "/keys/interpreter_state/io.l5d.consul.interpreter.json"
                assert json.loads(await linker.admin(keys))["state"] == {"running": False, "value": "Still pending"}
                for label in ("mesh", "keys"):
                    assert (await linker.get("web", router=label)).endswith(b"ok")
                shown = json.loads(await linker.admin(keys))
                assert shown["state"] == {"running": True, "value": f"/svc=>/$/inet/127.0.0.1/{origin.port}"}
                assert shown["poll"]["request"] == f"consul at 127.0.0.1:{consul.port}: /namerd/dtabs/default"
                shown = json.loads(await linker.admin("/mesh/interpreter_state/io.l5d.mesh/default.json"))
                assert list(shown["bind"]) == ["/svc/web"]
                assert shown["resolve"][f"/$/inet/127.0.0.1/{origin.port}"]["state"] == {
                    "running": True,
                    "value": [f"127.0.0.1:{origin.port}"],
                }
            assert (await ask(namerd, "GET /api/1/dtabs/default"))[0] == 200
            assert namerd.port(HTTP)


async def test_a_store_without_a_prefix_has_its_page_too(tmp_path: Path) -> None:
    stored = (
        "admin: {port: 0}\nstorage: {kind: io.l5d.inMemory, namespaces: {default: /svc=>/x}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}]\n"
    )
    async with LinkerProcess(stored, command="namerd") as namerd:
        page = json.loads(await namerd.admin("/storage/dtabs.json"))
        assert page["default"]["state"]["value"]["dtab"] == "/svc=>/x"
