"""Where a linker's admin server listens, and how: by TLS, and on a port that tells what a request means."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from pathlib import Path

from biandou.clients.tls import ClientTls, client_context
from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import exchange, get, read_message
from tests.mesh.certificates import make, make_authority

ROUTERS = """
routers:
- protocol: http
  servers: [{port: 0}]
- protocol: http
  label: paths
  dstPrefix: /p
  identifier: {kind: io.l5d.path, segments: 2}
  servers: [{port: 0}]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_the_identifier_port_tells_what_each_router_makes_of_a_request() -> None:
    port = free_port()
    async with LinkerProcess(f"admin: {{port: 0, httpIdentifierPort: {port}}}{ROUTERS}") as linker:
        assert linker.servers["http identifier"] == [("127.0.0.1", port)]

        async def meaning(request: bytes) -> object:
            return json.loads((await exchange("127.0.0.1", port, request)).partition(b"\r\n\r\n")[2])

        assert await meaning(get("web", "/a/b?c", "l5d-dtab: /a=>/b", "l5d-dtab: /c=>/d")) == {
            "http": {"path": "/svc/web", "dtab": "/a=>/b;/c=>/d"},
            "paths": {"path": "/p/a/b", "dtab": "/a=>/b;/c=>/d"},
        }
        assert await meaning(get("web", "/a")) == {
            "http": {"path": "/svc/web"},
            "paths": {"error": "not enough segments in path"},
        }
        assert await meaning(b"DELETE /admin/shutdown HTTP/1.0\r\n\r\n") == {
            "http": {"error": "Host header is absent"},
            "paths": {"path": "/p/admin/shutdown"},
        }
        malformed = {"error": "'/' expected but 'x' found at '[x]'"}
        assert await meaning(get("web", "/a/b", "l5d-dtab: x")) == {"http": malformed, "paths": malformed}
        changed = ROUTERS.replace("dstPrefix: /p", "dstPrefix: /q")
        assert b" 200 " in await linker.reload(f"admin: {{port: 0, httpIdentifierPort: {port}}}{changed}")
        assert await meaning(get("web", "/a/b")) == {"http": {"path": "/svc/web"}, "paths": {"path": "/q/a/b"}}
        assert b" 200 " in await linker.reload(f"admin: {{port: 0}}{changed}")
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
            except ConnectionRefusedError:
                break
            await asyncio.sleep(0.01)


async def test_admin_pages_are_served_by_tls_and_a_new_certificate_is_used_after_a_reload(tmp_path: Path) -> None:
    await make_authority(tmp_path)
    await make(tmp_path, "admin", "old.test")
    port = free_port()
    tls = f"tls: {{certPath: {tmp_path}/admin.pem, keyPath: {tmp_path}/admin.key}}"
    config = f"admin: {{port: {port}, {tls}}}{ROUTERS}"

    async def ask(request: bytes, name: str) -> bytes:
        context = client_context(ClientTls(common_name=name, trust_certs_bundle=str(tmp_path / "ca.pem")))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        try:
            writer.write(request)
            return await read_message(reader)
        finally:
            writer.close()

    async with LinkerProcess(config) as linker:
        assert linker.servers["https admin"] == [("127.0.0.1", port)]
        assert (await ask(get("admin", "/admin/ping"), "old.test")).endswith(b"pong")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("admin", "/admin/ping"))
        answered = b""
        with contextlib.suppress(ConnectionError):
            answered = await reader.read()
        writer.close()
        assert b"pong" not in answered, "plain text is not served"
        reload = b"POST /admin/reload HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n"
        (tmp_path / "admin.pem").write_text("no certificate")
        refused = await ask(reload, "old.test")
        assert b" 200 " not in refused.split(b"\r\n")[0]
        assert b"admin.pem" in refused
        await make(tmp_path, "admin", "new.test")
        assert b" 200 " in await ask(reload, "old.test")
        assert (await ask(get("admin", "/admin/ping"), "new.test")).endswith(b"pong")
        try:
            await ask(get("admin", "/admin/ping"), "old.test")
        except ssl.SSLCertVerificationError:
            pass
        else:
            raise AssertionError("the former certificate is still shown")


async def test_the_options_of_the_admin_socket_are_set() -> None:
    port = free_port()
    options = "socketOptions: {reusePort: true, reuseAddr: true, keepAlive: true, backlog: 7}"
    async with LinkerProcess(f"admin: {{port: {port}, {options}}}{ROUTERS}"):
        with socket.socket() as beside:
            beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            beside.bind(("127.0.0.1", port))
