"""The admin's socket listens from the start; the server behind it is loaded for the first who connects."""

from __future__ import annotations

import asyncio
import socket
from ssl import SSLContext

import pytest

from biandou.linker.admin_listener import AdminListener, Close
from biandou.testing.origin import exchange, get

MODULE = "biandou.testing.observing"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong"


class Server:
    """Answers every connection with `pong`; counts how often it was opened and closed."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0

    async def serve(self, listener: socket.socket, tls: SSLContext | None) -> Close:
        self.opened += 1

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_server(answer, sock=listener, ssl=tls)

        async def close() -> None:
            self.closed += 1
            server.close()
            await server.wait_closed()

        return close


def port_in(lines: list[str]) -> int:
    [line] = lines
    prefix, _, port = line.rpartition(":")
    assert prefix == "serving http admin on 127.0.0.1"
    return int(port)


async def test_the_server_is_loaded_for_the_first_connection_and_answers_it() -> None:
    server = Server()
    listener = AdminListener("127.0.0.1", 0, MODULE, server.serve)
    port = port_in(await listener.start())
    await asyncio.sleep(0.02)
    assert server.opened == 0
    answers = await asyncio.gather(*(exchange("127.0.0.1", port, get("admin")) for _ in range(5)))
    assert answers == [ANSWER] * 5
    assert server.opened == 1
    await listener.stop()
    assert server.closed == 1
    with pytest.raises(ConnectionRefusedError):
        await exchange("127.0.0.1", port, get("admin"))


async def test_one_that_nobody_visited_is_closed_without_being_loaded() -> None:
    server = Server()
    listener = AdminListener("127.0.0.1", 0, MODULE, server.serve)
    port = port_in(await listener.start())
    await listener.stop()
    assert (server.opened, server.closed) == (0, 0)
    with pytest.raises(ConnectionRefusedError):
        await exchange("127.0.0.1", port, get("admin"))


async def test_a_server_that_can_not_be_loaded_is_logged_and_harms_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = AdminListener("127.0.0.1", 0, "biandou.no_such_module", Server().serve)
    port = port_in(await listener.start())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.1)
    assert "the admin server can't be loaded: No module named 'biandou.no_such_module'" in caplog.text
    # Nobody is left waiting for an answer that can't come.
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await listener.stop()


async def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = AdminListener("127.0.0.1", port, MODULE, Server().serve)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: Address already in use"):
            await listener.start()
