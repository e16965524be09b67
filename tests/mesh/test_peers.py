"""Programs that people use get through a linker what they get without one: curl, wrk, WebSocket clients, nginx."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.observing import becomes
from tests.mesh.programs import Ran, run

MIB: Final = 1024 * 1024
BLOCK: Final = bytes(range(256)) * 1024

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def config(port: int) -> str:
    """Send every name to a port of this host, through one worker."""
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{port} ;
  servers:
  - port: 0
"""


async def echo(request: bytes) -> bytes:
    """Answer with the request itself, as it came."""
    body = b"" if request.startswith(b"HEAD ") else request
    return b"HTTP/1.1 200 OK\r\nX-Origin: here\r\nContent-Length: %d\r\n\r\n%s" % (len(request), body)


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Origin, LinkerProcess]]:
    """Run a linker in front of an origin that echoes."""
    async with Origin(echo) as origin, LinkerProcess(config(origin.port)) as linker:
        yield origin, linker


async def curl(linker: LinkerProcess, *arguments: str, path: str = "/", stdin: bytes = b"") -> Ran:
    """Ask for the host `web` with curl, which must be content."""
    url = f"http://127.0.0.1:{linker.port()}{path}"
    ran = await run("curl", "-sS", "--max-time", "20", "-H", "Host: web", *arguments, url, stdin=stdin)
    assert ran.status == 0, ran
    return ran


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def unchunked(body: bytes) -> bytes:
    """Give the content of a chunked body."""
    content = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            return content
        content += body[:length]
        body = body[length + 2 :]


@needs_curl
async def test_curl_gets_the_endpoints_answer() -> None:
    async with echoing() as (_, linker):
        ran = await curl(linker, "-i", path="/a?b=c")
        head, _, body = ran.output.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Origin: here" in head
        assert body.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: web\r\n")


@needs_curl
async def test_curl_sees_a_heads_length_and_waits_for_no_body() -> None:
    async with echoing() as (origin, linker):
        ran = await curl(linker, "--head")
        assert ran.output.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length: %d\r\n" % len(origin.requests[0]) in ran.output
        assert origin.requests[0].startswith(b"HEAD / HTTP/1.1\r\n")


@needs_curl
async def test_curls_post_arrives_whole_with_its_length() -> None:
    async with echoing() as (origin, linker):
        await curl(linker, "--data-binary", "@-", stdin=b"a=1&b=2")
        [request] = origin.requests
        assert b"\r\nContent-Length: 7\r\n" in request
        assert body_of(request) == b"a=1&b=2"


@needs_curl
async def test_curls_chunked_upload_arrives_whole() -> None:
    sent = BLOCK * 8
    async with echoing() as (origin, linker):
        await curl(linker, "-o", "/dev/null", "-T", "-", "-H", "Expect:", stdin=sent)
        [request] = origin.requests
        assert b"\r\nTransfer-Encoding: chunked\r\n" in request
        assert unchunked(body_of(request)) == sent


@needs_curl
async def test_curl_is_told_to_go_on_and_sends_its_large_body_at_once() -> None:
    sent = BLOCK * 16
    async with echoing() as (origin, linker):
        ran = await curl(
            linker,
            *("-v", "-o", "/dev/null", "-w", "%{time_total}", "--data-binary", "@-"),
            *("-H", "Expect: 100-continue", "--expect100-timeout", "15"),
            stdin=sent,
        )
        assert "HTTP/1.1 100 Continue" in ran.errors
        assert float(ran.output) < 10, "curl would have waited 15 s without the interim answer"
        assert body_of(origin.requests[0]) == sent


@needs_curl
async def test_curl_speaks_http_1_0_and_is_not_answered_in_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    async with Origin(chunked) as origin, LinkerProcess(config(origin.port)) as linker:
        ran = await curl(linker, "-0", "-i")
        head, _, body = ran.output.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert body == b"abcdefg"


@needs_curl
async def test_curl_keeps_one_connection_for_several_urls() -> None:
    async with echoing() as (origin, linker):
        url = f"http://127.0.0.1:{linker.port()}/"
        shown = ("-sS", "-H", "Host: web", "-w", "%{num_connects} ")
        ran = await run("curl", *shown, *(part for n in range(5) for part in ("-o", "/dev/null", f"{url}{n}")))
        assert (ran.status, ran.output) == (0, b"1 0 0 0 0 ")
        assert [request.split()[1] for request in origin.requests] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
        assert origin.connections == 1, "and the linker keeps its own"


@needs_curl
async def test_curl_uses_the_linker_as_its_proxy() -> None:
    async with echoing() as (origin, linker):
        proxy = f"http://127.0.0.1:{linker.port()}"
        ran = await run("curl", "-sS", "--proxy", proxy, "http://web/a?b")
        assert ran.status == 0, ran
        assert origin.requests[0].startswith(b"GET /a?b HTTP/1.1\r\nHost: web\r\n")
        assert b"l5d-dst-service: /svc/web\r\n" in origin.requests[0]
        assert b"Proxy-Connection" not in origin.requests[0]


