"""The real program `biandou namerd`: what is on the wire, what outlives a kill, and how it starts and ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from biandou.clients.tls import ClientAuth, ClientTls
from biandou.dtab import NEG, Dtab, NameTree
from biandou.dtab import Path as Name
from biandou.dtab.bound import Bound
from biandou.interpreters.namerd_http import NamerdHttpInterpreterKind
from biandou.live import Live, Ok, Pending
from biandou.namers.all import Namers
from biandou.testing.linker_process import LinkerProcess
from biandou.testing.observing import Observed
from biandou.testing.origin import Origin, exchange
from tests.mesh.programs import run

EXAMPLES = Path(__file__).parents[2] / "examples"
HTTP = "io.l5d.httpController interface"


def namerd(config: str, *flags: str) -> LinkerProcess:
    return LinkerProcess("admin: {port: 0}\n" + config, *flags, command="namerd")


def in_memory(interface: str = "", rest: str = "") -> LinkerProcess:
    return namerd(
        "storage: {kind: io.l5d.inMemory, namespaces: {default: /svc=>/#/io.l5d.fs}}\n"
        f"interfaces: [{{kind: io.l5d.httpController, port: 0{interface}}}]\n{rest}"
    )


def request(line: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: namerd", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def ask(program: LinkerProcess, line: str, body: bytes = b"", *headers: str) -> tuple[int, dict[str, str], bytes]:
    """Give status, headers and body."""
    answer = await exchange("127.0.0.1", program.port(HTTP), request(line, body, *headers))
    head, _, rest = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), rest


async def chunk(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        size = int(await reader.readline(), 16)
        return (await reader.readexactly(size + 2))[:-2]


async def test_what_a_script_for_linkerds_namerd_does_works(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("127.0.0.1 8080\n")
    async with in_memory(rest=f"namers: [{{kind: io.l5d.fs, rootDir: {tmp_path}}}]") as program:
        status, headers, body = await ask(program, "GET /api/1/dtabs/default")
        assert (status, body) == (200, b'[{"prefix":"/svc","dst":"/#/io.l5d.fs"}]\n')
        assert headers["ETag"] == "AAAAAAAAAAE="
        dtab = ("Content-Type: application/dtab",)
        assert (await ask(program, "PUT /api/1/dtabs/default", b"/svc=>/x", *dtab, "If-Match: AAAAAAAAAAE="))[0] == 204
        assert (await ask(program, "PUT /api/1/dtabs/default", b"/svc=>/x", *dtab, "If-Match: AAAAAAAAAAE="))[0] == 412
        assert (await ask(program, "POST /api/1/dtabs/default", b"/svc=>/x", *dtab))[0] == 409
        assert (await ask(program, "HEAD /api/1/dtabs/default"))[1]["ETag"] == "AAAAAAAAAAI="
        assert (await ask(program, "DELETE /api/1/dtabs/default"))[0] == 204
        assert (await ask(program, "GET /api/1/dtabs/default"))[0] == 404
        assert (await ask(program, "GET /api/1/dtabs"))[2] == b"[]\n"


async def test_a_watch_is_a_chunk_a_document_and_ends_cleanly_with_the_program(tmp_path: Path) -> None:
    """The example of reference/naming.md §5.1."""
    (tmp_path / "web").write_text("10.1.0.4 8080\n")
    async with in_memory(rest=f"namers: [{{kind: io.l5d.fs, rootDir: {tmp_path}}}]") as program:
        reader, writer = await asyncio.open_connection("127.0.0.1", program.port(HTTP))
        writer.write(request("GET /api/1/addr/default?path=/%23/io.l5d.fs/web&watch=true"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in head
        assert await chunk(reader) == (
            b'{"type":"bound","addrs":[{"ip":"10.1.0.4","port":8080,"meta":{}}],"meta":{}}\n'
        )
        (tmp_path / "web").unlink()
        assert await chunk(reader) == b'{"type":"neg"}\n'
        program.signal(signal.SIGTERM)
        assert await chunk(reader) == b""
        assert await program.wait() == 0
        writer.close()


async def test_a_changed_dtab_is_told_at_once_and_kill_9_loses_nothing(tmp_path: Path) -> None:
    config = (
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/state/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}]\n"
    )
    async with namerd(config) as program:
        assert (await ask(program, "POST /api/1/dtabs/web", b"/a=>/b", "Content-Type: text/plain"))[0] == 204
        reader, writer = await asyncio.open_connection("127.0.0.1", program.port(HTTP))
        writer.write(request("GET /api/1/dtabs/web?watch=1", b"", "Accept: application/dtab"))
        await reader.readuntil(b"\r\n\r\n")
        assert await chunk(reader) == b"/a=>/b\n"
        assert (await ask(program, "PUT /api/1/dtabs/web", b"/a=>/c", "Content-Type: text/plain"))[0] == 204
        assert await chunk(reader) == b"/a=>/c\n"
        _, headers, _ = await ask(program, "HEAD /api/1/dtabs/web")
        await program.kill()
        writer.close()
    async with namerd(config) as program:
        _, again, body = await ask(program, "GET /api/1/dtabs/web", b"", "Accept: application/dtab")
        assert (body, again["ETag"]) == (b"/a=>/c\n", headers["ETag"])
        history = json.loads((await ask(program, "GET /api/1/history/web"))[2])
        assert [revision["dtab"] for revision in history] == ["/a=>/c", "/a=>/b"]


async def test_a_linker_binds_by_namerd_and_goes_on_while_namerd_is_away(tmp_path: Path) -> None:
    config = (
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: PORT}]\n"
    )
    old, new = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + word for word in (b"old", b"new"))
    async with Origin(old) as one, Origin(new) as other:
        dtab = "Content-Type: text/plain"
        async with namerd(config.replace("PORT", "0")) as control:
            port = control.port(HTTP)
            await ask(control, "POST /api/1/dtabs/default", f"/svc=>/$/inet/127.0.0.1/{one.port}".encode(), dtab)
            linker = LinkerProcess(
                "admin: {port: 0}\nrouters: [{protocol: http, servers: [{port: 0}], interpreter: {kind: "
                f"io.l5d.namerd.http, dst: /$/inet/127.0.0.1/{port}, retry: {{baseSeconds: 1, maxSeconds: 1}}}}}}]"
            )
            await linker.start()
            try:
                assert (await linker.get("web")).endswith(b"old")
                await control.kill()
                for _ in range(5):
                    assert (await linker.get("web")).endswith(b"old")
                async with namerd(config.replace("PORT", str(port))) as again:
                    await ask(again, "PUT /api/1/dtabs/default", f"/svc=>/$/inet/127.0.0.1/{other.port}".encode(), dtab)
                    async with asyncio.timeout(10):
                        while not (await linker.get("web")).endswith(b"new"):
                            await asyncio.sleep(0.05)
            finally:
                await linker.stop()


async def test_only_who_shows_a_token_gets_in(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    tokens = f", tokens: [{{name: ann, tokenFile: {tmp_path}/token}}, {{name: eye, token: look, readOnly: true}}]"
    async with in_memory(tokens) as program:
        status, headers, _ = await ask(program, "GET /api/1/dtabs")
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await ask(program, "GET /api/1/dtabs", b"", "Authorization: Bearer wrong"))[0] == 401
        look, ann = "Authorization: Bearer look", "Authorization: Bearer from-a-file"
        assert (await ask(program, "GET /api/1/dtabs", b"", look))[0] == 200
        put = "PUT /api/1/dtabs/default", b"/a=>/b", "Content-Type: text/plain"
        assert (await ask(program, *put, look))[0] == 403
        assert (await ask(program, *put, ann))[0] == 204
        assert "look" not in (await program.admin("/config.json")).decode()


async def test_a_client_needs_a_certificate_where_one_is_required(tmp_path: Path) -> None:
    await certificates(tmp_path)
    tls = ", ".join(
        f"{key}: {tmp_path}/{name}.pem"
        for key, name in (("certPath", "server"), ("keyPath", "server-key"), ("caCertPath", "authority"))
    )
    async with in_memory(f", tls: {{{tls}, requireClientAuth: true}}") as program:
        url = f"https://localhost:{program.port(HTTP)}/api/1/dtabs"
        known = ["curl", "-sS", "--cacert", f"{tmp_path}/authority.pem", url]
        refused = await run(*known)
        assert refused.status != 0
        own = ["--cert", f"{tmp_path}/client.pem", "--key", f"{tmp_path}/client-key.pem"]
        told = await run(*known, *own)
        assert (told.status, told.output) == (0, b'["default"]\n'), told.errors


async def test_a_linker_shows_its_certificate_to_namerd_and_trusts_nobody_else(tmp_path: Path) -> None:
    await certificates(tmp_path)
    files = {"certPath": "server", "keyPath": "server-key", "caCertPath": "authority"}
    tls = ", ".join(f"{key}: {tmp_path}/{name}.pem" for key, name in files.items())

    def bound(name: str) -> Live[NameTree[Bound]]:
        auth = ClientAuth(cert_path=f"{tmp_path}/client.pem", key_path=f"{tmp_path}/client-key.pem")
        ours = ClientTls(common_name=name, trust_certs_bundle=f"{tmp_path}/authority.pem", client_auth=auth)
        kind = NamerdHttpInterpreterKind(dst=f"/$/inet/127.0.0.1/{program.port(HTTP)}", tls=ours)
        return kind.interpreter(Live.ok(Dtab()), Namers()).bind(Dtab(), Name.read("/svc/web"))

    async with in_memory(f", tls: {{{tls}, requireClientAuth: true}}") as program:
        with Observed(bound("localhost")) as name, Observed(bound("elsewhere")) as other:
            await name.until(lambda state: state == Ok(NEG))
            await asyncio.sleep(0.2)
            assert isinstance(other.now, Pending)


async def certificates(folder: Path) -> None:
    """Make an authority, and a server's and a client's certificate of it."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    authority = [f"{folder}/authority-key.pem", "-out", f"{folder}/authority.pem", "-subj", "/CN=authority"]
    assert (await run("openssl", "req", "-x509", *curve, "-keyout", *authority)).status == 0
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        asked = [f"{folder}/{name}-key.pem", "-out", f"{folder}/{name}.csr", "-subj", f"/CN={name}"]
        assert (await run("openssl", "req", *curve, "-keyout", *asked)).status == 0
        by = ["-CA", f"{folder}/authority.pem", "-CAkey", f"{folder}/authority-key.pem", "-CAcreateserial"]
        what = ["-in", f"{folder}/{name}.csr", "-extfile", f"{folder}/names", "-out", f"{folder}/{name}.pem"]
        assert (await run("openssl", "x509", "-req", *by, *what)).status == 0


