"""Canaries in the real programs: namerd moves the weight, a linker reports, and back ends are good or bad."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.programs import Ran, run
from tests.mesh.test_namerd import HTTP, ask, namerd
from tests.stores import etcd_members

OLD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"
NEW = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nnew"
PLACE = "/api/1/canaries/default"
QUERY = "?path=/svc/web"


def stored(folder: Path, port: int = 0) -> LinkerProcess:
    return namerd(
        f"storage: {{kind: io.biandou.sqlite, path: {folder}/namerd.db}}\n"
        f"interfaces: [{{kind: io.l5d.httpController, port: {port}}}]\n"
    )


def linker(port: int) -> LinkerProcess:
    return LinkerProcess(
        "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], interpreter: {kind: "
        f"io.l5d.namerd.http, dst: /$/inet/127.0.0.1/{port}, retry: {{baseSeconds: 1, maxSeconds: 1}}}}}}]"
    )


def dtab(one: Origin) -> bytes:
    return f"/svc=>/nowhere;/svc/web=>/$/inet/127.0.0.1/{one.port};/svc/other=>/x\n".encode()


@asynccontextmanager
async def traffic(through: LinkerProcess) -> AsyncIterator[None]:
    async def go() -> None:
        while True:
            await through.get("web")
            await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(go()) for _ in range(2)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def started(control: LinkerProcess, one: Origin, other: Origin, **keys: Any) -> Any:
    made = await ask(control, "POST /api/1/dtabs/default", dtab(one), "Content-Type: text/plain")
    assert made[0] == 204
    return await begun(control, one, other, **keys)


async def begun(control: LinkerProcess, one: Origin, other: Origin, **keys: Any) -> Any:
    plan = {
        "path": "/svc/web",
        "from": f"/$/inet/127.0.0.1/{one.port}",
        "to": f"/$/inet/127.0.0.1/{other.port}",
        "steps": [25, 50, 100],
        "interval": 1.0,
        "maxErrorRate": 0.05,
        "maxP99Ratio": None,
        "minRequests": 10,
        **keys,
    }
    status, _, body = await ask(control, f"POST {PLACE}", json.dumps(plan).encode())
    assert status == 200, body
    return json.loads(body)


async def shown(control: LinkerProcess) -> Any:
    status, _, body = await ask(control, f"GET {PLACE}{QUERY}")
    assert status == 200, body
    return json.loads(body)


async def until(control: LinkerProcess, status: str, seconds: float = 30.0) -> Any:
    known = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                known = await shown(control)
                if known["status"] == status and known["settled"]:
                    return known
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not {status}: {known}\n" + "\n".join(control.log)) from None


async def text_of(control: LinkerProcess) -> bytes:
    return (await ask(control, "GET /api/1/dtabs/default", b"", "Accept: application/dtab"))[2]


async def act(control: LinkerProcess, **sent: Any) -> int:
    return (await ask(control, f"PUT {PLACE}{QUERY}", json.dumps(sent).encode()))[0]


async def cli(control: LinkerProcess, *arguments: str) -> Ran:
    url = f"BIANDOU_NAMERD=http://127.0.0.1:{control.port(HTTP)}"
    paths = f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"
    return await run("env", url, paths, sys.executable, "-m", "biandou", "canary", *arguments)


async def test_a_good_version_gets_all_traffic_step_by_step(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, stored(tmp_path) as control:
        made = await ask(control, "POST /api/1/dtabs/default", dtab(one), "Content-Type: text/plain")
        assert made[0] == 204
        async with linker(control.port(HTTP)) as data, traffic(data):
            told = await cli(
                control, "start", "default", "/svc/web", "--from", f"/$/inet/127.0.0.1/{one.port}",
                "--to", f"/$/inet/127.0.0.1/{other.port}", "--steps", "25,50,100", "--interval", "1s",
                "--max-p99-ratio", "1000", "--min-requests", "20",
            )  # fmt: skip
            assert told.status == 0, told.errors
            watched = await cli(control, "status", "default", "/svc/web", "--watch")
            assert watched.status == 0, watched.errors
            lines = watched.output.decode().splitlines()
            assert lines[-1] == f"promoted  100% to /$/inet/127.0.0.1/{other.port}  every step went well"
            assert any(" 50% " in line for line in lines)
            for _ in range(5):
                assert (await data.get("web")).endswith(b"new")
        assert await text_of(control) == dtab(one).replace(str(one.port).encode(), str(other.port).encode())
        history = json.loads((await ask(control, "GET /api/1/history/default"))[2])
        assert [revision["author"] for revision in history] == ["canary", "canary", "canary", ""]
        assert "=>75*/$/inet" in history[2]["dtab"].replace(" ", "")
        assert (await ask(control, "GET /api/1/dtabs"))[2] == b'["default"]\n'
        assert (await ask(control, "DELETE /api/1/dtabs/~canary~default"))[0] == 403
        listed = await cli(control, "list")
        assert listed.output.startswith(b"default  /svc/web  promoted  100%")


async def test_a_bad_version_is_rolled_back_to_exactly_the_earlier_dtab_with_the_reason(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(BAD) as other, stored(tmp_path) as control:
        await started(control, one, other, interval=60.0)
        async with linker(control.port(HTTP)) as data, traffic(data):
            known = await until(control, "rolled back")
        assert known["weight"] == 0
        assert known["reason"].startswith("100% of "), known
        assert known["reason"].partition(" failed, ")[2].startswith("more than 5% (before: 0% of ")
        assert await text_of(control) == dtab(one)
        watched = await cli(control, "status", "default", "/svc/web", "--watch")
        assert (watched.status, watched.output[:11]) == (1, b"rolled back")


async def test_a_slow_version_is_rolled_back(tmp_path: Path) -> None:
    async def slowly(_request: bytes) -> bytes:
        await asyncio.sleep(0.1)
        return NEW

    async with Origin(OLD) as one, Origin(slowly) as other, stored(tmp_path) as control:
        await started(control, one, other, maxP99Ratio=1.5)
        async with linker(control.port(HTTP)) as data, traffic(data):
            known = await until(control, "rolled back")
        assert known["reason"].startswith("the 99th percentile is 1"), known
        assert await text_of(control) == dtab(one)


async def test_a_namerd_that_is_killed_in_the_middle_resumes(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, stored(tmp_path) as control:
        port = control.port(HTTP)
        async with linker(port) as data, traffic(data):
            await started(control, one, other, interval=2.0)
            async with asyncio.timeout(15):
                while (await shown(control))["weight"] < 25:
                    await asyncio.sleep(0.02)
            await control.kill()
            async with stored(tmp_path, port) as again:
                assert (await shown(again))["status"] == "running"
                assert (await until(again, "promoted", 40.0))["weight"] == 100
                for _ in range(5):
                    assert (await data.get("web")).endswith(b"new")


@pytest.fixture(params=["sqlite", "etcd"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Give the keys of a store that two namerds may share."""
    if request.param == "sqlite":
        yield f"{{kind: io.biandou.sqlite, path: {tmp_path}/namerd.db}}"
        return
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (etcd-server)")
    members = await asyncio.to_thread(etcd_members.start, 1, tmp_path)
    try:
        yield f"{{kind: io.l5d.etcd, experimental: true, endpoints: [127.0.0.1:{members[0].client}]}}"
    finally:
        for member in members:
            member.kill()


