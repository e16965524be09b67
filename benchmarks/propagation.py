"""How soon a change at namerd is in force: in 20 linkers' engines, at 1,000 linkers, and what its restart costs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import account, table
from benchmarks.backend import free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children, MissingProgramError, pinned
from benchmarks.proxies.base import program
from benchmarks.proxies.biandou import binary

LINKERS: Final = 20
CHANGES: Final = 200
FOLLOWERS: Final = 1000
NAMES: Final = 100
NAMES_IN_USE: Final = 20
WAIT_SECONDS: Final = 60.0

NAMERD: Final = """\
admin: {{ip: 127.0.0.1, port: 0}}
storage: {storage}
namers:
- {{kind: io.l5d.fs, rootDir: {disco}}}
interfaces:
- {{kind: io.l5d.httpController, ip: 127.0.0.1, port: {port}}}
"""

LINKER: Final = """\
admin: {{ip: 127.0.0.1, port: {admin}}}
namers:
- {{kind: io.l5d.fs, rootDir: {disco}}}
routers:
- protocol: http
  interpreter:
    kind: io.l5d.namerd.http
    dst: /#/io.l5d.fs/namerd
    retry: {{baseSeconds: 1, maxSeconds: 5}}
  servers: [{{ip: 127.0.0.1, port: {port}}}]
