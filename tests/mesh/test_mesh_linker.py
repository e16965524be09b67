"""Linkers that bind by namerds over gRPC, the real programs: dtabs change, namerds go and come back, TLS, reports."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import Traffic
from tests.mesh.test_canary import begun, dtab, traffic, until
from tests.mesh.test_namerd import HTTP, ask, certificates, namerd
from tests.mesh.test_namerd_mesh import MESH

OLD, NEW = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + word for word in (b"old", b"new"))
TEXT = "Content-Type: text/plain"


def control(folder: Path, http: int = 0, mesh: int = 0, tls: str = "") -> LinkerProcess:
    return namerd(
        f"storage: {{kind: io.biandou.sqlite, path: {folder}/namerd.db}}\n"
        f"interfaces: [{{kind: io.l5d.httpController, port: {http}}}, {{kind: io.l5d.mesh, port: {mesh}{tls}}}]\n"
    )


def linker(dst: str, rest: str = "", namers: str = "[]", more: str = "") -> LinkerProcess:
    return LinkerProcess(
        f"admin: {{port: 0}}\nnamers: {namers}\nrouters: [{{protocol: http, servers: [{{port: 0}}], interpreter: "
        f"{{kind: io.l5d.mesh, dst: {dst}, retry: {{baseSeconds: 1, maxSeconds: 1}}{rest}}}{more}}}]\n"
    )


def by(program: LinkerProcess) -> str:
    return f"/$/inet/127.0.0.1/{program.port(MESH)}"


async def move(program: LinkerProcess, origin: Origin) -> None:
    text = f"/svc=>/$/inet/127.0.0.1/{origin.port}".encode()
    assert (await ask(program, "PUT /api/1/dtabs/default", text, TEXT))[0] == 204


async def all_from(flow: Traffic, word: str, seconds: float = 15.0) -> None:
    """Wait until whoever asks is answered so; raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while set(await flow.more(20)) != {word}:
            assert not flow.failed


async def test_no_request_fails_while_dtabs_change_and_namerd_is_killed_and_comes_back(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other:
        first = control(tmp_path)
        await first.start()
        await move(first, one)
        ports = first.port(HTTP), first.port(MESH)
        async with linker(by(first)) as program:
            async with Traffic(program.port()) as flow:
                await all_from(flow, "old")
                for origin, word in ((other, "new"), (one, "old")):
                    await move(first, origin)
                    await all_from(flow, word, 5)
                connections = one.connections
                for end in (LinkerProcess.kill, LinkerProcess.stop):
                    await end(first)
                    # What it told last holds.
                    await all_from(flow, "old")
                    await asyncio.sleep(0.5)
                    first = control(tmp_path, *ports)
                    await first.start()
                    await asyncio.sleep(1.5)
                    await all_from(flow, "old")
                # Nothing was bound anew: the client and its connections are what they were.
                assert one.connections == connections
                await move(first, other)
                await all_from(flow, "new")
                assert flow.failed == []
            assert await first.stop() == 0
            assert await program.stop() == 0


async def test_of_several_namerds_any_one_may_go(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other:
        folders = [tmp_path / "one", tmp_path / "other"]
        namerds = [control(folder) for folder in folders]
        try:
            for folder, program in zip(folders, namerds, strict=True):
                folder.mkdir()
                await program.start()
                await move(program, one)
            (tmp_path / "disco").mkdir()
            lines = [f"127.0.0.1 {program.port(MESH)}\n" for program in namerds]
            (tmp_path / "disco" / "namerd").write_text("".join(lines))
            namers = f"[{{kind: io.l5d.fs, rootDir: {tmp_path}/disco}}]"
            async with linker("/#/io.l5d.fs/namerd", namers=namers) as program, Traffic(program.port()) as flow:
                await all_from(flow, "old")
                # Which of them is asked is chance; the one that is left has news.
                used = [await control.metrics() for control in namerds]
                asked = [metrics["interface/io.l5d.mesh/streams"] for metrics in used]
                assert sorted(asked)[0] == 0
                busy = asked.index(max(asked))
                await move(namerds[1 - busy], other)
                await namerds[busy].kill()
                await all_from(flow, "new")
                assert flow.failed == []
        finally:
            for program in namerds:
                await program.kill()


async def test_it_shows_its_certificate_and_trusts_nobody_else(tmp_path: Path) -> None:
    await certificates(tmp_path)
    files = {"certPath": "server", "keyPath": "server-key", "caCertPath": "authority"}
    tls = ", ".join(f"{key}: {tmp_path}/{name}.pem" for key, name in files.items())
    shown = f"clientAuth: {{certPath: {tmp_path}/client.pem, keyPath: {tmp_path}/client-key.pem}}"
    ours = f"trustCertsBundle: {tmp_path}/authority.pem, {shown}"
    async with control(tmp_path, tls=f", tls: {{{tls}, requireClientAuth: true}}") as program, Origin(OLD) as origin:
        await move(program, origin)
        async with linker(by(program), f", tls: {{commonName: localhost, {ours}}}") as known:
            assert (await known.get("web")).endswith(b"old")
        elsewhere = f", tls: {{commonName: elsewhere, {ours}}}"
        async with linker(by(program), elsewhere, more=", bindingTimeoutMs: 700") as unknown:
            assert b"Exceeded 700.milliseconds" in await unknown.get("web")
            assert any("does not answer" in line and "Hostname Verification" in line for line in unknown.log), (
                unknown.log
            )
            # gRPC's own library is silent: strangers could fill the log.
            assert not [line for line in program.log + unknown.log if ".cc:" in line]


async def test_a_canary_is_judged_by_what_linkers_report_over_grpc_alone(tmp_path: Path) -> None:
    async with Origin(OLD) as one, Origin(NEW) as other, control(tmp_path) as program:
        await ask(program, "POST /api/1/dtabs/default", dtab(one), TEXT)
        async with linker(by(program)) as through, traffic(through):
            await begun(program, one, other)
            state = await until(program, "promoted")
            assert state["reason"] == "every step went well"
            assert other.requests


async def test_a_linker_without_the_interpreter_loads_no_grpc(tmp_path: Path) -> None:
    async with Origin(OLD) as origin:
        plain = f"routers: [{{protocol: http, servers: [{{port: 0}}], dtab: /svc=>/$/inet/127.0.0.1/{origin.port}}}]"
        async with LinkerProcess(f"admin: {{port: 0}}\n{plain}\n") as program:
            assert (await program.get("web")).endswith(b"old")
            assert "cygrpc" not in Path(f"/proc/{program.pid}/maps").read_text()
        async with linker("/$/inet/127.0.0.1/1") as program:
            assert "cygrpc" in Path(f"/proc/{program.pid}/maps").read_text()
            program.signal(signal.SIGTERM)
            assert await program.wait() == 0