async def test_of_two_namerds_one_drives_and_the_other_takes_over(tmp_path: Path, storage: str) -> None:
    """Both judge by what one linker reports to both; every weight is written once."""
    config = f"storage: {storage}\ninterfaces: [{{kind: io.l5d.httpController, port: 0}}]\n"
    async with Origin(OLD) as one, Origin(NEW) as other, namerd(config) as first, namerd(config) as second:
        both = [first.port(HTTP), second.port(HTTP)]
        config = (
            "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], dtab: /n=>/$/inet/127.0.0.1, "
            "interpreter: {kind: io.l5d.namerd.http, retry: {baseSeconds: 1, maxSeconds: 1}, "
            f"dst: '/#/io.l5d.fs/namerd'}}}}]\nnamers: [{{kind: io.l5d.fs, rootDir: {tmp_path}}}]\n"
        )
        (tmp_path / "namerd").write_text("".join(f"127.0.0.1 {port}\n" for port in both))
        async with LinkerProcess(config) as data, traffic(data):
            await started(first, one, other, interval=1.5)
            async with asyncio.timeout(15):
                while not (drives := [known for known in (first, second) if logged(known)]):
                    await asyncio.sleep(0.05)
                # Each sees within half a second what the other has written.
                await asyncio.sleep(0.6)
            assert drives == [known for known in (first, second) if logged(known)]
            (other_one,) = {first, second} - set(drives)
            await drives[0].kill()
            await until(other_one, "promoted", 40.0)
        if "sqlite" in storage:
            history = json.loads((await ask(other_one, "GET /api/1/history/default"))[2])
            assert len(history) == 4


def logged(program: LinkerProcess) -> bool:
    return any("canary of default" in line for line in program.log)


async def test_a_dtab_that_somebody_else_changes_is_left_alone(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, stored(tmp_path) as control:
        await started(control, one, other)
        assert (await ask(control, f"POST {PLACE}", json.dumps({"path": "/a", "from": "/b", "to": "/c"}).encode()))[
            0
        ] == 409
        async with asyncio.timeout(10):
            while (await shown(control))["weight"] < 25:
                await asyncio.sleep(0.02)
        before = await text_of(control)
        text = "Content-Type: text/plain"
        assert (await ask(control, "PUT /api/1/dtabs/default", b"/svc=>/mine", text))[0] == 204
        known = await until(control, "paused")
        assert known["reason"].startswith("the dtab was changed by somebody else")
        assert await act(control, action="abort") == 200
        await until(control, "paused")
        assert await text_of(control) == b"/svc=>/mine\n"
        # Whoever puts it back may go on.
        assert (await ask(control, "PUT /api/1/dtabs/default", before, text))[0] == 204
        assert await act(control, action="resume") == 200
        assert (await until(control, "running"))["weight"] == 25
        assert await act(control, action="pause") == 200
        assert await act(control, action="abort") == 200
        await until(control, "aborted")
        assert await text_of(control) == dtab(one)
        assert await act(control, action="abort") == 409
        await begun(control, one, other)
        await until(control, "running")
        assert await act(control, action="promote") == 200
        await until(control, "promoted")
        assert str(other.port).encode() in await text_of(control)


async def test_too_little_traffic_holds_the_step(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, stored(tmp_path) as control:
        await started(control, one, other, interval=0.1)
        async with asyncio.timeout(10):
            while "is held: 0 of 10 requests" not in (await shown(control))["reason"]:
                await asyncio.sleep(0.05)
        assert (await shown(control))["weight"] == 25