@needs_wrk
async def test_wrk_sees_no_error_and_no_status_but_200() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port), "--workers", "2") as linker:
        ran = await run("wrk", "-t1", "-c32", "-d2s", "-H", "Host: web", f"http://127.0.0.1:{linker.port()}/")
        assert ran.status == 0, ran
        said = ran.output.decode()
        assert "Non-2xx" not in said, said
        assert "Socket errors" not in said, said
        answered = re.search(r"(\d+) requests in", said)
        assert answered is not None
        assert int(answered[1]) > 500, said
        server = f"rt/http/server/127.0.0.1/{linker.port()}"
        metrics = await becomes("all is over", linker.metrics, lambda metrics: metrics[f"{server}/connections"] == 0)
        assert metrics[f"{server}/status/200"] == metrics[f"{server}/requests"] - metrics.get(
            f"{server}/status/error", 0
        )
        assert metrics[f"{server}/pending"] == 0


async def test_a_websocket_carries_small_and_large_messages_and_closes_in_order() -> None:
    closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def repeat(socket: ServerConnection) -> None:
        try:
            while True:
                await socket.send(await socket.recv())
        except ConnectionClosed:
            closed.set_result((socket.close_code or 0, socket.close_reason or ""))

    async with serve(repeat, "127.0.0.1", 0, max_size=4 * MIB) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with LinkerProcess(config(port)) as linker:
            url = f"ws://127.0.0.1:{linker.port()}/chat"
            async with connect(url, max_size=4 * MIB, compression=None, proxy=None) as peer:
                for message in ("hello", b"\x00\xff", "", "x" * MIB, BLOCK * 4):
                    await peer.send(message)
                    assert await peer.recv() == message
                pong = await peer.ping()
                await pong
                await peer.close(4321, "enough")
            async with asyncio.timeout(5):
                assert await closed == (4321, "enough")
            scope = f"rt/http/server/127.0.0.1/{linker.port()}"
            metrics = await becomes("the tunnel is over", linker.metrics, lambda found: found[f"{scope}/pending"] == 0)
            assert metrics[f"{scope}/status/101"] == 1
            await becomes("the tunnel is closed", linker.metrics, lambda found: found[f"{scope}/connections"] == 0)


def nginx_config(root: Path, port: int) -> str:
    return f"""
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log stderr error;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  gzip on;
  gzip_proxied any;
  gzip_types text/plain;
  gzip_min_length 1;
  keepalive_requests 3;
  server {{
    listen 127.0.0.1:{port};
    root {root}/www;
    default_type text/plain;
    location = /moved {{ return 301 /there; }}
    location = /nothing {{ return 204; }}
  }}
}}
"""


@asynccontextmanager
async def nginx(root: Path) -> AsyncIterator[int]:
    """Run nginx with files of `root`/www; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    file = root / "nginx.conf"
    file.write_text(nginx_config(root, port))
    program = shutil.which("nginx")
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(program, "-p", str(root), "-e", "stderr", "-c", str(file)),
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    try:
        await becomes("nginx listens", listens, bool)
        yield port
    finally:
        process.terminate()
        await process.wait()


@needs_nginx
@needs_curl
async def test_nginx_as_endpoint_serves_files_ranges_and_statuses_through_the_linker(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(BLOCK * 4)
    (tmp_path / "www" / "small").write_text("small\n")
    async with nginx(tmp_path) as port, LinkerProcess(config(port)) as linker:
        assert (await curl(linker, path="/file")).output == BLOCK * 4
        assert (await curl(linker, "-r", "1000-1009", path="/file")).output == (BLOCK * 4)[1000:1010]
        packed = await curl(linker, "--compressed", "-D", "-", path="/small")
        assert b"Transfer-Encoding: chunked" in packed.output
        assert packed.output.endswith(b"\r\n\r\nsmall\n")
        for path, status in (("/moved", b"301"), ("/nothing", b"204"), ("/none", b"404")):
            ran = await curl(linker, "-o", "/dev/null", "-w", "%{http_code}", path=path)
            assert ran.output == status
        tag = (await curl(linker, "--head", path="/small")).output.split(b"ETag: ")[1].split(b"\r\n")[0].decode()
        unchanged = await curl(
            linker, "-o", "/dev/null", "-w", "%{http_code}", "-H", f"If-None-Match: {tag}", path="/small"
        )
        assert unchanged.output == b"304"


@needs_nginx
async def test_an_endpoint_that_ends_its_connections_now_and_then_costs_no_request(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "small").write_text("small\n")
    # nginx closes each connection after three requests.
    async with nginx(tmp_path) as port, LinkerProcess(config(port)) as linker:
        for _ in range(100):
            assert (await linker.get("web", "/small")).startswith(b"HTTP/1.1 200 ")