"""


class Bench:
    """A directory with a service, namerds and linkers."""

    def __init__(self, children: Children, directory: Path, storage: str) -> None:
        self.children = children
        self.directory = directory
        self.disco = directory / "disco"
        self.disco.mkdir(parents=True)
        self._storage = storage
        self._upstream = 0

    def namerd(self, port: int) -> subprocess.Popen[bytes]:
        """Start a namerd and wait until it answers."""
        config = self.directory / f"namerd-{port}.yaml"
        config.write_text(NAMERD.format(storage=self._storage, disco=self.disco, port=port))
        log = self.directory / "output.log"
        child = self.children.start([binary(), "namerd", str(config)], core=PROXY_CORE, log=log)
        until(lambda: asks(port, "GET", "/api/1/dtabs"), "namerd", log)
        return child

    def linkers(self, namerds: list[int]) -> list[tuple[int, int]]:
        """Start the linkers, each with names in use; gives the ports of their servers and admin servers."""
        self._upstream = self._upstream or start_backend(self.children, self.directory / "backend")
        (self.disco / "namerd").write_text("".join(f"127.0.0.1 {port}\n" for port in namerds))
        for name in ("a", "b"):
            (self.disco / name).write_text(f"127.0.0.1 {self._upstream}\n")
        ports = []
        log = self.directory / "output.log"
        for number in range(LINKERS):
            port, admin = free_port(), free_port()
            config = self.directory / f"linker-{number}.yaml"
            config.write_text(LINKER.format(disco=self.disco, port=port, admin=admin))
            command = [binary(), "linker", "--workers", "1", str(config)]
            wait_until_served(self.children.start(command, core=LOAD_CORE, log=log), port, log)
            ports.append((port, admin))
        for port, _ in ports:
            for number in range(NAMES_IN_USE):
                answer(port, "GET", "/", host=f"n{number}")
        return ports


def run(directory: Path) -> Path:
    """Measure all of it and write the table; raises `RuntimeError` for what went wrong."""
    directory.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, float]] = {}
    with Children() as children:
        bench = Bench(children, directory / "sqlite", f"{{kind: io.biandou.sqlite, path: {directory}/namerd.db}}")
        rows |= changes(bench, "SQLite")
        rows |= restarts(
            Bench(children, directory / "restarts", f"{{kind: io.biandou.sqlite, path: {directory}/r.db}}")
        )
    try:
        etcd = program("etcd", "etcd-server")
    except MissingProgramError:
        etcd = ""
    if etcd:
        with Children() as children:
            storage = _start_etcd(children, etcd, directory)
            rows |= changes(Bench(children, directory / "etcd", storage), "three etcd members")
    with Children() as children:
        rows |= many(Bench(children, directory / "many", "{kind: io.l5d.inMemory}"))
    return table.write_readings("propagation", "How soon a change at namerd is in force", "namerd has one core", rows)


def changes(bench: Bench, store: str) -> dict[str, dict[str, float]]:
    """Measure from a change's acknowledgement until namerd knows that all engines have it in force.

    Each change moves every name in use; half a hundred requests prove that it is in force where it is said to be.
    """
    port = free_port()
    bench.namerd(port)
    dtabs = [f"/svc=>/#/io.l5d.fs/{name};" for name in ("a", "b")]
    asks(port, "POST", "/api/1/dtabs/default", dtabs[0])
    bench.linkers([port])
    seconds = []
    with in_force(port) as known:
        next(one for one in known if one["inForce"] == LINKERS)
        for number in range(CHANGES):
            version = put(port, dtabs[(number + 1) % 2])
            began = time.perf_counter()
            next(one for one in known if one["version"] == version and one["inForce"] == LINKERS)
            seconds.append(time.perf_counter() - began)
            # Not in step with anything that is done at intervals.
            time.sleep(0.05 + number % 7 * 0.013)
    return {f"a dtab change in {LINKERS} linkers, {store}: ms": _quantiles(seconds)}


def restarts(bench: Bench) -> dict[str, dict[str, float]]:
    """Restart two namerds one after the other under 20 linkers, and count what the engines are told."""
    ports = [free_port(), free_port()]
    namerds = [bench.namerd(port) for port in ports]
    asks(ports[0], "POST", "/api/1/dtabs/default", "/svc=>/#/io.l5d.fs/a;")
    linkers = bench.linkers(ports)
    until(lambda: all_connected(ports[0]), "linkers", bench.directory / "output.log")
    before = sum(answers(admin) for _, admin in linkers)
    for index, port in enumerate(ports):
        bench.children.stop(namerds[index])
        time.sleep(3)
        namerds[index] = bench.namerd(port)
        until(lambda port=port: all_connected(port), "linkers", bench.directory / "output.log")
        time.sleep(3)
    after = sum(answers(admin) for _, admin in linkers)
    return {
        f"rolling restart, {LINKERS} linkers with {NAMES_IN_USE} names": {
            "answers before": before,
            "answers to engines by it": after - before,
        }
    }


def many(bench: Bench) -> dict[str, dict[str, float]]:
    """Measure a namerd with 1,000 linkers of 100 names each: a change of one service, of all, and of the dtab."""
    port = free_port()
    for number in range(NAMES):
        (bench.disco / f"n{number}").write_text("127.0.0.1 1000\n")
    namerd = bench.namerd(port)
    asks(port, "POST", "/api/1/dtabs/default", "/svc=>/#/io.l5d.fs;")
    idle = account.resident_mib(namerd.pid)
    began = time.time()
    with followers(port) as count:
        ready = time.time() - began
        seconds: dict[str, list[float]] = {"one": [], "all": [], "dtab": []}
        for turn in range(5):
            marker = 2000 + turn
            seconds["one"].append(count(f'"port":{marker}', FOLLOWERS, partial(_move, bench.disco, ["n7"], marker)))
            names = [f"n{number}" for number in range(NAMES)]
            marker += 1000
            seconds["all"].append(
                count(f'"port":{marker}', FOLLOWERS * NAMES, partial(_move, bench.disco, names, marker))
            )
            text = f"/svc=>/#/io.l5d.fs;/svc/n7=>/$/inet/127.0.0.1/{marker};"
            seconds["dtab"].append(count('{"version"', FOLLOWERS, partial(put, port, text)))
        resident = account.resident_mib(namerd.pid)
    what = f"{FOLLOWERS:,} linkers with {NAMES} names"
    return {
        f"{what}: until all know all, ms": {"max": ready * 1000},
        f"{what}: one service moves, ms": _most(seconds["one"]),
        f"{what}: all {NAMES} services move, ms": _most(seconds["all"]),
        f"{what}: a dtab change, ms": _most(seconds["dtab"]),
        f"{what}: namerd holds, MiB": {"idle": idle, "max": resident},
    }


def _move(disco: Path, names: list[str], port: int) -> None:
    for name in names:
        beside = disco / f".{name}"
        beside.write_text(f"127.0.0.1 {port}\n")
        os.replace(beside, disco / name)


@contextmanager
def followers(port: int) -> Iterator[Any]:
    """Run the simulated linkers; gives what counts: how long after the begin of a change all of it has come."""
    command = [sys.executable, "-m", "benchmarks.followers", str(port), str(FOLLOWERS), str(NAMES)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(pinned(command, LOAD_CORE), stdin=pipe, stdout=pipe, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout

    def count(wanted: str, times: int, change: Any) -> float:
        stdin.write(f"{wanted} {times}\n")
        stdin.flush()
        if stdout.readline() != "counting\n":
            raise RuntimeError("the simulated linkers have ended")
        time.sleep(0.3)
        began = time.time()
        change()
        return float(stdout.readline()) - began

    try:
        if stdout.readline() != "ready\n":
            raise RuntimeError("the simulated linkers have ended")
        yield count
    finally:
        child.kill()
        child.wait()


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(port: int, method: str, path: str, body: str = "", host: str = "namerd") -> tuple[dict[str, str], bytes]:
    """Ask once; raises `RuntimeError` unless it is done."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {"Host": host, "Content-Type": "application/dtab"})
        told = connection.getresponse()
        document = told.read()
        if told.status >= 300:
            raise RuntimeError(f"{method} {path}: {told.status} {document[:300]!r}")
        return dict(told.headers), document


