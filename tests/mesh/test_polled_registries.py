"""One linker on Marathon, Rancher, Eureka and Nacos: instances are reached, move, and outlive their registry."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.registries.eureka import EurekaServer
from tests.registries.eureka import instance as registered
from tests.registries.marathon import MarathonServer, task
from tests.registries.nacos import NacosServer
from tests.registries.nacos import host as hosted
from tests.registries.rancher import RancherServer, container

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = {"marathon": "m", "rancher": "r", "eureka": "e", "nacos": "n"}


def origin(text: str) -> Origin:
    return Origin(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


async def until_answers(linker: LinkerProcess, name: str, wanted: bytes) -> None:
    found = b""
    try:
        async with asyncio.timeout(15):
            while found != wanted:
                head, _, body = (await linker.get(name, router="registries")).partition(b"\r\n\r\n")
                found = body if head.startswith(b"HTTP/1.1 200 ") else head.split(b"\r\n")[0]
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{name}: {found!r} instead of {wanted!r}") from None


async def test_a_linker_follows_four_registries_and_outlives_them(tmp_path: Path) -> None:
    """Another one, that starts while they are away, serves from what this one knew."""
    async with (
        MarathonServer(host="marathon.mesos") as marathon,
        RancherServer() as rancher,
        EurekaServer() as eureka,
        NacosServer() as nacos,
        origin("one") as one,
        origin("two") as two,
        # Rancher tells of addresses, and the name of the port.
        Origin(one.answer, "127.0.0.31", one.port),
        Origin(two.answer, "127.0.0.32", one.port),
    ):
        text = (EXAMPLES / "polled-registries.yaml").read_text()
        for old, new in (
            ("port: 9990\n", "port: 0\n"),
            ("port: 4140\n", "port: 0\n"),
            ("  port: 8080\n", f"  dst: /$/inet/127.0.0.1/{marathon.port}\n  ttlMs: 200\n"),
            (
                "experimental: true\n",
                "experimental: true\n  host: 127.0.0.1\n"
                f"  port: {rancher.port}\n  portMappings: {{http: {one.port}}}\n",
            ),
            ("- http://127.0.0.1:8761/eureka\n", f"- http://127.0.0.1:{eureka.port}/eureka\n  ttlMs: 200\n"),
            ("- http://127.0.0.1:8848/nacos\n", f"- http://127.0.0.1:{nacos.port}/nacos\n  ttlMs: 200\n"),
        ):
            assert old in text
            text = text.replace(old, new)
        text += f"stateFile: {{path: {tmp_path / 'state.json'}}}\n"

        def move(to: Origin, ip: str) -> None:
            marathon.run("/m", task(to.port))
            rancher.run(container("r", ip))
            for known in list(eureka.instances.values()):
                eureka.cancel(known)
            eureka.register(registered("e", to.port))
            nacos.register("n", hosted(to.port))

        move(one, "127.0.0.31")
        async with LinkerProcess(text) as linker:
            for name in NAMES.values():
                await until_answers(linker, name, b"one")
            move(two, "127.0.0.32")
            for name in NAMES.values():
                await until_answers(linker, name, b"two")
            for server in (marathon, rancher, eureka, nacos):
                await server.stop()
            await asyncio.sleep(0.5)
            for name in NAMES.values():
                await until_answers(linker, name, b"two")
            states = {
                name: json.loads(await linker.admin(f"/namer_state/io.{kind}.json"))
                for name, kind in (
                    ("marathon", "l5d.marathon"),
                    ("rancher", "l5d.rancher"),
                    ("eureka", "biandou.eureka"),
                    ("nacos", "biandou.nacos"),
                )
            }
            assert states["marathon"]["tasks"]["/m"]["state"]["value"] == [f"127.0.0.1:{two.port}"]
            assert states["rancher"]["containers"]["state"]["value"] == {"shop/r": ["127.0.0.32"]}
            assert states["eureka"]["apps"]["state"]["value"] == {"E": [f"127.0.0.1:{two.port}"]}
            assert states["nacos"]["DEFAULT_GROUP@@n"]["state"]["value"] == [f"127.0.0.1:{two.port}"]
            await linker.stop()
        async with LinkerProcess(text) as linker:
            for name in NAMES.values():
                await until_answers(linker, name, b"two")
            found = json.loads(await linker.admin("/admin/health"))["registries"]
            assert sorted(one["remembered"] for one in found.values()) == [1, 1, 1, 1]
            move(one, "127.0.0.31")
            for server in (marathon, rancher, eureka, nacos):
                await server.start()
            for name in NAMES.values():
                await until_answers(linker, name, b"one")
