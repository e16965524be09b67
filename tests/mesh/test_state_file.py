"""A linker that starts while its registry is away: it serves from what it knew, and says so."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.test_consul import change
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance


@pytest.fixture
async def server() -> AsyncIterator[ConsulServer]:
    async with ConsulServer() as server:
        yield server


def origin(text: str) -> Origin:
    return Origin(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def config(
    server: ConsulServer, path: Path, *, more: str = "", dtab: str = "/svc => /#/io.l5d.consul/dc1", port: int = 0
) -> str:
    return f"""
admin: {{port: 0}}
stateFile: {{path: {path}{more}}}
namers: [{{kind: io.l5d.consul, host: 127.0.0.1, port: {server.port}, useHealthCheck: true}}]
routers: [{{protocol: http, dtab: "{dtab}", servers: [{{port: {port}}}]}}]
"""


async def body(linker: LinkerProcess, name: str = "web") -> bytes:
    head, _, body = (await linker.get(name)).partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200 ") else head.split(b"\r\n")[0]


async def until(linker: LinkerProcess, wanted: bytes, name: str = "web") -> None:
    found = b""
    try:
        async with asyncio.timeout(10):
            while (found := await body(linker, name)) != wanted:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{found!r} instead of {wanted!r}") from None


def known_in(path: Path) -> set[str]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {line["client"] for line in lines if line.get("type") == "client"}
    except (OSError, ValueError, AttributeError, RecursionError):
        return set()


async def until_kept(path: Path, *clients: str) -> None:
    """Wait until the file knows where these are."""
    async with asyncio.timeout(10):
        while known_in(path) != {*clients}:
            await asyncio.sleep(0.05)


async def until_logged(linker: LinkerProcess, text: str) -> None:
    async with asyncio.timeout(5):
        while text not in "\n".join(linker.log):
            await asyncio.sleep(0.01)


async def health(linker: LinkerProcess) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await linker.admin("/admin/health"))
    return found


async def test_a_killed_linker_serves_from_its_file_until_the_registry_speaks(
    server: ConsulServer, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "state.json"
    async with origin("one") as one, origin("two") as two:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            await until(linker, b"one")
            await until_kept(path, "/#/io.l5d.consul/dc1/web")
            found = await health(linker)
            registry = f"consul at 127.0.0.1:{server.port}"
            assert found["registries"][registry]["remembered"] == 0
            assert found["stateFile"]["path"] == str(path)
            await linker.kill()
        assert path.stat().st_mode & 0o777 == 0o600
        await server.stop()
        async with LinkerProcess(config(server, path)) as linker:
            assert await body(linker) == b"one"
            # What nobody ever asked for is not known.
            assert b" 502 " in await body(linker, "other")
            found = (await health(linker))["registries"][registry]
            assert found["remembered"] == found["names"] == 1
            assert 0 < found["age"] < 60
            assert found["error"]
            shown = json.loads(await linker.admin("/admin/endpoints.json"))
            assert shown["http"]["/#/io.l5d.consul/dc1/web"]["origin"]["remembered"] is True
            await until_logged(linker, "dc1/web is as it was known at ")
            # A file that only passes on what it was told says how old that is.
            await linker.stop()
        async with LinkerProcess(config(server, path)) as linker:
            assert await body(linker) == b"one"
            assert (await health(linker))["registries"][registry]["age"] > found["age"]
            # The registry has the last word.
            server.deregister(Instance("web", one.port))
            server.register(Instance("web", two.port))
            await server.start()
            await until(linker, b"two")
            found = (await health(linker))["registries"][registry]
            assert found["remembered"] == 0
            assert "error" not in found


async def test_a_registry_that_says_nothing_is_waited_for_only_for_a_while(
    server: ConsulServer, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    text = config(server, path, more=", patienceMs: 300")
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(text) as linker:
            await until(linker, b"one")
        server.fail(faults.late(60))
        async with LinkerProcess(text) as linker:
            began = asyncio.get_running_loop().time()
            assert await body(linker) == b"one"
            assert 0.25 < asyncio.get_running_loop().time() - began < 3
            await until_logged(linker, "nothing was heard within 0.3 s")


async def test_a_registry_that_says_that_a_service_is_gone_is_believed(server: ConsulServer, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            await until(linker, b"one")
        server.deregister(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            assert b" 502 " in await body(linker)
            await server.stop()
            await asyncio.sleep(0.3)
            assert b" 502 " in await body(linker)
        # And that is what was known last.
        async with LinkerProcess(config(server, path)) as linker:
            assert b" 502 " in await body(linker)


async def test_what_a_registry_said_serves_another_table_and_no_other_namer(
    server: ConsulServer, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            await until(linker, b"one")
        await server.stop()
        dtab = "/svc => /#/io.l5d.consul/dc2 ; /svc/shop => /#/io.l5d.consul/dc1/web"
        async with LinkerProcess(config(server, path, dtab=dtab)) as linker:
            assert await body(linker, "shop") == b"one"
            assert b" 502 " in await body(linker)
            assert "was known by another configuration" in "\n".join(linker.log)
        text = config(server, path).replace("useHealthCheck: true", "useHealthCheck: false")
        async with LinkerProcess(text) as linker:
            assert b" 502 " in await body(linker)


async def test_without_a_file_nothing_is_known(server: ConsulServer, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    text = config(server, path, more=", enabled: false")
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(text) as linker:
            await until(linker, b"one")
            assert "stateFile" not in await health(linker)
        assert not path.exists()
        await server.stop()
        async with LinkerProcess(text) as linker:
            assert b" 502 " in await body(linker)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        ("{}", "missing required field"),
        ('{"format": "biandou state", "version": 2}', "version 2"),
        ('{"format": "other", "version": 1}', "'other'"),
        ("[" * 100_000, ""),
        ('{"format": "biandou state", "version": 1, "program": "namerd"}', "'namerd'"),
        ('{"format": "biandou state", "version": 1, "program": "linker"}\n[1]', "Expected `object`"),
        ('{"format": "biandou state", "version": 1, "program": "linker"}\n{"type": "other"}', "'other'"),
    ],
)
async def test_a_file_that_cannot_be_used_is_left_out(
    server: ConsulServer, tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            told = next(line for line in linker.log if f"the state file {path} is not used" in line)
            assert reason in told
            await until(linker, b"one")
            await until_kept(path, "/#/io.l5d.consul/dc1/web")


async def test_an_entry_that_cannot_be_used_harms_no_other(server: ConsulServer, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port), Instance("api", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            await until(linker, b"one")
            await until(linker, b"one", "api")
        await server.stop()
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        for entry in entries:
            if entry.get("name") == "dc1/web":
                entry["value"] = "AAAA"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        async with LinkerProcess(config(server, path)) as linker:
            assert b" 502 " in await body(linker)
            assert await body(linker, "api") == b"one"


async def test_a_directory_that_cannot_be_written_is_told_once(server: ConsulServer, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    path = tmp_path / "taken" / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as linker:
            await until(linker, b"one")
            async with asyncio.timeout(10):
                while "error" not in (await health(linker)).get("stateFile", {}):
                    await asyncio.sleep(0.05)
        assert sum("can't be written" in line for line in linker.log) == 1


async def test_two_linkers_do_not_write_one_file(server: ConsulServer, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(config(server, path)) as first:
            await until(first, b"one")
            await until_kept(path, "/#/io.l5d.consul/dc1/web")
            async with LinkerProcess(config(server, path)) as second:
                await until(second, b"one")
                async with asyncio.timeout(10):
                    while "another process writes it" not in "\n".join(second.log):
                        await asyncio.sleep(0.05)
            await until_kept(path, "/#/io.l5d.consul/dc1/web")


async def test_the_file_is_called_after_the_port_and_kept_in_the_state_directory(
    server: ConsulServer, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = config(server, tmp_path, port=port).replace(f"stateFile: {{path: {tmp_path}}}\n", "")
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(text, environment={"STATE_DIRECTORY": str(tmp_path)}) as linker:
            await until(linker, b"one")
        assert sorted(os.listdir(tmp_path)) == [f"linker-{port}.json", f"linker-{port}.json.lock"]


NAMERD = """
admin: {{port: 0}}
storage: {{kind: io.biandou.sqlite, path: {path}}}
namers: [{{kind: io.l5d.consul, host: 127.0.0.1, port: {consul}}}]
interfaces: [{{kind: io.l5d.mesh, ip: 127.0.0.1, port: 0}}, {{kind: io.l5d.httpController, ip: 127.0.0.1, port: 0}}]
"""


@pytest.mark.parametrize("kind", ["io.l5d.mesh", "io.l5d.namerd.http"])
async def test_with_namerd_and_its_registry_gone_a_linker_that_starts_serves_on(
    server: ConsulServer, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "state.json"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        namerd_text = NAMERD.format(path=tmp_path / "namerd.db", consul=server.port)
        async with LinkerProcess(namerd_text, command="namerd") as namerd:
            http = namerd.port("io.l5d.httpController interface")
            from tests.mesh.test_consul import change

            assert await change(namerd, "/svc => /#/io.l5d.consul/dc1") in (201, 204)
            port = http if kind == "io.l5d.namerd.http" else namerd.port("io.l5d.mesh interface")
            root = "namespace: default" if kind == "io.l5d.namerd.http" else "root: /default"
            text = f"""
