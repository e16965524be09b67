"""What the first request of a name costs: identify, bind through 100 dentries, resolve from a warm namer.

Two kinds of first request: one whose client is known already (many names, one service), and one whose client is new too
(each name its own service, so a connection is opened as well).
"""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import closing
from pathlib import Path

from benchmarks import table
from benchmarks.backend import free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children
from benchmarks.load import quantiles
from benchmarks.proxies import biandou

NAMES = 2000
DENTRIES = 100


def run(directory: Path) -> Path:
    """Measure one linker and write the table; raises `MissingProgramError` or `RuntimeError` if it can't be run."""
    directory.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with Children() as children:
        upstream = start_backend(children, directory / "backend")
        port, log = free_port(), directory / "output.log"
        command = biandou.prepare(directory, port, upstream)
        for number in range(NAMES):
            (directory / "disco" / f"own{number}").write_text(f"127.0.0.1 {upstream}\n")
        _set_dtab(directory / "linker.yaml")
        linker = children.start(command, core=PROXY_CORE, log=log)
        wait_until_served(linker, port, log)
        with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _timed(connection, "own0")
            time.sleep(0.5)
            shared = [_timed(connection, f"shared{number}") for number in range(NAMES)]
            own = [_timed(connection, f"own{number}") for number in range(1, NAMES)]
            again = [_timed(connection, "web") for _ in range(NAMES)]
    rows = {
        what: {name: float(round(value)) for name, value in quantiles(seconds).items()}
        for what, seconds in (("its client known", shared), ("its client new", own), ("not the first", again))
    }
    title = f"The first request of a name, {DENTRIES} dentries, a warm namer"
    return table.write_readings("cache-miss", title, "µs, client to client", rows)


def _set_dtab(file: Path) -> None:
    """Give the linker a dtab of 100 dentries and room in its cache for every name."""
    dentries = [
        "/svc => /#/io.l5d.fs/web ;",
        "/svc => /#/io.l5d.fs ;",
        *(f"/svc/other{number} => /#/io.l5d.fs/other ;" for number in range(DENTRIES - 2)),
    ]
    lines = "\n".join(f"    {dentry}" for dentry in dentries)
    cache = f"bindingCache: {{paths: {NAMES * 4}, trees: {NAMES * 4}, bounds: {NAMES * 4}, clients: {NAMES * 4}}}"
    text = file.read_text().replace("dtab: /svc => /#/io.l5d.fs;", f"dtab: |\n{lines}\n  {cache}")
    file.write_text(text)


def _timed(connection: socket.socket, host: str) -> float:
    """Send one request on a kept connection and give the seconds until its answer is read; raises if it isn't a 200."""
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    begin = time.perf_counter()
    connection.sendall(request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += _more(connection)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer[: end + 2])
    if not answer.startswith(b"HTTP/1.1 200 ") or length is None:
        raise RuntimeError(f"{host}: {answer[:300]!r}")
    while len(answer) < end + 4 + int(length[1]):
        answer += _more(connection)
    return time.perf_counter() - begin


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise RuntimeError("the connection was closed")
    return data
