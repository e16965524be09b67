"""`biandou demo` shows what it promises: a bad version is rolled back, a good one promoted, and no request fails."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml

from biandou.demo.hosts_scene import LINKER
from tests.mesh.hosts import apart


async def start_demo(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "COLUMNS": "200",
        **variables,
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
    names = ("web-v1-a", "web-v1-b", "web-v2", "web-v3", "users")
    return dict(zip(names, map(int, re.findall(r"(\d+)%", found[1])), strict=True))


async def test_canaries_decide_by_themselves_and_no_request_fails_when_an_instance_dies_either() -> None:
    demo = await start_demo("--seconds", "15", "--plain")
    async with asyncio.timeout(90):
        output = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, output
    found = re.search(r"(\d+) requests, (\d+) failed", output)
    assert found is not None, output
    assert int(found[1]) > 500
    assert int(found[2]) == 0
    first = shares(output, "v1 has all of web")
    assert first["web-v2"] == first["web-v3"] == 0
    assert first["web-v1-a"] > 10
    assert first["web-v1-b"] > 10
    killed = shares(output, "an instance of v1 is killed")
    assert killed["web-v1-b"] <= 5
    assert killed["web-v1-a"] > 60
    assert re.search(r"canary: rolled back, 0% to web-v2: \d+% of \d+ requests failed, more than 5%", output), output
    assert shares(output, "v1 has all of web again")["web-v1-a"] > 70
    assert "canary: running, 50% to web-v3: step 2 of 3" in output
    assert "canary: promoted, 100% to web-v3: every step went well" in output
    last = shares(output, "v3 has all of web")
    assert last["web-v3"] > 70
    assert last["web-v1-a"] <= 5
    assert "curl -H 'Host: web' http://127.0.0.1:" in output
    assert "/admin/metrics.json" in output


async def test_an_interrupted_demo_ends_all_its_processes() -> None:
    demo = await start_demo("--forever", "--plain")
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(30):
            while b"1. v1 has all" not in await demo.stdout.readline():
                pass
        children = children_of(demo.pid)
        assert len(children) == 8, "five services, namerd and two linkers"
    finally:
        demo.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await demo.communicate()
    assert demo.returncode == 0, "to end it is what Ctrl-C is for"
    assert [pid for pid in children if os.path.exists(f"/proc/{pid}")] == []


async def test_hosts_show_a_host_that_is_lost_and_comes_back_and_no_request_fails() -> None:
    with apart("a"):
        pass
    demo = await start_demo("--hosts", "--seconds", "10")
    async with asyncio.timeout(100):
        output = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, output
    found = re.search(r"(\d+) requests, (\d+) failed", output)
    assert found is not None, output
    assert int(found[1]) > 500
    assert int(found[2]) == 0
    rows = {
        title: [int(share) for share in re.findall(r"(\d+)%", line)]
        for line in output.splitlines()
        for title in ("a linker on each", "host b is lost", "host b is used again")
        if line.startswith(title) and "%" in line
    }
    assert min(rows["a linker on each"]) > 3, "both instances on b, and both on c"
    # What was under way when it was lost may have been answered by it.
    assert sum(rows["host b is lost"][:2]) <= 5
    assert sum(rows["host b is lost"][2:]) >= 95
    assert sum(rows["host b is used again"][:2]) > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "the terminal is closed"])
async def test_an_interrupted_demo_of_hosts_leaves_nothing_behind(number: signal.Signals) -> None:
    with apart("a"):
        pass
    # Under nohup it is ignored by whoever is started.
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    demo = await start_demo("--hosts", "--forever")
    signal.signal(signal.SIGHUP, usual)
    lines: list[str] = []
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(60):
            while not lines or not lines[-1].startswith("1. "):
                lines.append((await demo.stdout.readline()).decode())
        made = set(re.findall(r"network namespace (\S+)", "".join(lines)))
        assert len(made) == 3
        assert all(Path("/run/netns", namespace).exists() for namespace in made)
        children = children_of(demo.pid)
        assert len(children) == 7, "four services and three linkers"
    finally:
        demo.send_signal(number)
        async with asyncio.timeout(30):
            await demo.communicate()
    assert [pid for pid in children if os.path.exists(f"/proc/{pid}")] == []
    assert [one.name for one in Path("/run/netns").glob(f"biandou-{demo.pid}-*")] == []


async def test_where_there_can_be_no_hosts_it_says_why() -> None:
    demo = await start_demo("--hosts", PATH="/nowhere")
    async with asyncio.timeout(30):
        output = (await demo.communicate())[0].decode()
    assert demo.returncode == 1
    reason = "network namespaces need root" if os.geteuid() else "of the package iproute2, which is not installed"
    assert "the demonstration could not start: network namespaces" in output
    assert reason in output


def test_every_host_of_it_has_the_linker_of_the_example() -> None:
    text = (Path(__file__).parents[2] / "examples" / "linker-to-linker" / "linker.yaml").read_text()
    assert yaml.safe_load(LINKER.format(directory="")) == yaml.safe_load(text.replace("disco", "/discovery"))
