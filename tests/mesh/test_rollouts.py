"""A dtab that some linkers try first, with the real programs: `biandou dtab update --to`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_canary import BAD, NEW, OLD, linker, stored, text_of, traffic
from tests.mesh.test_in_force import dtab, standing, to, until_connected
from tests.mesh.test_namerd import HTTP, ask, namerd
from tests.mesh.test_namerd_mesh import MESH

FAST = ("--to", "40%", "--for", "3s", "--min-requests", "20")


@asynccontextmanager
async def mesh(
    folder: Path, port: int, origin: Origin, linker: Callable[[int], LinkerProcess] = linker
) -> AsyncIterator[list[LinkerProcess]]:
    """Give three linkers with traffic, all of which have the first dtab in force."""
    async with AsyncExitStack() as ending:
        linkers = [await ending.enter_async_context(linker(port)) for _ in range(3)]
        for one in linkers:
            assert (await one.get("web")).endswith(b"old")
            await ending.enter_async_context(traffic(one))
        yield linkers


async def said(linkers: Sequence[LinkerProcess]) -> list[bytes]:
    return sorted([(await one.get("web"))[-3:] for one in linkers])


async def version_and_text(control: LinkerProcess) -> tuple[str, bytes]:
    _, headers, body = await ask(control, "GET /api/1/dtabs/default")
    return headers["ETag"], body


async def until_phase(control: LinkerProcess, *phases: str) -> None:
    async with asyncio.timeout(20):
        while (await standing(control))["rollout"]["phase"] not in phases:
            await asyncio.sleep(0.05)


def over_mesh(port: int) -> LinkerProcess:
    """Give a linker that binds over gRPC."""
    return LinkerProcess(
        "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], interpreter: {kind: io.l5d.mesh, "
        f"dst: /$/inet/127.0.0.1/{port}, root: /default, retry: {{baseSeconds: 1, maxSeconds: 1}}}}}}]"
    )


@pytest.mark.parametrize("kind", ["io.l5d.namerd.http", "io.l5d.mesh"])
async def test_a_bad_dtab_is_withdrawn_by_itself_and_a_good_one_goes_to_all(tmp_path: Path, kind: str) -> None:
    stores = namerd(
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}, {kind: io.l5d.mesh, port: 0}]\n"
    )
    async with Origin(OLD) as one, Origin(BAD) as bad, Origin(NEW) as good, stores as control:
        made, port = (linker, control.port(HTTP)) if kind == "io.l5d.namerd.http" else (over_mesh, control.port(MESH))
        for name, origin in (("one", one), ("bad", bad), ("good", good)):
            (tmp_path / name).write_text(to(origin))
        assert (await dtab(control, "create", "default", f"{tmp_path}/one")).status == 0
        before = await version_and_text(control)
        async with mesh(tmp_path, port, one, made) as linkers:
            await until_connected(control, 3)
            ended = await dtab(control, "update", "default", f"{tmp_path}/bad", *FAST, "--wait=25")
            assert ended.status == 1, ended.output
            assert b"the new dtab was withdrawn: 100% of " in ended.output
            # Nothing has changed: the version is the same, too.
            assert await version_and_text(control) == before
            assert (await dtab(control, "status", "default", "--wait")).status == 0
            assert await said(linkers) == [b"old"] * 3

            started = await dtab(control, "update", "default", f"{tmp_path}/good", *FAST)
            assert started.status == 0, started.errors
            assert (await dtab(control, "update", "default", f"{tmp_path}/good", *FAST)).status == 255
            await until_phase(control, "trying", "applied")
            shown = (await dtab(control, "status", "default", "--wait")).output.decode().splitlines()
            assert shown[0].endswith("in force in 3 of 3 linkers")
            if "is tried by 40% of the linkers, and goes to all in" in shown[1]:
                assert sum("  tries it  " in line for line in shown) == 2
                assert await said(linkers) in ([b"new", b"new", b"old"], [b"new"] * 3)
            await until_phase(control, "applied")
            assert (await dtab(control, "status", "default", "--wait")).status == 0
            assert await said(linkers) == [b"new"] * 3
        assert (await text_of(control)).decode().replace(" ", "") == to(good).replace(" ;", "").replace(" ", "")


async def test_a_namerd_that_is_killed_in_a_trial_goes_on_with_it_and_an_abort_changes_nothing(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as good, stored(tmp_path) as control:
        (tmp_path / "one").write_text(to(one))
        (tmp_path / "good").write_text(to(good))
        assert (await dtab(control, "create", "default", f"{tmp_path}/one")).status == 0
        port = control.port(HTTP)
        async with mesh(tmp_path, port, one) as linkers:
            await until_connected(control, 3)
            long = ("--to", "1%", "--for", "20s", "--min-requests", "5")
            assert (await dtab(control, "update", "default", f"{tmp_path}/good", *long)).status == 0
            await until_phase(control, "trying")
            assert (await dtab(control, "status", "default", "--wait")).status == 0
            assert await said(linkers) == [b"new", b"old", b"old"]
            before = await version_and_text(control)
            await control.kill()
            assert await said(linkers) == [b"new", b"old", b"old"]
            async with stored(tmp_path, port) as again:
                await until_connected(again, 3)
                assert (await standing(again))["rollout"]["phase"] == "trying"
                assert await said(linkers) == [b"new", b"old", b"old"]
                aborted = await dtab(again, "abort", "default")
                assert aborted.output == b"the new dtab was aborted: on request\n"
                assert (await dtab(again, "status", "default", "--wait")).status == 0
                assert await said(linkers) == [b"old"] * 3
                assert await version_and_text(again) == before
                assert (await dtab(again, "abort", "default")).status == 255
