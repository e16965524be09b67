"""Names in files, under traffic: whatever becomes of endpoints and files, requests go where they should."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import Traffic, body_of, saying, status_of
from tests.mesh.observing import becomes

ENDPOINT: Final = """
import asyncio, sys

async def serve(reader, writer):
    name = sys.argv[1].encode()
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(name), name))
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def config(root: Path, balancer: str = "p2c") -> str:
    return f"""
admin: {{port: 0}}
namers:
- kind: io.l5d.fs
  rootDir: {root}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs ;
  client:
    loadBalancer: {{kind: {balancer}}}
  servers:
  - port: 0
"""


def write(file: Path, *lines: str) -> None:
    """Replace a file by rename, as a careful operator does."""
    new = file.with_name(f".{file.name}.new")
    new.write_text("".join(f"{line}\n" for line in lines))
    new.rename(file)


def at(origin: Origin, weight: float | None = None) -> str:
    """Give an endpoint's line."""
    return f"{origin.ip} {origin.port}" + ("" if weight is None else f" * {weight}")


@asynccontextmanager
async def endpoint(name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run an endpoint as a process of its own, whose answers are its name; gives its line too."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDPOINT, name, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield process, f"127.0.0.1 {port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_endpoints_come_and_go_under_traffic_and_no_request_fails(tmp_path: Path) -> None:
    web = tmp_path / "web"
    async with Origin(saying("a")) as a, Origin(saying("b")) as b, Origin(saying("c")) as c:
        write(web, at(a))
        async with LinkerProcess(config(tmp_path)) as linker, Traffic(linker.port()) as traffic:
            assert set(await traffic.more(50)) == {"a"}

            async def shares() -> set[str]:
                return set(await traffic.more(60))

            write(web, at(a), at(b))
            await becomes("b is added", shares, lambda seen: seen == {"a", "b"})
            write(web, at(b))
            await becomes("a is removed", shares, lambda seen: seen == {"b"})
            write(web, at(c))
            await becomes("b is replaced by c", shares, lambda seen: seen == {"c"})
            with web.open("a") as file:
                file.write(f"{at(a)}\n")
            await becomes("a is appended", shares, lambda seen: seen == {"a", "c"})
            assert traffic.failed == []
            metrics = await linker.metrics()
            assert metrics["rt/http/client/#/io.l5d.fs/web/loadbalancer/size"] == 2
            assert metrics["rt/http/client/#/io.l5d.fs/web/failures"] == 0


async def test_a_name_without_a_file_is_unknown_until_the_file_comes_and_again_when_it_is_gone(tmp_path: Path) -> None:
    async with Origin(saying("here")) as origin, LinkerProcess(config(tmp_path)) as linker:

        async def status() -> int:
            return status_of(await linker.get("late"))

        assert await status() == 502
        write(tmp_path / "late", at(origin))
        await becomes("the name is known", status, lambda code: code == 200)
        (tmp_path / "late").unlink()
        await becomes("the name is unknown", status, lambda code: code == 502)
        write(tmp_path / "late", at(origin))
        await becomes("the name is known again", status, lambda code: code == 200)


async def test_a_file_that_became_malformed_is_logged_and_does_not_take_its_endpoints_away(tmp_path: Path) -> None:
    async with Origin(saying("still")) as origin:
        write(tmp_path / "web", at(origin))
        async with LinkerProcess(config(tmp_path)) as linker, Traffic(linker.port()) as traffic:
            await traffic.more(10)
            write(tmp_path / "web", "no endpoint at all")
            await linker.logged("no endpoint at all")
            assert set(await traffic.more(100)) == {"still"}
            assert traffic.failed == []


@pytest.mark.parametrize("balancer", ["p2c", "ewma", "aperture", "heap", "roundRobin"])
async def test_weights_of_nine_to_one_are_honoured(tmp_path: Path, balancer: str) -> None:
    async with Origin(saying("heavy")) as heavy, Origin(saying("light")) as light:
        write(tmp_path / "web", at(heavy, 0.9), at(light, 0.1))
        async with LinkerProcess(config(tmp_path, balancer)) as linker, Traffic(linker.port()) as traffic:
            shares = await traffic.more(1500)
            # 150 of 1500 are expected; fewer than 90 or more than 210 come by chance once in millions of runs.
            assert 90 <= shares["light"] <= 210, shares
            write(tmp_path / "web", at(heavy, 0.1), at(light, 0.9))

            async def turned() -> float:
                shares = await traffic.more(200)
                return shares["light"] / shares.total()

            await becomes("the weights have turned", turned, lambda share: share > 0.75)
            assert traffic.failed == []


@pytest.mark.parametrize("balancer", ["p2c", "ewma", "heap", "roundRobin"])
async def test_an_endpoint_killed_under_traffic_fails_no_get(tmp_path: Path, balancer: str) -> None:
    async with endpoint("dies") as (process, dies), endpoint("stays") as (_, stays):
        write(tmp_path / "web", dies, stays)
        async with LinkerProcess(config(tmp_path, balancer)) as linker, Traffic(linker.port()) as traffic:
            assert set(await traffic.more(100)) == {"dies", "stays"}
            process.kill()
            await process.wait()
            assert set(await traffic.more(500)) == {"stays"}
            assert traffic.failed == []
            metrics = await linker.metrics()
            assert metrics["rt/http/client/#/io.l5d.fs/web/failure_accrual/removals"] >= 1
            assert metrics[f"rt/http/server/127.0.0.1/{linker.port()}/failures"] == 0


async def test_an_endpoint_that_came_back_is_used_again(tmp_path: Path) -> None:
    async with Origin(saying("a")) as a, Origin(saying("b")) as b:
        write(tmp_path / "web", at(a), at(b))
        async with LinkerProcess(config(tmp_path)) as linker, Traffic(linker.port()) as traffic:
            assert set(await traffic.more(50)) == {"a", "b"}
            await b.close()
            assert "b" not in await traffic.more(200)
            async with Origin(saying("b again"), port=b.port):

                async def served() -> bool:
                    return "b again" in await traffic.more(50)

                # It rests for five to ten seconds at first (Linkerd's backoff).
                await becomes("b serves again", served, bool, seconds=14)
            assert traffic.failed == []


async def test_when_all_endpoints_are_gone_the_caller_is_told_which(tmp_path: Path) -> None:
    async with Origin() as origin:
        write(tmp_path / "web", at(origin))
    async with LinkerProcess(config(tmp_path)) as linker:
        answer = await linker.get("web")
        assert status_of(answer) == 502
        assert body_of(answer).decode() == (
            f"Unable to establish connection to {origin.address}.\n\nservice name: /svc/web\n"
            f"client name: /#/io.l5d.fs/web\naddresses: [{origin.address}]\nselected address: {origin.address}\n"
        )
