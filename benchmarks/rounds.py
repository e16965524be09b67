"""One alternating run: A B C D E A B C D E …, so that what disturbs the machine disturbs all alike; medians count."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks import account
from benchmarks.backend import free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children, MissingProgramError
from benchmarks.load import probe, saturate
from benchmarks.proxies import Proxy


@dataclass(frozen=True)
class Pace:
    """How long and how hard to measure."""

    rounds: int = 7
    seconds: float = 4.0
    connections: int = 32
    starts: int = 5
    probe_rate: float = 1000.0


@dataclass
class Measured:
    """One proxy's readings, a list of one number a round."""

    proxy: Proxy
    directory: Path
    port: int
    child: subprocess.Popen[bytes]
    readings: dict[str, list[float]] = field(default_factory=dict)
    threads: list[dict[str, float]] = field(default_factory=list)

    def note(self, name: str, value: float) -> None:
        """Keep one reading."""
        self.readings.setdefault(name, []).append(value)

    def median(self, name: str) -> float | None:
        """Give the median of a reading, or `None` if there is none."""
        values = self.readings.get(name)
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Outcome:
    """All that a run measured, and what it could not."""

    measured: list[Measured]
    direct: dict[str, list[float]]
    skipped: dict[str, str]


def run(proxies: Sequence[Proxy], pace: Pace, directory: Path, say: Callable[[str], None]) -> Outcome:
    """Measure the proxies side by side; those that aren't installed or don't start are named with the reason."""
    os.sched_setaffinity(0, {LOAD_CORE})
    skipped: dict[str, str] = {}
    direct: dict[str, list[float]] = {}
    measured: list[Measured] = []
    with Children() as children:
        upstream = start_backend(children, directory / "backend")
        for proxy in proxies:
            try:
                measured.append(_start(children, proxy, pace, directory / proxy.name, upstream))
            except (MissingProgramError, RuntimeError) as error:
                skipped[proxy.name] = str(error)
                say(f"{proxy.title}: not measured: {error}")
        for one in measured:
            saturate(one.port, seconds=1, connections=pace.connections)
        for number in range(pace.rounds):
            for one in measured:
                _load_round(one, pace)
            for name, value in _probe(upstream, pace).items():
                direct.setdefault(name, []).append(value)
            for one in measured:
                for name, value in _probe(one.port, pace).items():
                    one.note(f"{name}_us", value)
            rates = ", ".join(f"{one.proxy.name} {one.readings['cpu_us'][-1]:.1f}" for one in measured)
            say(f"round {number + 1} of {pace.rounds}: CPU µs/request: {rates}")
        for one in measured:
            one.note("rss_loaded_mib", account.resident_mib(one.child.pid))
            _count_syscalls(one, pace)
    return Outcome(measured, direct, skipped)


def _start(children: Children, proxy: Proxy, pace: Pace, directory: Path, upstream: int) -> Measured:
    """Start a proxy several times for its start-up time, and leave the last one running."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "output.log"
    port = free_port()
    command = proxy.prepare(directory, port, upstream)
    started: list[float] = []
    for number in range(pace.starts):
        begin = time.perf_counter()
        child = children.start(command, core=PROXY_CORE, log=log)
        wait_until_served(child, port, log)
        started.append(time.perf_counter() - begin)
        if number < pace.starts - 1:
            children.stop(child)
    time.sleep(0.3)
    one = Measured(proxy, directory, port, child, {"start_ms": [seconds * 1e3 for seconds in started]})
    one.note("rss_idle_mib", account.resident_mib(child.pid))
    return one


def _load_round(one: Measured, pace: Pace) -> None:
    before = account.cpu_time(one.child.pid)
    load = saturate(one.port, seconds=pace.seconds, connections=pace.connections)
    used = account.cpu_time(one.child.pid).since(before)
    if load.failures:
        raise RuntimeError(f"{one.proxy.title}: {load.failures} of {load.requests} requests failed")
    one.note("cpu_us", used.total / load.requests * 1e6)
    one.note("user_us", used.user / load.requests * 1e6)
    one.note("rate", load.rate)
    for name, value in load.latency_us.items():
        one.note(f"saturated_{name}_us", value)
    threads: dict[str, float] = {}
    for thread in used.threads.values():
        threads[thread.name] = threads.get(thread.name, 0.0) + thread.total / load.requests * 1e6
    one.threads.append(threads)


def _probe(port: int, pace: Pace) -> dict[str, float]:
    seconds = max(1.0, pace.seconds / 2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(probe(port, rate=pace.probe_rate, seconds=seconds, connections=pace.connections))


def _count_syscalls(one: Measured, pace: Pace) -> None:
    counter = account.start_syscall_count(one.child.pid, 4.0)
    if counter is None:
        return
    load = saturate(one.port, seconds=3, connections=pace.connections)
    if (count := account.syscall_count(counter)) is not None:
        one.note("syscalls", count / load.requests)
