"""`biandou demo` shows what it promises: traffic moves, an instance dies, and no request fails."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys


async def start_demo(*arguments: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "COLUMNS": "200",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "biandou",
        "demo",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def shares(text: str, phase: str) -> dict[str, int]:
    """Give the summary's line of a phase: percent by instance."""
    found = re.search(rf"^{re.escape(phase)} +(.+)$", text, re.MULTILINE)
    assert found is not None, text
    names = ("web-v1-a", "web-v1-b", "web-v2", "users")
    return dict(zip(names, map(int, re.findall(r"(\d+)%", found[1])), strict=True))


async def test_traffic_moves_with_the_dtab_and_no_request_fails_when_an_instance_dies() -> None:
    demo = await start_demo("--seconds", "12", "--plain")
    async with asyncio.timeout(60):
        output = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, output
    found = re.search(r"(\d+) requests, (\d+) failed", output)
    assert found is not None, output
    assert int(found[1]) > 500
    assert int(found[2]) == 0
    first = shares(output, "every request for web goes to v1")
    assert first["web-v2"] == 0
    assert first["web-v1-a"] > 10
    assert first["web-v1-b"] > 10
    assert 0 < shares(output, "the dtab is edited: 10 % of web to v2")["web-v2"] < 20
    assert 25 < shares(output, "the dtab is edited: half of web to v2")["web-v2"] < 50
    killed = shares(output, "web-v1-b is killed: web-v1-a takes over")
    assert killed["web-v1-b"] <= 5
    assert killed["web-v1-a"] > 25
    last = shares(output, "the dtab is edited: all of web to v2")
    assert last["web-v1-a"] <= 5
    assert "curl -H 'Host: web' http://127.0.0.1:" in output
    assert "/admin/metrics.json" in output


async def test_an_interrupted_demo_ends_all_its_processes() -> None:
    demo = await start_demo("--forever", "--plain")
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(30):
            while b"1. every request" not in await demo.stdout.readline():
                pass
        children = children_of(demo.pid)
        assert len(children) == 6, "four services and two linkers"
    finally:
        demo.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await demo.communicate()
    assert demo.returncode == 0, "to end it is what Ctrl-C is for"
    assert [pid for pid in children if os.path.exists(f"/proc/{pid}")] == []
