"""Load: wrk as fast as it goes, and a prober that sends at a fixed rate and times each answer."""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.children import LOAD_CORE, MissingProgramError, pinned

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What wrk counted: requests answered, seconds, failures, and latency under this load in microseconds."""

    requests: int
    seconds: float
    failures: int
    latency_us: dict[str, float]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def saturate(port: int, *, seconds: float, connections: int, scheme: str = "http", script: Path | None = None) -> Load:
    """Run wrk with one thread; `script` is one in Lua. Raises `MissingProgramError` if it isn't installed."""
    if shutil.which("wrk") is None:
        raise MissingProgramError("wrk is not installed (apt-get install wrk)")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-H", "Host: web"]
    command += ["-s", str(script)] if script is not None else []
    done = subprocess.run(
        pinned([*command, f"{scheme}://127.0.0.1:{port}/"], LOAD_CORE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return read_wrk(done.stdout)


def read_wrk(printed: str) -> Load:
    """Read what wrk printed; raises `ValueError` if it isn't wrk's report."""
    counted = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", printed)
    if counted is None:
        raise ValueError(f"not a report of wrk: {printed!r}")
    failures = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", printed))
    for numbers in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed):
        failures += sum(map(int, numbers))
    quantiles = re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$", printed, re.MULTILINE)
    latency = {f"p{quantile}": _microseconds(number, unit) for quantile, number, unit in quantiles}
    return Load(int(counted[1]), _microseconds(counted[2], counted[3]) / 1e6, failures, latency)


def _microseconds(number: str, unit: str) -> float:
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}[unit]


class _Connection(asyncio.Protocol):
    """One kept connection of the prober, with at most one request on it."""

    def __init__(self, prober: _Prober) -> None:
        self.prober = prober
        self.due = 0.0
        self.missing = 0
        self.head = b""
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.prober.idle.append(self)

    def send(self, due: float) -> None:
        assert self.transport is not None
        self.due, self.head, self.missing = due, b"", -1
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.head[: end + 2])
            if not self.head.startswith(b"HTTP/1.1 200 ") or length is None:
                self.prober.fail(f"unexpected answer {self.head[:200]!r}")
                return
            self.missing = int(length[1]) - (len(self.head) - end - 4)
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.prober.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.prober.fail(f"connection closed: {error}")


class _Prober:
    """Sends on whichever connection is idle; a request that finds none waits, and its wait counts."""

    def __init__(self) -> None:
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.failure: str | None = None

    def send(self) -> None:
        now = time.perf_counter()
        if self.idle:
            self.idle.popleft().send(now)
        else:
            self.waiting.append(now)

    def answered(self, connection: _Connection) -> None:
        self.latencies.append(time.perf_counter() - connection.due)
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def fail(self, reason: str) -> None:
        self.failure = self.failure or reason


async def probe(port: int, *, rate: float, seconds: float, connections: int) -> dict[str, float]:
    """Send at a fixed rate, whatever the answers do, and give the latency's p50 and p99 in microseconds.

    Raises `RuntimeError` if an answer is not a 200 or a connection is lost.
    """
    loop = asyncio.get_running_loop()
    prober = _Prober()
    opened = [await loop.create_connection(lambda: _Connection(prober), "127.0.0.1", port) for _ in range(connections)]
    begin = time.perf_counter()
    for number in range(int(rate * seconds)):
        ahead = begin + number / rate - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        prober.send()
    await asyncio.sleep(0.2)
    failure = prober.failure
    for transport, _ in opened:
        transport.abort()
    if failure is not None:
        raise RuntimeError(f"probe of port {port}: {failure}")
    return quantiles(prober.latencies)


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Give the p50 and p99 of some durations, in microseconds."""
    if len(seconds) < 2:
        raise RuntimeError("too few requests were answered to say anything")
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}
