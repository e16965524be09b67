"""The real program takes on another configuration while it serves, and nobody's request suffers."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin, get
from tests.mesh.callers import Caller, Traffic, body_of, saying, status_of
from tests.mesh.observing import becomes, descriptors, resident_kib
from tests.mesh.programs import run


def free_port() -> int:
    """Give a port where nobody listens now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def router(label: str, ports: list[int], dtab: str, *keys: str) -> str:
    servers = "".join(f"\n  - port: {port}" for port in ports)
    lines = "".join(f"\n  {key}" for key in keys)
    return f"- protocol: http\n  label: {label}\n  dtab: {dtab}\n  servers:{servers}{lines}\n"


def config(*routers: str, more: str = "") -> str:
    return "admin: {port: 0}\n" + more + "routers:\n" + "".join(routers)


def to(origin: Origin, name: str = "web") -> str:
    return f"/svc/{name} => /$/inet/127.0.0.1/{origin.port} ;"


async def test_a_changed_dtab_moves_the_next_request_of_kept_connections() -> None:
    async with Origin(saying("old")) as old, Origin(saying("new")) as new:
        port = free_port()
        async with LinkerProcess(config(router("in", [port], to(old)))) as linker, Traffic(port) as traffic:
            assert set(await traffic.more(100)) == {"old"}
            answer = await linker.reload(config(router("in", [port], to(new))))
            assert body_of(answer) == f"changed router in; kept server 127.0.0.1:{port}, admin\n".encode()
            assert set(await traffic.more(100)) == {"new"}
            assert traffic.failed == []
            metrics = await linker.metrics()
            server = f"rt/in/server/127.0.0.1/{port}"
            assert metrics[f"{server}/connects"] == 8, "every caller has the connection that it began with"
            assert metrics[f"{server}/requests"] > 200, "and the counts go on"
            assert f"rt/in/client/$/inet/127.0.0.1/{new.port}/connects" in metrics
            assert f"rt/in/client/$/inet/127.0.0.1/{old.port}/connects" not in metrics, "nothing leads there any more"


async def test_a_file_with_mistakes_is_explained_and_changes_nothing() -> None:
    async with Origin(saying("web")) as origin:
        port = free_port()
        good = config(router("in", [port], to(origin)))
        async with LinkerProcess(good) as linker:
            async with Traffic(port) as traffic:
                answer = await linker.reload(good.replace("servers:", "server:"))
                assert status_of(answer) == 400
                assert b".yaml:6:3: routers[0].server: " in body_of(answer)
                linker.configure(good.replace("/svc/web =>", "/svc/web =>>"))
                linker.signal(signal.SIGHUP)
                line = await linker.logged(".yaml:5:20: routers[0].dtab: ")
                assert "stays as it was" in line
                assert set(await traffic.more(50)) == {"web"}
                assert traffic.failed == []
                linker.configure(good)
                linker.signal(signal.SIGHUP)
                await linker.logged("reloaded: nothing differs; kept router in")
            assert await linker.stop() == 0


async def test_servers_and_routers_come_and_go_while_others_serve() -> None:
    async with Origin(saying("web")) as origin:
        stays, goes, comes = free_port(), free_port(), free_port()
        before = config(router("in", [stays], to(origin)), router("out", [goes], to(origin)))
        after = config(router("in", [stays], to(origin)), router("new", [comes], to(origin)))
        async with LinkerProcess(before) as linker, Traffic(stays) as traffic, Caller(goes) as caller:
            assert status_of(await caller.ask(get("web"))) == 200
            answer = await linker.reload(after)
            assert body_of(answer).decode() == (
                f"added router new, server 127.0.0.1:{comes}; removed router out, server 127.0.0.1:{goes}; "
                f"kept router in, server 127.0.0.1:{stays}, admin\n"
            )
            assert await asyncio.wait_for(caller.reader.read(), 5) == b"", "an idle connection of it is closed"
            async with asyncio.timeout(5):
                while await listens(goes):
                    await asyncio.sleep(0.01)
            async with Caller(comes) as newcomer:
                assert status_of(await newcomer.ask(get("web"))) == 200
            await traffic.more(50)
            assert traffic.failed == []
            async with asyncio.timeout(5):
                while any(name.startswith("rt/out/") for name in await linker.metrics()):
                    await asyncio.sleep(0.1)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_a_removed_server_finishes_what_it_does() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(_request: bytes) -> bytes:
        asked.set()
        await may_answer.wait()
        return saying("late")

    async with Origin(slowly) as origin, Origin(saying("web")) as other:
        stays, goes = free_port(), free_port()
        kept = router("in", [stays], to(other))
        async with LinkerProcess(config(kept, router("out", [goes], to(origin)))) as linker, Caller(goes) as caller:
            slow = asyncio.create_task(caller.ask(get("web")))
            await asked.wait()
            await linker.reload(config(kept))
            # Long enough for the linker to look whether it is still needed.
            await asyncio.sleep(1.5)
            may_answer.set()
            answer = await slow
            assert body_of(answer) == b"late"
            assert b"\r\nConnection: close\r\n" in answer
            assert await asyncio.wait_for(caller.reader.read(), 5) == b""


