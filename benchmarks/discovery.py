"""What following a registry costs: until an answer is in force in the engine, in memory for each name, and in work."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from benchmarks import account, table
from benchmarks.backend import free_port
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children, pinned
from benchmarks.proxies.biandou import linker_command

NAMES: Final = 1000
CHANGES: Final = 500
MANY_NAMES: Final = 5000
FIRST_NAMES: Final = 10_000
INSTANCES: Final = (1, 50, 500, 5000)
UPDATES: Final = 20
PAUSE: Final = 1.1
"""Between updates of one name, seconds: a name that changes all the time is asked for once a second."""

CONFIG: Final = """\
admin: {{ip: 127.0.0.1, port: 0}}
namers:
- {{kind: io.l5d.consul, host: 127.0.0.1, port: {registry}, maxBlockingQueries: {waiting}}}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.consul/dc1
  bindingCache: {{paths: 10000, trees: 10000, bounds: 10000, clients: 10000}}
  servers: [{{ip: 127.0.0.1, port: {port}}}]
"""


class Registry:
    """The registry's process: `services` are the ports of those that answer `a` and `b`."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._stdin, self._stdout = child.stdin, child.stdout
        *self.services, self.port = map(int, self._stdout.readline().split())

    def change(self, name: str, port: int, count: int = 1) -> tuple[float, float]:
        """Change a name, and give when who waited was told, and when it had taken that in and asked again."""
        self._stdin.write(f"{name} {port} {count}\n")
        self._stdin.flush()
        told, asked = map(float, self._stdout.readline().split())
        return told, asked

    def tell(self, name: str, port: int) -> None:
        """Change a name, and do not wait; `told` gives when who waited was told."""
        self._stdin.write(f"{name} {port} 1\n")
        self._stdin.flush()

    def told(self) -> float:
        """Give when who waited was told of the last change."""
        return float(self._stdout.readline().split()[0])


def run(directory: Path) -> Path:
    """Measure all of it and write the table; raises `RuntimeError` for what went wrong."""
    directory.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    rows = {
        **in_force(directory),
        **memory(directory, 150),
        **memory(directory, MANY_NAMES),
        **start_up(directory),
        **work(directory),
    }
    return table.write_readings(
        "discovery", "What following a registry costs", "one linker, one worker, one core", rows
    )


def in_force(directory: Path) -> dict[str, dict[str, float]]:
    """Measure from the registry's answer until a request goes where it says, while 1,000 names are watched."""
    seconds = []
    with started(directory, NAMES, 2 * NAMES) as (registry, _, caller):
        for number in range(NAMES):
            caller(f"n{number}")
        time.sleep(2)
        chance = random.Random(7)
        at = dict.fromkeys(range(NAMES), 0)
        for count in range(CHANGES):
            number = chance.randrange(NAMES)
            at[number] ^= 1
            registry.tell(f"n{number}", registry.services[at[number]])
            wanted = b"ab"[at[number] : at[number] + 1]
            while caller(f"n{number}") != wanted:
                pass
            seconds.append(time.time() - registry.told())
            # Not in step with anything that is done at intervals.
            time.sleep(0.01 + count % 7 * 0.0013)
    return {f"an answer is in force, {NAMES:,} names watched, ms": _quantiles(seconds)}


def memory(directory: Path, waiting: int) -> dict[str, dict[str, float]]:
    """Measure what names add to a linker that follows one; of so many a query waits, the others are asked again."""
    with started(directory, MANY_NAMES, 2 * waiting) as (_, pid, caller):
        caller("n0")
        time.sleep(2)
        before = account.resident_mib(pid)
        for number in range(1, MANY_NAMES):
            caller(f"n{number}")
        time.sleep(5)
        after = account.resident_mib(pid)
    what = f"{MANY_NAMES:,} names, {min(waiting * 2, MANY_NAMES):,} connections"
    return {f"{what}, MiB": {"one name": round(before, 1), "added": round(after - before, 1)}}