async def test_a_body_that_is_too_long_gets_413_and_others_go_on() -> None:
    async with in_memory() as program:
        long = request("PUT /api/1/dtabs/x", b"", "Content-Type: text/plain", f"Content-Length: {9 * 1024 * 1024}")
        answer = await exchange("127.0.0.1", program.port(HTTP), long)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert (await ask(program, "GET /api/1/dtabs"))[0] == 200


async def test_its_admin_server_has_the_pages_of_the_reference_and_it_runs_without_the_engine() -> None:
    async with in_memory() as program:
        assert await program.admin("/admin/ping") == b"pong"
        config = json.loads(await program.admin("/config.json"))
        assert config["storage"]["kind"] == "io.l5d.inMemory"
        await ask(program, "GET /api/1/dtabs")
        metrics = json.loads(await program.admin("/admin/metrics.json"))
        assert metrics["interface/io.l5d.httpController/requests"] == 1
        health = json.loads(await program.admin("/admin/health"))
        assert (health["namespaces"], health["storage"]) == (1, "ok")
        assert b'<a href="dtab/default">default</a>' in await program.admin("/")
        assert b"/svc=&gt;/#/io.l5d.fs</textarea>" in await program.admin("/dtab/default")
        missing = await exchange("127.0.0.1", program.admin_port, request("GET /dtab/nope"))
        assert missing.startswith(b"HTTP/1.1 404 ")
        delegation = json.loads(
            await program.admin("/dtab/delegator.json?dtab=/a=>/$/nil&path=/a".replace("=>", "%3D%3E"))
        )
        assert delegation["delegate"]["type"] == "empty"
        assert "_engine" not in Path(f"/proc/{program.pid}/maps").read_text()
        quitting = await exchange("127.0.0.1", program.admin_port, request("POST /admin/shutdown"))
        assert quitting.endswith(b"quitting\n")
        assert await program.wait() == 0


