"""namerd's certificates are read again when their files change; broken files leave the former ones in use."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.certificates import make, make_authority, openssl

CONFIG = """\
admin: {{port: {admin}, tls: {tls}}}
storage: {{kind: io.l5d.inMemory, experimental: true}}
interfaces:
- {{kind: io.l5d.httpController, port: {http}, tls: {tls}}}
- {{kind: io.l5d.mesh, port: {mesh}, tls: {tls}}}
"""


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def serial(port: int, authority: Path) -> str:
    """Give the serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="namerd")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return str(certificate["serialNumber"])


async def renew(folder: Path, shown: Path) -> None:
    """Put a new certificate in the place of the one that is shown."""
    await make(folder, "next", "namerd")
    for end in ("pem", "key"):
        (folder / f"next.{end}").replace(shown.with_suffix(f".{end}"))


async def test_certificates_are_read_again(tmp_path: Path) -> None:
    await make_authority(tmp_path)
    await make(tmp_path, "namerd", "namerd")
    shown, authority = tmp_path / "namerd.pem", tmp_path / "ca.pem"
    ports = {"admin": free_port(), "http": free_port(), "mesh": free_port()}
    tls = f"{{certPath: {shown}, keyPath: {shown.with_suffix('.key')}}}"
    async with LinkerProcess(CONFIG.format(tls=tls, **ports), command="namerd") as namerd:
        first = [await serial(port, authority) for port in ports.values()]
        assert len(set(first)) == 1
        opened = await asyncio.open_connection(
            "127.0.0.1",
            ports["http"],
            ssl=ssl.create_default_context(cafile=str(authority)),
            server_hostname="namerd",
        )
        await renew(tmp_path, shown)
        await asyncio.sleep(1.1)
        second = [await serial(port, authority) for port in ports.values()]
        assert len(set(second)) == 1
        assert first[0] != second[0]
        opened[1].write(b"GET /api/1/dtabs HTTP/1.1\r\nHost: namerd\r\nConnection: close\r\n\r\n")
        assert (await opened[0].readline()) == b"HTTP/1.1 200 OK\r\n", "open connections go on"
        opened[1].close()

        shown.write_text("no certificate")
        await asyncio.sleep(1.1)
        for _ in range(2):
            assert [await serial(port, authority) for port in ports.values()] == second
            await asyncio.sleep(1.1)
        told = [line for line in namerd.log if "can't be used, the former ones stay" in line]
        assert len(told) == len(ports), namerd.log

        await renew(tmp_path, shown)
        await asyncio.sleep(1.1)
        third = {await serial(port, authority) for port in ports.values()}
        assert len(third) == 1
        assert third.isdisjoint(first + second)


async def test_another_authority_of_clients_is_taken_up(tmp_path: Path) -> None:
    await make_authority(tmp_path)
    for name in ("namerd", "client"):
        await make(tmp_path, name, name)
    other = tmp_path / "other"
    other.mkdir()
    await make_authority(other)
    await make(other, "client", "client")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes((tmp_path / "ca.pem").read_bytes())
    port = free_port()
    tls = (
        f"{{certPath: {tmp_path}/namerd.pem, keyPath: {tmp_path}/namerd.key, caCertPath: {trusted}, "
        "requireClientAuth: true}"
    )
    config = CONFIG.format(tls=tls, admin=0, http=port, mesh=0)

    async def is_let_in(folder: Path) -> bool:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="namerd")
            writer.write(b"GET /api/1/dtabs HTTP/1.1\r\nHost: namerd\r\nConnection: close\r\n\r\n")
            answered = await reader.readline()
            writer.close()
        except (ssl.SSLError, ConnectionError):
            return False
        return answered.startswith(b"HTTP/1.1 200")

    async with LinkerProcess(config, command="namerd"):
        assert (await is_let_in(tmp_path), await is_let_in(other)) == (True, False)
        trusted.write_bytes((other / "ca.pem").read_bytes())
        os.utime(trusted)
        await asyncio.sleep(1.1)
        assert (await is_let_in(tmp_path), await is_let_in(other)) == (False, True)


@pytest.fixture(autouse=True)
async def needs_openssl() -> None:
    try:
        await openssl("version")
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