async def test_a_port_in_use_rolls_everything_back() -> None:
    async with Origin(saying("old")) as old, Origin(saying("new")) as new:
        port, fresh = free_port(), free_port()
        async with LinkerProcess(config(router("in", [port], to(old)))) as linker, Traffic(port) as traffic:
            taken = new.port
            answer = await linker.reload(config(router("in", [port, fresh, taken], to(new))))
            assert status_of(answer) == 409
            assert body_of(answer).startswith(f"cannot listen on 127.0.0.1:{taken}: Address already in use".encode())
            assert set(await traffic.more(50)) == {"old"}
            assert traffic.failed == []
            assert not await listens(fresh), "the server that could have listened doesn't either"
            assert b"/svc/web => /$/inet/127.0.0.1/%d" % old.port in await linker.admin("/config.json")


async def test_a_changed_client_policy_counts_from_the_next_request_on() -> None:
    async def slowly(_request: bytes) -> bytes:
        await asyncio.sleep(0.3)
        return saying("slow")

    async with Origin(slowly) as origin:
        port = free_port()
        plain = config(router("in", [port], to(origin)))
        strict = config(router("in", [port], to(origin), "client: {requestAttemptTimeoutMs: 50}"))
        async with LinkerProcess(plain) as linker, Caller(port) as caller:
            assert status_of(await caller.ask(get("web"))) == 200
            assert b"changed router in" in await linker.reload(strict)
            answer = await caller.ask(get("web"))
            assert b"exceeded 50.milliseconds" in body_of(answer)
            assert b"changed router in" in await linker.reload(plain)
            assert status_of(await caller.ask(get("web"))) == 200
            await linker.reload(config(router("in", [port], to(origin), "service: {totalTimeoutMs: 60}")))
            assert b"exceeded 60.milliseconds" in body_of(await caller.ask(get("web")))


async def test_a_namer_that_is_kept_goes_on_and_a_changed_one_takes_over(tmp_path: Path) -> None:
    async with Origin(saying("one")) as one, Origin(saying("two")) as two:
        for folder, origin in (("a", one), ("b", two)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "web").write_text(f"127.0.0.1 {origin.port}\n")
        port = free_port()

        def named(folder: str, *more: str) -> str:
            kinds = [f"{{kind: io.l5d.fs, rootDir: {tmp_path / folder}}}", *more]
            return config(router("in", [port], "/svc => /#/io.l5d.fs"), more=f"namers: [{', '.join(kinds)}]\n")

        async with LinkerProcess(named("a")) as linker, Traffic(port) as traffic:
            assert set(await traffic.more(50)) == {"one"}
            await linker.reload(named("a", "{kind: io.l5d.rewrite, prefix: /r, pattern: /a, name: /b}"))
            assert set(await traffic.more(50)) == {"one"}
            (tmp_path / "a" / "web").write_text(f"127.0.0.1 {two.port}\n")
            async with asyncio.timeout(5):
                while "one" in await traffic.more(20):
                    pass
            await linker.reload(named("b").replace("- port", "- clearContext: true\n    port"))
            assert set(await traffic.more(50)) == {"two"}
            assert traffic.failed == []


@pytest.mark.parametrize("wide", ["0.0.0.0", "::"])
async def test_a_server_can_move_to_another_address_on_the_same_port(wide: str) -> None:
    async with Origin(saying("web")) as origin:
        port = free_port()
        narrow = config(router("in", [port], to(origin)))
        async with LinkerProcess(narrow) as linker:
            answer = await linker.reload(narrow.replace(f"port: {port}", f"port: {port}\n    ip: '{wide}'"))
            assert status_of(answer) == 200, answer
            assert body_of(answer).startswith(b"added server ")
            async with asyncio.timeout(5), Caller(port) as caller:
                assert status_of(await caller.ask(get("web"))) == 200