def start_up(directory: Path) -> dict[str, dict[str, float]]:
    """Measure the CPU time of a linker that has just started and is asked for one name after the other."""
    rows = {}
    disco = directory / "disco"
    disco.mkdir()
    for what, namer in (("Consul", None), ("files", f"{{kind: io.l5d.fs, rootDir: {disco}}}")):
        with started(directory, FIRST_NAMES, 150, namer) as (registry, pid, caller):
            if namer is not None:
                for number in range(FIRST_NAMES):
                    (disco / f"n{number}").write_text(f"127.0.0.1 {registry.services[0]}\n")
            before, began = account.cpu_time(pid), time.monotonic()
            for number in range(FIRST_NAMES):
                caller(f"n{number}")
            rows[f"{FIRST_NAMES:,} names of {what} after the start, s"] = {
                "CPU": round(account.cpu_time(pid).since(before).total, 2),
                "clock": round(time.monotonic() - began, 2),
            }
    return rows


def work(directory: Path) -> dict[str, dict[str, float]]:
    """Measure the CPU time of one instance's change, in services of several sizes."""
    rows = {}
    for count in INSTANCES:
        with started(directory, 1, 150) as (registry, pid, caller):
            caller("n0")
            time.sleep(1)
            registry.change("n0", 9000, count)
            time.sleep(PAUSE)
            took, delays = account.cpu_time(pid), []
            for update in range(UPDATES):
                told, asked = registry.change("n0", 9001 + update, count)
                delays.append(asked - told)
                time.sleep(PAUSE)
            used = account.cpu_time(pid).since(took).total
            before = account.cpu_time(pid)
            time.sleep(UPDATES * PAUSE / 4)
            idle = account.cpu_time(pid).since(before).total * 4
        rows[f"one instance of {count:,} changes"] = {
            "CPU ms": round((used - idle) / UPDATES * 1000, 2),
            "p50 ms": round(sorted(delays)[len(delays) // 2] * 1000, 2),
        }
    return rows


# ── What is measured ─────────────────────────────────────────────────────────────────────────────────────────────────

Call = Callable[[str], bytes]


@contextmanager
def started(
    directory: Path, names: int, waiting: int, namer: str | None = None
) -> Iterator[tuple[Registry, int, Call]]:
    """Start a registry and a linker that follows it, or `namer`; gives both, and what asks for a name."""
    command = [sys.executable, "-m", "benchmarks.registry", str(names)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(pinned(command, LOAD_CORE), stdin=pipe, stdout=pipe, text=True)
    try:
        with Children() as children:
            registry, port = Registry(child), free_port()
            config = directory / "linker.yaml"
            text = CONFIG.format(registry=registry.port, waiting=min(waiting, 100_000), port=port)
            if namer is not None:
                text = re.sub(r"^- \{kind: io\.l5d\.consul.*$", f"- {namer}", text, flags=re.MULTILINE)
                text = text.replace("/#/io.l5d.consul/dc1", "/#/io.l5d.fs")
            config.write_text(text)
            log = directory / "output.log"
            # So that what the last minute was is in what is measured.
            window = "-io.buoyant.telemetry.admin.histogramSnapshotInterval=3.seconds"
            linker = children.start([*linker_command(config), window], core=PROXY_CORE, log=log)
            with closing(_connected(port, linker, log)) as connection:
                yield registry, linker.pid, lambda name: _answer(connection, name)
    finally:
        child.kill()
        child.wait()


def _connected(port: int, linker: subprocess.Popen[bytes], log: Path) -> socket.socket:
    end = time.monotonic() + 15
    while time.monotonic() < end and linker.poll() is None:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        except OSError:
            time.sleep(0.01)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise RuntimeError(f"the linker does not listen:\n{log.read_text()[-2000:]}")


def _answer(connection: socket.socket, name: str) -> bytes:
    """Give the letter of the service that answers; raises `RuntimeError` for another answer."""
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answer = b""
    while not (answer.endswith((b"\r\n\r\na", b"\r\n\r\nb"))):
        data = connection.recv(65536)
        answer += data
        if not data or not answer.startswith(b"HTTP/1.1 200 "[: len(answer)]):
            raise RuntimeError(f"{name}: {answer[:300]!r}")
    return answer[-1:]


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": round(ordered[len(ordered) // 2] * 1000, 1),
        "p99": round(ordered[len(ordered) * 99 // 100] * 1000, 1),
        "max": round(ordered[-1] * 1000, 1),
    }
