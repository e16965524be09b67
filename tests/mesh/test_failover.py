"""Failover between two registries in the real program: requests move, come back late, and none fails."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import Traffic
from tests.mesh.programs import run

EXAMPLES = Path(__file__).parents[2] / "examples"
RESTORE_SECONDS = 1.5


@asynccontextmanager
async def origins(text: str, count: int) -> AsyncIterator[list[Origin]]:
    async with AsyncExitStack() as stack:
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        yield [await stack.enter_async_context(Origin(answer)) for _ in range(count)]


def put(root: Path, *instances: Origin) -> None:
    """Write a registry's file anew, in one step."""
    beside = root / ".new"
    beside.write_text("".join(f"{one.ip} {one.port}\n" for one in instances))
    os.replace(beside, root / "web")


def example(directory: Path, more: str = "") -> str:
    """Copy the registries of the example, and give its text on free ports."""
    shutil.copytree(EXAMPLES / "failover", directory / "failover")
    text = (EXAMPLES / "failover.yaml").read_text().replace("port: 9990", "port: 0").replace("port: 4140", "port: 0")
    return text.replace("restoreAfterMs: 30000", f"restoreAfterMs: {RESTORE_SECONDS * 1000:.0f}") + more


async def shown(linker: LinkerProcess) -> dict[str, Any]:
    state: dict[str, dict[str, Any]] = json.loads(await linker.admin("/namer_state/io.biandou.failover.json"))
    return state["/web"]


async def until(traffic: Traffic, wanted: set[str]) -> None:
    """Wait until requests are answered by these registries, and only by these."""
    async with asyncio.timeout(10):
        while True:
            traffic.answers.clear()
            await traffic.more(40)
            if set(traffic.answers) == wanted:
                return


async def test_requests_move_to_the_other_registry_and_come_back_late_and_none_fails(tmp_path: Path) -> None:
    config = example(tmp_path)
    east_file, west_file = tmp_path / "failover" / "east", tmp_path / "failover" / "west"
    async with origins("east", 3) as east, origins("west", 3) as west:
        put(east_file, *east)
        put(west_file, *west)
        async with LinkerProcess(config, cwd=str(tmp_path)) as linker, Traffic(linker.port()) as traffic:
            await until(traffic, {"east"})
            put(east_file, *east[:1])
            await until(traffic, {"west"})
            assert (await shown(linker))["tiers"][0]["needed"] == 2
            put(east_file, *east)
            back = time.monotonic()
            await traffic.more(40)
            assert (await shown(linker))["tiers"][0]["restoresInMs"] > 0
            await until(traffic, {"east"})
            assert time.monotonic() - back >= RESTORE_SECONDS - 0.1
            # Two of three are less than 70 %: a twentieth of the requests goes west.
            put(east_file, *east[:2])
            await until(traffic, {"east", "west"})
            # The file is gone: the name is unknown there.
            (east_file / "web").unlink()
            await until(traffic, {"west"})
            # A registry that comes and goes every moment moves nothing.
            changes = (await shown(linker))["changes"]
            for _ in range(10):
                put(east_file, *east)
                await asyncio.sleep(0.1)
                put(east_file, *east[:1])
                await asyncio.sleep(0.1)
            assert (await shown(linker))["changes"] == changes
            (west_file / "web").unlink()
            await until(traffic, {"east"})
            assert traffic.failed == []
        told = [line for line in linker.log if "/#/io.biandou.failover/web: " in line]
        assert any("/#/east 0% (1 of 3 healthy, needs 2); /#/west 100% (3 of 3 healthy)" in line for line in told)


async def test_endpoints_that_fail_requests_count_as_not_healthy(tmp_path: Path) -> None:
    """The registry goes on telling of them: only who sends requests knows."""
    config = example(tmp_path, "  client:\n    failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 1}\n")
    east_file, west_file = tmp_path / "failover" / "east", tmp_path / "failover" / "west"
    async with origins("east", 3) as east, origins("west", 3) as west:
        put(east_file, *east)
        put(west_file, *west)
        async with LinkerProcess(config, cwd=str(tmp_path)) as linker, Traffic(linker.port()) as traffic:
            await until(traffic, {"east"})
            for one in east[:2]:
                await one.close()
            await until(traffic, {"west"})
            state = await shown(linker)
            assert (state["tiers"][0]["known"], state["tiers"][0]["share"]) == (3, 0.0)


async def test_explain_says_which_tier_is_used_and_why(tmp_path: Path) -> None:
    config = tmp_path / "linkerd.yaml"
    config.write_text(example(tmp_path))
    (tmp_path / "failover" / "east" / "web").write_text("127.0.0.1 81\n")
    environment = ("env", f"--chdir={tmp_path}", f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}")
    ran = await run(*environment, sys.executable, "-m", "biandou", "explain", "-H", "Host: web", str(config))
    assert ran.status == 0, ran.errors
    assert "/#/east 0% (1 of 1 healthy, needs 2); /#/west 100% (3 of 3 healthy)" in ran.output.decode()
    assert "/#/west/web" in ran.output.decode()