async def test_the_admin_server_moves_and_shows_the_new_configuration() -> None:
    async with Origin(saying("web")) as origin:
        port, admin = free_port(), free_port()
        first = config(router("in", [port], to(origin)))
        second = first.replace("port: 0", f"port: {admin}") + "telemetry: [{kind: io.l5d.prometheus, path: /prom}]\n"
        async with LinkerProcess(first) as linker:
            assert b"added telemeter io.l5d.prometheus; changed admin" in await linker.reload(second)
            linker.servers["http admin"] = [("127.0.0.1", admin)]
            assert b"rt:server:connections" in await linker.admin("/prom")
            assert b"prometheus" in await linker.admin("/config.json")
            answer = await linker.reload(second + "usage: {enabled: false}\n")
            assert body_of(answer).startswith(b"nothing differs; kept router in")


async def test_another_access_log_gets_the_lines_from_the_next_request_on(tmp_path: Path) -> None:
    async with Origin(saying("web")) as origin:
        port = free_port()

        def logging_to(name: str, *keys: str) -> str:
            return config(router("in", [port], to(origin), f"httpAccessLog: {tmp_path / name}", *keys))

        async def lines(name: str, count: int) -> None:
            async with asyncio.timeout(5):
                while not (tmp_path / name).exists() or (tmp_path / name).read_text().count("\n") < count:
                    await asyncio.sleep(0.01)
            assert (tmp_path / name).read_text().count("\n") == count

        async with LinkerProcess(logging_to("a")) as linker, Caller(port) as caller:
            await caller.ask(get("web"))
            await linker.reload(logging_to("b"))
            await caller.ask(get("web"))
            await lines("a", 1)
            # What a kept file holds is not begun anew, whatever holds for a start.
            await linker.reload(logging_to("b", "httpAccessLogAppend: false"))
            await caller.ask(get("web"))
            await lines("b", 2)
            answer = await linker.reload(logging_to("b/c"))
            assert status_of(answer) == 409
            assert b"/b/c: " in body_of(answer)
            await caller.ask(get("web"))
            await lines("b", 3)


async def test_new_certificates_are_for_new_connections(tmp_path: Path) -> None:
    async with Origin(saying("web")) as origin:
        port = free_port()
        plain = config(router("in", [port], to(origin)))
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        request = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {cert} -days 1"
        )
        made = await run(*request.split(), "-subj", "/CN=web", "-addext", "subjectAltName=DNS:web")
        assert made.status == 0, made.errors
        secret = plain.replace(f"port: {port}", f"port: {port}\n    tls: {{certPath: {cert}, keyPath: {key}}}")
        async with LinkerProcess(plain) as linker, Caller(port) as caller:
            assert status_of(await caller.ask(get("web"))) == 200
            assert f"changed server 127.0.0.1:{port}".encode() in await linker.reload(secret)
            assert status_of(await caller.ask(get("web"))) == 200, "what was opened without TLS goes on"
            flags = f"-sS --cacert {cert} --connect-to web:443:127.0.0.1:{port} https://web/"
            asked = await run("curl", *flags.split())
            assert (asked.output, asked.errors) == (b"web", "")
            cert.write_text("no certificate")
            answer = await linker.reload(secret.replace("keyPath", "protocols: [TLSv1.3], keyPath"))
            assert status_of(answer) == 409
            assert str(cert).encode() in body_of(answer)


async def test_of_many_reloads_nothing_is_left_over() -> None:
    async with Origin(saying("web")) as origin:
        stays = free_port()
        pools = (f"client: {{hostConnectionPool: {{maxSize: {most}}}}}" for most in (10, 20))
        both = [
            config(router("in", [stays], to(origin), pool), router(name, [0], ""))
            for name, pool in zip(("odd", "even"), pools, strict=True)
        ]
        async with LinkerProcess(both[0]) as linker, Traffic(stays) as traffic:
            for nth in range(10):
                await linker.reload(both[nth % 2])
            opened, resident = descriptors(linker.pid), resident_kib(linker.pid)
            for nth in range(100):
                assert status_of(await linker.reload(both[nth % 2])) == 200
            await becomes("files are closed", lambda: as_it_is(descriptors(linker.pid)), lambda now: now <= opened)
            assert resident_kib(linker.pid) - resident < 6 * 1024
            assert set(await traffic.more(50)) == {"web"}
            assert traffic.failed == []
            assert (await linker.metrics())[f"rt/in/server/127.0.0.1/{stays}/connects"] == 8
            assert not [line for line in linker.log if "panic" in line or line.startswith(("E ", "W "))]


async def as_it_is(count: int) -> int:
    return count
