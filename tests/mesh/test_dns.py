"""A linker that follows a real name server: traffic moves when the zone changes, and goes on without the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_polled_registries import origin
from tests.registries.names import INSTALLED, Dnsmasq

EXAMPLE = Path(__file__).parents[2] / "examples" / "dns.yaml"


@pytest.fixture
async def names(tmp_path: Path) -> AsyncIterator[Dnsmasq]:
    if not INSTALLED:
        pytest.skip("dnsmasq is not installed (dnsmasq-base)")
    server = Dnsmasq(tmp_path)
    yield server
    await server.stop()


async def until_says(linker: LinkerProcess, host: str, wanted: bytes) -> None:
    answer = b""
    try:
        async with asyncio.timeout(15):
            while not answer.endswith(wanted):
                answer = await linker.get(host, router="names")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{host}: {answer!r} instead of {wanted!r}") from None


async def test_traffic_goes_where_the_zone_says(names: Dnsmasq, tmp_path: Path) -> None:
    async with origin("one") as one, origin("two") as two, Origin(two.answer, "127.0.0.22", one.port):
        text = EXAMPLE.read_text().replace("port: 9990", "port: 0").replace("port: 4140", "port: 0")
        text = text.replace("127.0.0.1:53", f"127.0.0.1:{names.port}").replace("/8080", f"/{one.port}")
        text += f"stateFile: {{path: {tmp_path / 'state.json'}}}\n"
        await names.start(f"srv-host=_web._tcp.test,one.test,{one.port}", "host-record=one.test,api.test,127.0.0.1")
        async with LinkerProcess(text) as linker:
            await until_says(linker, "web", b"one")
            await until_says(linker, "api", b"one")
            await names.start(f"srv-host=_web._tcp.test,two.test,{two.port}", "host-record=two.test,127.0.0.1",
                              "host-record=api.test,127.0.0.22")  # fmt: skip
            await until_says(linker, "web", b"two")
            await until_says(linker, "api", b"two")
            await names.stop()
            await asyncio.sleep(2)
            assert (await linker.get("web", router="names")).endswith(b"two")
            assert (await linker.get("api", router="names")).endswith(b"two")
        # One that starts now serves from what this one knew.
        async with LinkerProcess(text) as linker:
            assert (await linker.get("web", router="names")).endswith(b"two")
            assert (await linker.get("api", router="names")).endswith(b"two")