def asks(port: int, method: str, path: str, body: str = "") -> bool:
    """Ask once, and say whether it was done."""
    try:
        answer(port, method, path, body)
    except (OSError, RuntimeError):
        return False
    return True


def put(port: int, dtab: str) -> str:
    """Change the dtab, and give its version."""
    return answer(port, "PUT", "/api/1/dtabs/default", dtab)[0]["ETag"]


def all_connected(port: int) -> bool:
    """Whether a namerd knows that all linkers have its dtab in force."""
    known = json.loads(answer(port, "GET", "/api/1/in-force/default")[1])
    return bool(known["inForce"] == LINKERS == len(known["linkers"]))


def answers(admin: int) -> int:
    """Give how many answers a linker's engine has had: bound trees, and the clients in them."""
    metrics = json.loads(answer(admin, "GET", "/admin/metrics.json")[1])
    return int(metrics["rt/http/bindcache/tree/misses"] + metrics["rt/http/bindcache/bound/misses"])


@contextmanager
def in_force(port: int) -> Iterator[Iterator[Any]]:
    """Give namerd's stream of what is in force where."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)) as connection:
        connection.sendall(b"GET /api/1/in-force/default?watch=true HTTP/1.1\r\nHost: namerd\r\n\r\n")
        with connection.makefile("rb") as lines:
            yield (json.loads(line) for line in lines if line.startswith(b"{"))


def until(check: Any, what: str, log: Path) -> None:
    """Wait until something is so; raises `RuntimeError` with the end of the log."""
    end = time.monotonic() + WAIT_SECONDS
    while not check():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not in time\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def _start_etcd(children: Children, etcd: str, directory: Path) -> str:
    """Start three members, and give the store's keys."""
    ports = [(free_port(), free_port()) for _ in range(3)]
    cluster = ",".join(f"m{index}=http://127.0.0.1:{peer}" for index, (_, peer) in enumerate(ports))
    log = directory / "etcd.log"
    for index, (client, peer) in enumerate(ports):
        own, other = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        flags = [
            f"--name=m{index}", f"--data-dir={directory}/m{index}", f"--listen-client-urls={own}",
            f"--advertise-client-urls={own}", f"--listen-peer-urls={other}", f"--initial-advertise-peer-urls={other}",
            f"--initial-cluster={cluster}", "--log-level=error",
        ]  # fmt: skip
        children.start([etcd, *flags], core=LOAD_CORE, log=log)
    until(lambda: all(asks(client, "GET", "/health") for client, _ in ports), "etcd", log)
    endpoints = ", ".join(f"127.0.0.1:{client}" for client, _ in ports)
    return f"{{kind: io.l5d.etcd, experimental: true, endpoints: [{endpoints}]}}"


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": round(statistics.median(ordered) * 1000, 1),
        "p99": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000, 1),
        "max": round(ordered[-1] * 1000, 1),
    }


def _most(seconds: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(seconds) * 1000, 1), "max": round(max(seconds) * 1000, 1)}
