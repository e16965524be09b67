"""Name servers on loopback: dnsmasq, the real one, and one of ours that answers as no good one would."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

INSTALLED = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/sbin") is not None
START_SECONDS = 10.0

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]


class Dnsmasq:
    """The real name server, for names below `.test`; `zone` holds its options, and `start` takes them up."""

    def __init__(self, folder: Path) -> None:
        self.zone: list[str] = []
        self.port = _free_port()
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *zone: str) -> None:
        """Start it, or start it again with another zone."""
        await self.stop()
        self.zone = list(zone)
        options = [
            "no-daemon", "no-resolv", "no-hosts", "bind-interfaces", "listen-address=127.0.0.1", f"port={self.port}",
            "local=/test/", "local-ttl=1", "user=root", f"pid-file={self._folder}/pid", "log-facility=-", *zone,
        ]  # fmt: skip
        file = self._folder / "dnsmasq.conf"
        file.write_text("".join(f"{option}\n" for option in options if option != "no-daemon"))
        self._process = await asyncio.create_subprocess_exec(
            "/usr/sbin/dnsmasq", "--keep-in-foreground", f"--conf-file={file}",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise TimeoutError("dnsmasq does not answer")

    async def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, bool], bytes | None]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._answer(data, False)
        if answer is not None:
            self._transport.sendto(answer, address)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """Serve over UDP and TCP what `answer` makes of each question, cut short over UDP; gives the port."""

    def reply(data: bytes, whole: bool) -> bytes | None:
        told = answer(dns.message.from_wire(data))
        if told is None or isinstance(told, bytes):
            return told
        wire = told.to_wire(max_size=65535)
        if not whole and len(wire) > 512:
            told.answer.clear()
            told.flags |= dns.flags.TC
            wire = told.to_wire()
        return wire

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (size,) = struct.unpack(">H", await reader.readexactly(2))
            told = reply(await reader.readexactly(size), True)
            if told is not None:
                writer.write(struct.pack(">H", len(told)) + told)
                await writer.drain()
        writer.close()

    port = _free_port()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(reply), local_addr=("127.0.0.1", port)
    )
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield port
    finally:
        transport.close()
        server.close()


def records(question: dns.message.Message, *texts: str) -> dns.message.Message:
    """Answer with records as a zone file has them: `web.test. 5 IN A 10.0.0.1`."""
    told = dns.message.make_response(question)
    for text in texts:
        name, ttl, family, kind, data = text.split(None, 4)
        told.answer.append(dns.rrset.from_text(name, int(ttl), family, kind, data))
    return told


def refusing(question: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    """Answer with an error."""
    told = dns.message.make_response(question)
    told.set_rcode(code)
    return told


def _free_port() -> int:
    # Free for both: whoever has one of them mostly has the other.
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
