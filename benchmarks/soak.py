"""Saturation while back ends die and come back and the dtab changes: no request fails, and memory stays flat.

The dtab names two services in turn, each of several back ends, one of which is killed and one started every second. A
request that meets a dead one at connecting has another to go to; one that was under way at a back end that died is a
GET, and retried. So every failure that callers see is one too many.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from benchmarks import account, table
from benchmarks.backend import free_port, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children
from benchmarks.proxies.biandou import linker_command

BACKENDS = 4
CONNECTIONS = 32
SERVICES = ("blue", "green")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ANSWER_SECONDS = 20.0


@dataclass
class Counts:
    """What callers saw."""

    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def run(directory: Path, *, minutes: float) -> Path:
    """Soak one linker and write the table; raises `MissingProgramError` or `RuntimeError` if it can't be run."""
    directory.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with Children() as children, Flock(directory) as flock:
        port, log = free_port(), directory / "output.log"
        linker = children.start(linker_command(configure(directory, port)), core=PROXY_CORE, log=log)
        wait_until_served(linker, port, log)
        counts = Counts()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(soak(port, linker.pid, flock, counts, minutes * 60))
    rows["in all"] = {
        "requests": counts.answered,
        "failures": counts.failures.total(),
        "back ends killed": flock.killed,
        "dtab changes": flock.changes,
    }
    if counts.failures:
        rows |= {f"failure: {what}": {"failures": count} for what, count in counts.failures.most_common(10)}
    return table.write_readings("soak", f"{minutes:g} minutes at saturation, with faults", "minute", rows)


def configure(directory: Path, port: int) -> Path:
    """Write the linker's configuration, with its dtab and endpoints in files."""
    file = directory / "linker.yaml"
    file.write_text(f"""\
admin: {{ip: 127.0.0.1, port: 0}}
namers:
- kind: io.l5d.fs
  rootDir: {directory / "disco"}
routers:
- protocol: http
  interpreter:
    kind: io.l5d.fs
    dtabFile: {directory / "dtab"}
  servers:
  - ip: 127.0.0.1
    port: {port}
  service:
    responseClassifier: {{kind: io.l5d.http.retryableRead5XX}}
    retries: {{budget: {{minRetriesPerSec: 1000, percentCanRetry: 1.0, ttlSecs: 10}}}}
""")
    return file


class Flock:
    """Back ends as processes of their own, each in one service's file while it is meant to live."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.killed = 0
        self.changes = 0
        self._spawn = multiprocessing.get_context("spawn")
        self._alive: dict[str, dict[int, multiprocessing.process.BaseProcess]] = {name: {} for name in SERVICES}
        self._chance = random.Random(5)

    def __enter__(self) -> Flock:
        (self.directory / "disco").mkdir(exist_ok=True)
        for service in SERVICES:
            for _ in range(BACKENDS):
                self._add(service)
            self._write(service)
        self.point_at(SERVICES[0])
        return self

    def __exit__(self, *_: object) -> None:
        for alive in self._alive.values():
            for process in alive.values():
                process.kill()
                process.join()

    def point_at(self, service: str) -> None:
        """Change the dtab."""
        _replace(self.directory / "dtab", f"/svc => /#/io.l5d.fs/{service} ; /svc/web => /#/io.l5d.fs/{service} ;\n")
        self.changes += 1

    def turn(self, service: str) -> None:
        """Kill a back end without notice, then take it from the file, and put a new one in its place."""
        port = self._chance.choice(sorted(self._alive[service]))
        process = self._alive[service].pop(port)
        process.kill()
        process.join()
        self.killed += 1
        self._add(service)
        self._write(service)

    def _add(self, service: str) -> None:
        port = free_port()
        process = self._spawn.Process(target=serve, args=(port,), daemon=True)
        process.start()
        self._alive[service][port] = process
        _wait_until_open(port)

    def _write(self, service: str) -> None:
        lines = "".join(f"127.0.0.1 {port}\n" for port in sorted(self._alive[service]))
        _replace(self.directory / "disco" / service, lines)


def _replace(file: Path, text: str) -> None:
    part = file.parent.parent / f".{file.name}.part" if file.parent.name == "disco" else file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


def _wait_until_open(port: int, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"no back end on port {port}")


class _Backend(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.missing = b""

    def data_received(self, data: bytes) -> None:
        data = self.missing + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            self.transport.write(ANSWER)
            data = data[end + 4 :]
        self.missing = data


def serve(port: int) -> None:
    """Answer every GET on a port until killed."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(_Backend, "127.0.0.1", port)
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        uvloop.run(forever())


async def soak(port: int, pid: int, flock: Flock, counts: Counts, seconds: float) -> dict[str, dict[str, float]]:
    """Load the linker and turn the flock every second; gives a row a minute (or a tenth, if there is less than one)."""
    ends = time.monotonic() + seconds
    callers = [asyncio.create_task(call(port, counts, ends)) for _ in range(CONNECTIONS)]
    every = max(1, min(60, round(seconds / 10)))
    rows: dict[str, dict[str, float]] = {}
    before = 0
    for second in range(1, int(seconds) + 1):
        await asyncio.sleep(max(0.0, ends - seconds + second - time.monotonic()))
        service = SERVICES[second % 2]
        await asyncio.to_thread(flock.point_at, service)
        await asyncio.to_thread(flock.turn, service)
        if second % every == 0:
            rows[f"{second / 60:.2f}"] = {
                "requests": counts.answered - before,
                "failures": counts.failures.total(),
                "RSS MiB": round(account.resident_mib(pid), 1),
                "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            }
            before = counts.answered
    await asyncio.gather(*callers)
    return rows


async def call(port: int, counts: Counts, ends: float) -> None:
    """Ask on one kept connection, and on a new one when it is lost, which is a failure."""
    while time.monotonic() < ends:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while time.monotonic() < ends:
                writer.write(REQUEST)
                async with asyncio.timeout(ANSWER_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                    body = await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"HTTP/1.1 200 "):
                    counts.answered += 1
                else:
                    counts.failures[f"{head.split(b' ', 2)[1].decode()} {body[:80].decode(errors='replace')}"] += 1
        except (OSError, EOFError, TimeoutError) as error:
            counts.failures[type(error).__name__] += 1
        finally:
            writer.close()
