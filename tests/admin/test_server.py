"""The admin pages over real HTTP: methods, unknown paths, heads, bodies, failures."""

from __future__ import annotations

import asyncio
import io
import json
import socket

import aiohttp
import pytest

from biandou.admin import server
from biandou.testing.origin import exchange, get
from tests.admin.site import port_of, serving


async def test_ping_is_answered_with_pong_by_any_method() -> None:
    async with serving() as client:
        for method in ("GET", "POST", "PUT", "DELETE"):
            async with client.request(method, "/admin/ping") as reply:
                assert (reply.status, await reply.text()) == (200, "pong")
                assert reply.content_type == "text/plain"


@pytest.mark.parametrize(
    "path", ["/nope", "/metrics.json", "/admin/metrics", "/metrics", "/health", "/admin/", "/admin/ping/", "/%2e%2e/"]
)
async def test_an_unknown_path_is_404_without_a_body(path: str) -> None:
    async with serving() as client:
        answer = await exchange("127.0.0.1", port_of(client), get("x", path))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert body == b""


async def test_a_head_is_a_get_without_its_body() -> None:
    async with serving() as client:
        for path in ("/admin/ping", "/", "/admin/metrics.json"):
            request = b"HEAD %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode()
            head, _, body = (await exchange("127.0.0.1", port_of(client), request)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nContent-Length: 0" not in head
            assert b"\r\nContent-Length: " in head
            assert body == b""


async def test_a_method_that_a_page_does_not_know_is_405_with_those_it_knows() -> None:
    async with serving() as client:
        async with client.get("/admin/shutdown") as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "POST")
        async with client.put("/logging.json") as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST")


async def test_a_page_that_fails_is_500_and_the_next_request_is_answered() -> None:
    def broken() -> list[str]:
        raise RuntimeError("no names today")

    async with serving(bound_names=broken) as client:
        async with client.get("/bound-names.json") as reply:
            assert (reply.status, await reply.text()) == (500, "RuntimeError: no names today")
        async with client.get("/admin/ping") as reply:
            assert reply.status == 200


async def test_a_body_that_is_too_long_is_refused() -> None:
    async with serving() as client, client.post("/logging.json", data=io.BytesIO(bytes(server.MAX_BODY + 1))) as reply:
        assert reply.status == 413


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.1)
    async with serving() as client:
        request = b"POST /logging.json HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        answer = await exchange("127.0.0.1", port_of(client), request)
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_waits_for_permission_to_send_gets_it() -> None:
    async with serving() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(client))
        writer.write(b"POST /admin/ping HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hi")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(4) == b"pong"
        writer.close()


async def connections(client: aiohttp.ClientSession) -> float:
    async with client.get("/admin/metrics.json") as reply:
        return float((await reply.json(content_type=None))["adminhttp/connections"])


async def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REPLY_SECONDS", 0.1)
    async with serving(config={"text": "x" * 32 * 1024 * 1024}) as client:
        with socket.create_connection(("127.0.0.1", port_of(client))) as slow:
            slow.sendall(b"GET /config.json HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(5):
                while await connections(client) > 1:
                    await asyncio.sleep(0.05)


async def test_connections_beyond_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    async with serving() as client:
        held = [await asyncio.open_connection("127.0.0.1", port_of(client)) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /admin/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"pong")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(client))
        assert await reader.read() == b""
        writer.close()
        for _, writer in held:
            writer.close()


async def test_more_parameters_than_anybody_needs_are_refused() -> None:
    async with serving() as client, client.get("/admin/ping?" + "&".join(f"a{n}=1" for n in range(101))) as reply:
        assert reply.status == 400


async def test_the_admin_counts_its_own_requests() -> None:
    async with serving() as client:
        for _ in range(3):
            async with client.get("/admin/ping") as reply:
                assert reply.status == 200
        async with client.get("/admin/metrics.json") as reply:
            metrics = json.loads(await reply.text())
    assert metrics["adminhttp/requests"] == 3
    assert metrics["adminhttp/success"] == 3
    assert metrics["adminhttp/failures"] == 0
    assert metrics["adminhttp/connections"] == 1.0


async def test_the_first_page_is_complete_and_runs_no_script_but_its_own() -> None:
    async with serving() as client, client.get("/") as reply:
        page = await reply.text()
        policy = reply.headers["Content-Security-Policy"]
    assert reply.content_type == "text/html"
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "innerHTML" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
