"""Acknowledged in force, with the real programs: `--wait` ends when every linker sends requests by the new dtab."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.programs import Ran, run
from tests.mesh.test_canary import NEW, OLD, linker, stored
from tests.mesh.test_mesh_linker import by
from tests.mesh.test_mesh_linker import control as grpc_control
from tests.mesh.test_mesh_linker import linker as grpc_linker
from tests.mesh.test_namerd import HTTP, ask, namerd
from tests.mesh.test_namerd_mesh import MESH


async def dtab(control: LinkerProcess, *arguments: str) -> Ran:
    url = f"BIANDOU_NAMERD=http://127.0.0.1:{control.port(HTTP)}"
    paths = f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"
    return await run("env", url, paths, sys.executable, "-m", "biandou", "dtab", *arguments)


async def standing(control: LinkerProcess) -> Any:
    return json.loads((await ask(control, "GET /api/1/in-force/default"))[2])


async def until_connected(control: LinkerProcess, count: int) -> None:
    async with asyncio.timeout(10):
        while (await standing(control))["inForce"] != count:
            await asyncio.sleep(0.02)


def to(origin: Origin) -> str:
    return f"/svc => /$/inet/127.0.0.1/{origin.port} ;\n"


async def test_wait_ends_when_the_next_request_of_every_linker_goes_where_the_new_dtab_says(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, stored(tmp_path) as control:
        (tmp_path / "one").write_text(to(one))
        (tmp_path / "other").write_text(to(other))
        created = await dtab(control, "create", "default", f"{tmp_path}/one", "--wait")
        assert created.output.startswith(b"Created default\nIn force in 0 linkers after 0.")
        async with linker(control.port(HTTP)) as first, linker(control.port(HTTP)) as second:
            for data in (first, second):
                assert (await data.get("web")).endswith(b"old")
            await until_connected(control, 2)
            updated = await dtab(control, "update", "--wait=20", "default", f"{tmp_path}/other")
            assert updated.status == 0, updated.errors
            assert b"\nIn force in 2 linkers after 0.0" in updated.output
            for data in (first, second):
                assert (await data.get("web")).endswith(b"new")

            # One that hangs does not have it, and is named.
            second.signal(signal.SIGSTOP)
            late = await dtab(control, "rollback", "default", "--wait=0.5")
            assert late.status == 1
            assert f", process {second.pid}: Mg==\n".encode() in late.output
            assert str(first.pid).encode() not in late.output
            assert (await first.get("web")).endswith(b"old")
            told = await dtab(control, "status", "default")
            lines = told.output.decode().splitlines()
            assert lines[0] == "# version Mw==, in force in 1 of 2 linkers"
            assert f"{second.pid}  NOT in force  Mg==" in lines[1]
            assert (await dtab(control, "status", "--wait=0.2", "default")).status == 1
            second.signal(signal.SIGCONT)
            told = await dtab(control, "status", "default", "--wait", "--json")
            assert told.status == 0, told.errors
            assert [linker["version"] for linker in json.loads(told.output)["linkers"]] == ["Mw==", "Mw=="]
            assert (await second.get("web")).endswith(b"old")

            # One that is killed is forgotten.
            await second.kill()
            assert (await dtab(control, "update", "default", f"{tmp_path}/other", "--wait=20")).status == 0
            assert [one["pid"] for one in (await standing(control))["linkers"]] == [first.pid]


async def test_each_of_several_namerds_knows_what_is_in_force_in_all_linkers(tmp_path: Path) -> None:
    config = (
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}]\n"
    )
    async with Origin(OLD) as one, Origin(NEW) as other, namerd(config) as first, namerd(config) as second:
        (tmp_path / "disco").mkdir()
        both = "".join(f"127.0.0.1 {control.port(HTTP)}\n" for control in (first, second))
        (tmp_path / "disco" / "namerd").write_text(both)
        text = "Content-Type: text/plain"
        assert (await ask(first, "POST /api/1/dtabs/default", to(one).encode(), text))[0] == 204
        data = LinkerProcess(
            "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], interpreter: {kind: "
            "io.l5d.namerd.http, retry: {baseSeconds: 1, maxSeconds: 1}, dst: '/#/io.l5d.fs/namerd'}}]\n"
            f"namers: [{{kind: io.l5d.fs, rootDir: {tmp_path}/disco}}]\n"
        )
        async with data:
            # The second namerd sees the first one's file a moment later.
            async with asyncio.timeout(10):
                while not (await data.get("web")).endswith(b"old"):
                    await asyncio.sleep(0.05)
            (tmp_path / "other").write_text(to(other))
            for control in (first, second):
                await until_connected(control, 1)
            known = [(await standing(control))["linkers"][0] for control in (first, second)]
            assert sorted(linker["connected"] for linker in known) == [False, True]
            # Asked of the one that the linker is not connected to.
            asked = first if not known[0]["connected"] else second
            updated = await dtab(asked, "update", "default", f"{tmp_path}/other", "--wait=20")
            assert updated.status == 0, updated.errors
            assert b"In force in 1 linker after" in updated.output
            assert (await data.get("web")).endswith(b"new")


async def test_linkers_that_bind_over_grpc_acknowledge_too_and_may_try_a_dtab(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, grpc_control(tmp_path) as control:
        for name, origin in (("one", one), ("other", other)):
            (tmp_path / name).write_text(to(origin))
        assert (await dtab(control, "create", "default", f"{tmp_path}/one")).status == 0
        ports = control.port(HTTP), control.port(MESH)
        async with grpc_linker(by(control)) as first, grpc_linker(by(control)) as second:
            # Before anybody asks for anything.
            await until_connected(control, 2)
            for data in (first, second):
                assert (await data.get("web")).endswith(b"old")
            for file, word in (("other", b"new"), ("one", b"old"), ("other", b"new")):
                updated = await dtab(control, "update", "default", f"{tmp_path}/{file}", "--wait")
                assert updated.status == 0, updated.errors
                assert b"\nIn force in 2 linkers after 0." in updated.output
                for data in (first, second):
                    assert (await data.get("web")).endswith(word)
            assert (await dtab(control, "update", "default", f"{tmp_path}/one", "--to", "50%")).status == 0
            told = b""
            async with asyncio.timeout(10):
                while b"a new dtab is about to be tried by 50% of the linkers" not in told:
                    told = (await dtab(control, "status", "default")).output
            assert (await dtab(control, "abort", "default")).status == 0

            await control.kill()
            async with grpc_control(tmp_path, *ports) as again:
                await until_connected(again, 2)
                second.signal(signal.SIGSTOP)
                assert (await dtab(again, "update", "default", f"{tmp_path}/one", "--wait=0.5")).status == 1
                assert [known["pid"] for known in (await standing(again))["linkers"] if not known["inForce"]] == [
                    second.pid
                ]
                second.signal(signal.SIGCONT)
                assert (await dtab(again, "status", "default", "--wait")).status == 0
                assert (await second.get("web")).endswith(b"old")