admin: {{port: 0}}
stateFile: {{path: {path}}}
routers: [{{protocol: http, servers: [{{port: 0}}],
  interpreter: {{kind: {kind}, dst: /$/inet/127.0.0.1/{port}, {root}, experimental: true}}}}]
"""
            async with LinkerProcess(text) as linker:
                await until(linker, b"one")
        await server.stop()
        async with LinkerProcess(text) as linker:
            assert await body(linker) == b"one"
            found = (await health(linker))["registries"]
            assert [one["remembered"] for one in found.values()] == [1]


async def test_a_namerd_that_starts_while_its_registry_is_away_serves_from_what_it_knew(
    server: ConsulServer, tmp_path: Path
) -> None:
    """Otherwise it would tell every linker that there is no such name."""
    text = NAMERD.format(path=tmp_path / "namerd.db", consul=server.port)
    text += f"stateFile: {{path: {tmp_path / 'state.json'}}}\n"
    async with origin("one") as one:
        server.register(Instance("web", one.port))
        async with LinkerProcess(text, command="namerd") as namerd:
            assert await change(namerd, "/svc => /#/io.l5d.consul/.local") in (201, 204)
            http = namerd.port("io.l5d.httpController interface")
            linked = f"""
admin: {{port: 0}}
routers: [{{protocol: http, servers: [{{port: 0}}],
  interpreter: {{kind: io.l5d.namerd.http, dst: /$/inet/127.0.0.1/{http}, namespace: default, experimental: true}}}}]
"""
            async with LinkerProcess(linked) as linker:
                await until(linker, b"one")
            async with asyncio.timeout(10):
                while not (tmp_path / "state.json").exists():
                    await asyncio.sleep(0.05)
            await namerd.kill()
        await server.stop()
        there = text.replace("httpController, ip: 127.0.0.1, port: 0", f"httpController, ip: 127.0.0.1, port: {http}")
        async with LinkerProcess(there, command="namerd") as namerd, LinkerProcess(linked) as linker:
            await until(linker, b"one")
            found = await health(namerd)
            # The service, and what the agent said of itself.
            assert found["registries"][f"consul at 127.0.0.1:{server.port}"]["remembered"] == 2
            assert found["stateFile"]["path"] == str(tmp_path / "state.json")