@pytest.mark.parametrize("flag", ["--validate", "-validate"])
async def test_a_file_is_validated_without_being_run(
    tmp_path: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/x.db}}\ninterfaces: [{{kind: io.l5d.httpController}}]"
    )
    bad.write_text("storage: {kind: io.l5d.inMemory}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    told = await run(sys.executable, "-m", "biandou", "namerd", flag, str(good))
    assert (told.status, told.errors) == (0, "")
    assert not (tmp_path / "x.db").exists()
    with good.open("a") as file:
        file.write("\nnamers: [{kind: io.biandou.failover, tiers: [{dst: /#/nosuch}]}]\n")
    told = await run(sys.executable, "-m", "biandou", "namerd", flag, str(good))
    remark = "namer /#/io.biandou.failover: no namer answers for /#/nosuch; namers: /#/io.biandou.failover\n"
    assert (told.status, told.errors) == (0, remark)
    told = await run(sys.executable, "-m", "biandou", "namerd", flag, str(bad))
    assert (told.status, told.errors) == (78, f"{bad}:1:1: interfaces: One or more interfaces must be specified.\n")


async def test_a_store_that_cannot_be_opened_keeps_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    program = namerd(
        f"storage: {{kind: io.biandou.sqlite, path: {tmp_path}/file/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}]\n"
    )
    await program.launch()
    assert await program.wait() == 1
    assert any(f"cannot start: {tmp_path}/file/namerd.db" in line for line in program.log)


async def test_the_examples_are_a_linker_that_is_steered_by_its_namerd(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLES / "namerd", tmp_path / "namerd"))
    answers = [f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{word}".encode() for word in "ab"]
    async with Origin(answers[0]) as one, Origin(answers[1]) as other:
        (folder / "disco" / "web").write_text(f"127.0.0.1 {one.port}\n")
        control = (folder / "namerd.yaml").read_text().replace("port: 9991", "port: 0").replace("port: 4180", "port: 0")
        async with LinkerProcess(control, command="namerd", cwd=str(folder)) as program:
            text = "Content-Type: text/plain"
            await ask(program, "POST /api/1/dtabs/default", b"/svc => /#/io.l5d.fs ;", text)
            data = (
                (folder / "linker.yaml").read_text().replace("port: 9990", "port: 0").replace("port: 4140", "port: 0")
            )
            async with LinkerProcess(data.replace("/4180", f"/{program.port(HTTP)}"), cwd=str(folder)) as linker:
                assert (await linker.get("web")).endswith(b"a")
                moved = f"/svc => /$/inet/127.0.0.1/{other.port} ;".encode()
                await ask(program, "PUT /api/1/dtabs/default", moved, text)
                async with asyncio.timeout(5):
                    while not (await linker.get("web")).endswith(b"b"):
                        await asyncio.sleep(0.01)
