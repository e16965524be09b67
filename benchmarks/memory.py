"""What a linker holds: idle, with 1,000 bound names, and while 1 GiB streams through it to a slow reader and back."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks import account, table
from benchmarks.backend import free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children
from benchmarks.proxies import biandou

NAMES = 1000
GIBIBYTE = 1 << 30
BLOCK = bytes(256 * 1024)


def run(directory: Path) -> Path:
    """Measure one linker and write the table; raises `MissingProgramError` or `RuntimeError` if it can't be run."""
    directory.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with Children() as children:
        upstream = start_backend(children, directory / "backend", big_file=True)
        port = free_port()
        command = biandou.prepare(directory, port, upstream)
        for number in range(NAMES):
            (directory / "disco" / f"name{number}").write_text(f"127.0.0.1 {upstream}\n")
        log = directory / "output.log"
        linker = children.start(command, core=PROXY_CORE, log=log)
        wait_until_served(linker, port, log)
        time.sleep(0.5)
        readings = {"idle, one name bound": account.resident_mib(linker.pid)}
        for number in range(NAMES):
            get(port, f"name{number}", "/")
        readings[f"{NAMES:,} names bound"] = account.resident_mib(linker.pid)
        readings["added while 1 GiB streams down"] = _grown(linker.pid, lambda: get(port, "web", "/big", pause=0.5))
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            (directory / "disco" / "upload").write_text(f"127.0.0.1 {listener.getsockname()[1]}\n")
            threading.Thread(target=_take_upload, args=(listener,), daemon=True).start()
            readings["added while 1 GiB streams up"] = _grown(linker.pid, lambda: put(port, "upload"))
    rows = {what: {"MiB": round(value, 2)} for what, value in readings.items()}
    return table.write_readings("memory", "What a linker with one worker holds", "resident", rows)


def get(port: int, host: str, path: str, *, pause: float = 0.0) -> float:
    """Read an answer to its end, after a pause that leaves it to fill every buffer on its way; gives its bytes.

    Raises `RuntimeError` if it isn't a 200.
    """
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        buffer = bytearray(len(BLOCK))
        received = connection.recv_into(buffer)
        if not buffer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{host}{path}: {bytes(buffer[: min(received, 200)])!r}")
        time.sleep(pause)
        while more := connection.recv_into(buffer):
            received += more
    return received


def put(port: int, host: str) -> float:
    """Send 1 GiB and read the answer; gives the bytes sent. Raises `RuntimeError` if it isn't a 200."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {GIBIBYTE}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(GIBIBYTE // len(BLOCK)):
            connection.sendall(BLOCK)
        answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"POST: {answer[:200]!r}")
    return GIBIBYTE


def _take_upload(listener: socket.socket) -> None:
    """Read one upload of 1 GiB to its end, after a pause in which it fills every buffer on its way, and answer it."""
    connection, _ = listener.accept()
    with closing(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        missing = GIBIBYTE - len(head.partition(b"\r\n\r\n")[2])
        time.sleep(0.5)
        buffer = bytearray(len(BLOCK))
        while missing and (received := connection.recv_into(buffer)):
            missing -= received
        status = b"200 OK" if not missing else b"400 Bad Request"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


def _grown(pid: int, work: Callable[[], float]) -> float:
    """Give how far a process's memory rises while `work` runs, in MiB; raises if `work` moves less than 1 GiB."""
    before = peak = account.resident_mib(pid)
    moved: list[float] = []
    worker = threading.Thread(target=lambda: moved.append(work()))
    worker.start()
    while worker.is_alive():
        peak = max(peak, account.resident_mib(pid))
        time.sleep(0.005)
    worker.join()
    if not moved or moved[0] < GIBIBYTE:
        raise RuntimeError("the stream did not reach its end")
    return peak - before
