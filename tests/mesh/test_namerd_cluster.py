"""Three namerds on three etcd members: any one of each is killed while dtabs change and traffic flows."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.stores import etcd_members

EXAMPLE = Path(__file__).parents[2] / "examples" / "namerd-etcd"
HTTP = "io.l5d.httpController interface"

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (etcd-server)")


async def change(namerds: list[LinkerProcess], port: int) -> None:
    """Send all names to a port, by whichever namerd takes it; what was perhaps done may be done twice."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            for namerd in namerds:
                url = f"http://127.0.0.1:{namerd.port(HTTP)}/api/1/dtabs/default"
                headers = {"Content-Type": "application/dtab"}
                try:
                    async with session.put(url, data=f"/svc=>/$/inet/127.0.0.1/{port}", headers=headers) as answer:
                        if answer.status == 204:
                            return
                except aiohttp.ClientError:
                    # This one was killed.
                    continue
            await asyncio.sleep(0.1)


async def test_no_request_fails_whichever_namerd_and_etcd_member_is_killed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "example"))
    members = await asyncio.to_thread(etcd_members.start, 3, tmp_path)
    try:
        async with AsyncExitStack() as stack:
            config = (
                (folder / "namerd.yaml").read_text().replace("port: 9991", "port: 0").replace("port: 4180", "port: 0")
            )
            for member, port in zip(members, ("127.0.0.1:2379", "127.0.0.1:22379", "127.0.0.1:32379"), strict=True):
                config = config.replace(f"  - {port}\n", f"  - 127.0.0.1:{member.client}\n")
            namerds = [
                await stack.enter_async_context(LinkerProcess(config, command="namerd", cwd=str(folder)))
                for _ in range(3)
            ]
            lines = [f"127.0.0.1 {namerd.port(HTTP)}\n" for namerd in namerds]
            (folder / "disco" / "namerd").write_text("".join(lines))
            answers = [f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{word}".encode() for word in "ab"]
            origins = [await stack.enter_async_context(Origin(answer)) for answer in answers]
            await change(namerds, origins[0].port)
            text = (
                (folder / "linker.yaml").read_text().replace("port: 9990", "port: 0").replace("port: 4140", "port: 0")
            )
            linker = await stack.enter_async_context(LinkerProcess(text, cwd=str(folder)))
            failed: list[bytes] = []
            seen = b""
            ended = asyncio.Event()

            async def traffic() -> None:
                nonlocal seen
                while not ended.is_set():
                    answer = await linker.get("web")
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        failed.append(answer)
                    seen = answer[-1:]
                    await asyncio.sleep(0.005)

            async def until_seen(word: bytes) -> None:
                async with asyncio.timeout(20):
                    while seen != word:
                        await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                group.create_task(traffic())
                await until_seen(b"a")
                for round_, (namerd, member) in enumerate(zip(namerds[:2], members, strict=False), 1):
                    await namerd.kill()
                    member.kill()
                    await change(namerds, origins[round_ % 2].port)
                    await until_seen(b"ab"[round_ % 2 : round_ % 2 + 1])
                    member.start(members)
                    await asyncio.to_thread(member.healthy)
                ended.set()
            assert failed == []
    finally:
        for member in members:
            member.kill()
