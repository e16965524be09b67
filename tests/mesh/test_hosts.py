"""The three service models on hosts that are apart: each does what it is for, with its example as it is."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from biandou.demo.hosts import Host, HostsRefused, hosts
from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import saying, status_of
from tests.mesh.hosts import admin, apart, ask, linker_on, service_on

EXAMPLES = Path(__file__).parents[2] / "examples"
FAILING = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
OUTGOING, INCOMING = 4140, 4141


@dataclass(frozen=True)
class Mesh:
    """Three hosts with a linker each: `users` runs on a, two instances of `web` on b, and one on c."""

    hosts: tuple[Host, ...]
    linkers: tuple[LinkerProcess, ...]
    users: Origin
    web_b: tuple[Origin, Origin]
    web_c: Origin


@asynccontextmanager
async def mesh(model: str, folder: Path) -> AsyncIterator[Mesh]:
    file = Path(shutil.copytree(EXAMPLES / model, folder / model)) / "linker.yaml"
    with apart("a", "b", "c") as (a, b, c):
        async with (
            service_on(a, saying("users")) as users,
            service_on(b, saying("b1")) as first,
            service_on(b, saying("b2")) as second,
            service_on(c, saying("c")) as web_c,
        ):
            for name, instances in {"users": (users,), "web": (first, second, web_c)}.items():
                (file.parent / "disco" / name).write_text("".join(f"{one.ip} {one.port}\n" for one in instances))
            async with linker_on(a, file) as on_a, linker_on(b, file) as on_b, linker_on(c, file) as on_c:
                yield Mesh((a, b, c), (on_a, on_b, on_c), users, (first, second), web_c)


async def answers(count: int, caller: Host, ip: str, port: int, name: str) -> Counter[str]:
    """Ask so often, and count the bodies of answers with 200, and the statuses of all others."""
    counted: Counter[str] = Counter()
    for _ in range(count):
        answer = await ask(caller, ip, port, name)
        status = status_of(answer)
        counted[answer.partition(b"\r\n\r\n")[2].decode() if status == 200 else str(status)] += 1
    return counted


async def metrics(host: Host, prefix: str) -> dict[str, int]:
    """Give the host's linker's metrics below `prefix`."""
    known = await admin(host, "/admin/metrics.json")
    return {key.removeprefix(prefix): value for key, value in known.items() if key.startswith(prefix)}


def vias(request: bytes) -> int:
    """Say how many linkers a request has passed."""
    return sum(len(line.split(b",")) for line in re.findall(rb"(?im)^via: (.*?)\r$", request))


async def test_service_to_linker_balances_over_hosts_and_tries_again_on_the_side_of_the_caller(tmp_path: Path) -> None:
    async with mesh("service-to-linker", tmp_path) as made:
        a, b, c = made.hosts
        shares = await answers(90, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2", "c"}, shares
        assert min(shares.values()) >= 5, shares
        # From the other hosts too, and over the network: each has a loopback of its own.
        assert await answers(5, b, "127.0.0.1", OUTGOING, "users") == {"users": 5}
        assert await answers(5, c, "127.0.0.1", OUTGOING, "users") == {"users": 5}
        assert {vias(request) for request in made.users.requests + made.web_c.requests} == {1}, "no other linker"
        retries = "rt/outgoing/service/svc/web/retries/"
        assert (await metrics(a, retries))["total"] == 0
        made.web_c.answer = FAILING
        shares = await answers(60, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2"}, shares
        assert (await metrics(a, retries))["total"] > 0
        await made.web_c.close()
        shares = await answers(60, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2"}, shares
        # Whoever is called has no linker on the way: the called hosts' count nothing of it.
        assert (await metrics(c, "rt/outgoing/server/127.0.0.1/4140/"))["requests"] == 5


async def test_linker_to_service_measures_each_service_where_it_runs_whoever_calls(tmp_path: Path) -> None:
    server = "rt/incoming/server/0.0.0.0/4141/"
    async with mesh("linker-to-service", tmp_path) as made:
        a, b, c = made.hosts
        on_b = await answers(40, a, b.ip, INCOMING, "web")
        assert on_b.keys() == {"b1", "b2"}, "instances of this host only"
        assert await answers(20, a, c.ip, INCOMING, "web") == {"c": 20}
        assert await answers(10, c, a.ip, INCOMING, "users") == {"users": 10}
        # Discovery knows three instances, but none of them is here.
        assert await answers(3, c, a.ip, INCOMING, "web") == {"502": 3}
        made.web_c.answer = FAILING
        assert await answers(7, b, c.ip, INCOMING, "web") == {"500": 7}, "nobody asks another host"
        counted = await metrics(b, server)
        assert (counted["requests"], counted["success"]) == (40, 40)
        counted = await metrics(c, server)
        assert (counted["requests"], counted["success"], counted["failures"]) == (27, 20, 7)
        assert (await metrics(a, server))["requests"] == 13
        assert {vias(request) for request in made.web_b[0].requests} == {1}


async def test_linker_to_linker_does_both(tmp_path: Path) -> None:
    server = "rt/incoming/server/0.0.0.0/4141/"
    async with mesh("linker-to-linker", tmp_path) as made:
        a, b, c = made.hosts
        shares = await answers(90, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2", "c"}, shares
        assert min(shares.values()) >= 5, shares
        assert await answers(5, b, "127.0.0.1", OUTGOING, "users") == {"users": 5}
        assert await answers(5, a, "127.0.0.1", OUTGOING, "users") == {"users": 5}, "also on the caller's own host"
        # The port transformer: of three instances it makes two hosts' linkers.
        page = await admin(a, "/admin/endpoints.json")
        [client] = [name for name in page["outgoing"] if name.endswith("/web")]
        assert client == "/%/io.l5d.port/4141/#/io.l5d.fs/web"
        assert {one["address"] for one in page["outgoing"][client]["endpoints"]} == {f"{b.ip}:4141", f"{c.ip}:4141"}
        # The localhost transformer: each host's linker gives to the instances of that host.
        page = await admin(b, "/admin/endpoints.json")
        local = page["incoming"]["/%/io.l5d.localhost/#/io.l5d.fs/web"]["endpoints"]
        assert {one["address"] for one in local} == {one.address for one in made.web_b}
        for request in made.web_c.requests:
            assert vias(request) == 2
            assert b"l5d-dst-client: /%/io.l5d.localhost/#/io.l5d.fs/web\r\n" in request
        # Measured on both sides.
        assert (await metrics(b, server))["requests"] == shares["b1"] + shares["b2"]
        assert (await metrics(c, server))["requests"] == shares["c"]
        assert (await metrics(a, "rt/outgoing/service/svc/web/"))["success"] == 90
        # What fails on a host is tried again on another: its linker counts the failure, the caller's the retry.
        made.web_c.answer = FAILING
        shares = await answers(60, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2"}, shares
        failures = (await metrics(c, server))["failures"]
        assert failures > 0
        assert (await metrics(a, "rt/outgoing/service/svc/web/retries/"))["total"] == failures
        await made.linkers[2].kill()
        shares = await answers(60, a, "127.0.0.1", OUTGOING, "web")
        assert shares.keys() == {"b1", "b2"}, shares


def namespaces() -> set[str]:
    known = Path("/run/netns")
    return {one.name for one in known.iterdir() if one.name.startswith("biandou-")} if known.exists() else set()


async def test_hosts_leave_nothing_behind_when_what_runs_on_them_fails() -> None:
    before = namespaces()
    with pytest.raises(RuntimeError, match="a test that fails"), apart("a", "b") as (a, _):  # noqa: PT012 - it is about the end of the block
        assert len(namespaces() - before) == 3, "two hosts and what joins them"
        sleeper = await asyncio.create_subprocess_exec(*a.within, "sleep", "1000")
        while "sleep" not in Path(f"/proc/{sleeper.pid}/cmdline").read_text().split("\0"):
            await asyncio.sleep(0.01)
        raise RuntimeError("a test that fails")
    assert await sleeper.wait() == -signal.SIGKILL
    assert namespaces() <= before


def test_who_may_not_have_hosts_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HostsRefused, match="need root"), hosts("a"):
        pass
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostsRefused, match="iproute2"), hosts("a"):
        pass
