"""Linkers, services and callers on hosts that are apart (`biandou.demo.hosts`); skips where there can be none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biandou.demo.hosts import Host, HostsRefused, hosts
from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Answer, Origin, get, read_message

ANSWER_SECONDS = 15.0


@contextlib.contextmanager
def apart(*names: str) -> Iterator[tuple[Host, ...]]:
    """Make hosts of these names; skips the test, with the reason, where that is not permitted."""
    with contextlib.ExitStack() as leaving:
        try:
            made = leaving.enter_context(hosts(*names))
        except HostsRefused as refusal:
            pytest.skip(str(refusal))
        yield made


def linker_on(host: Host, file: Path) -> LinkerProcess:
    """Give the real program on this host, with the file as it is, from the file's directory."""
    program = (*host.within, sys.executable, "-m", "biandou")
    return LinkerProcess(file.read_text(), "--workers", "1", cwd=str(file.parent), program=program)


def service_on(host: Host, answer: Answer) -> Origin:
    """Give a service at the host's address, on any port."""
    return Origin(answer, listener=host.listen())


async def ask(caller: Host, ip: str, port: int, name: str, page: str = "/") -> bytes:
    """Send a GET for a service from one host to an address as that host sees it, and give the answer's bytes."""
    connection = caller.open_socket()
    connection.setblocking(False)
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            await asyncio.get_running_loop().sock_connect(connection, (ip, port))
        except BaseException:
            connection.close()
            raise
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            writer.write(get(name, page))
            return await read_message(reader)
        finally:
            writer.close()


async def admin(host: Host, page: str) -> Any:
    """Give a JSON page of the admin server on the host's loopback."""
    answer = await ask(host, "127.0.0.1", 9990, "admin", page)
    return json.loads(answer.partition(b"\r\n\r\n")[2])
