"""`biandou dtab plan` with the real programs: the names are those that linkers were asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from biandou.testing.origin import Origin
from tests.mesh.test_canary import NEW, OLD, linker
from tests.mesh.test_in_force import dtab, to, until_connected
from tests.mesh.test_mesh_linker import by
from tests.mesh.test_mesh_linker import control as control_of
from tests.mesh.test_mesh_linker import linker as grpc_linker
from tests.mesh.test_namerd import HTTP


async def test_a_plan_names_what_linkers_are_asked_for_and_changes_nothing(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, control_of(tmp_path) as control:
        (tmp_path / "one").write_text(to(one))
        (tmp_path / "new").write_text(f"{to(one)} /svc/web => /$/inet/127.0.0.1/{other.port} ; /svc/gone => ! ;")
        assert (await dtab(control, "create", "default", f"{tmp_path}/one")).status == 0
        async with linker(control.port(HTTP)) as first, grpc_linker(by(control)) as second:
            await until_connected(control, 2)
            for name in ("web", "gone", "api"):
                assert (await first.get(name)).endswith(b"old")
            found: dict[str, Any] = {}
            # A linker is known before its first report.
            async with asyncio.timeout(20):
                while found.get("routers") != {"reporting": 2, "heard": 2}:
                    plan = asyncio.create_task(
                        dtab(control, "plan", "default", f"{tmp_path}/new", "--json", "--exit-code")
                    )
                    while not plan.done():
                        for data in (first, second):
                            assert (await data.get("web")).endswith(b"old")
                        await asyncio.sleep(0.02)
                    told = await plan
                    assert told.status == 2, told.errors
                    found = json.loads(told.output)
            assert found["routers"] == {"reporting": 2, "heard": 2}
            web, gone = found["changes"]
            assert (web["name"], web["kind"], web["share"]) == ("/svc/web", "moved", 1.0)
            assert web["requests"] > 10
            assert (gone["name"], gone["kind"], gone["requests"]) == ("/svc/gone", "unroutable", 0)
            assert (found["names"], found["moves"]) == (3, 1.0)
            assert (await dtab(control, "plan", "default", f"{tmp_path}/one", "--exit-code")).status == 0
            assert (await first.get("gone")).endswith(b"old")
