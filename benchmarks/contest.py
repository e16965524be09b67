"""Some commands side by side under the same load, in alternating rounds: medians and their ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import account
from benchmarks.backend import wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children
from benchmarks.load import saturate
from benchmarks.rounds import Pace


@dataclass(frozen=True)
class Contender:
    """A command that serves a port; `script` is one of wrk's, in Lua, that makes its requests."""

    name: str
    port: int
    command: Sequence[str]
    directory: Path
    scheme: str = "http"
    script: Path | None = None
    cores: str = str(PROXY_CORE)
    workers: int = 1


@dataclass
class Readings:
    """One contender's readings, one number a round."""

    contender: Contender
    child: subprocess.Popen[bytes]
    numbers: dict[str, list[float]] = field(default_factory=dict)

    def note(self, **numbers: float) -> None:
        """Keep one round's numbers."""
        for name, number in numbers.items():
            self.numbers.setdefault(name, []).append(number)


def contest(
    children: Children,
    contenders: Sequence[Contender],
    pace: Pace,
    warm: Callable[[Contender], None] = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Start all, load them in turns, and give a row for each: medians, and the ratios to the first one's.

    `warm` is called for each before the first round. Raises `RuntimeError` if a request fails or one does not start.
    """
    os.sched_setaffinity(0, {LOAD_CORE})
    all_readings: list[Readings] = []
    for contender in contenders:
        contender.directory.mkdir(parents=True, exist_ok=True)
        log = contender.directory / "output.log"
        child = children.start(contender.command, core=contender.cores, log=log)
        wait_until_served(child, contender.port, log, scheme=contender.scheme)
        warm(contender)
        _round(Readings(contender, child), 1.0, pace.connections)
        all_readings.append(Readings(contender, child))
    for _ in range(pace.rounds):
        for readings in all_readings:
            _round(readings, pace.seconds, pace.connections)
    rows: dict[str, dict[str, float]] = {}
    for readings in all_readings:
        row = {name: statistics.median(values) for name, values in readings.numbers.items()}
        row["RSS MiB"] = account.resident_mib(readings.child.pid)
        base = next(iter(rows.values()), row)
        row["CPU ratio"] = row["CPU µs/request"] / base["CPU µs/request"]
        row["rate ratio"] = row["requests/s"] / base["requests/s"]
        rows[readings.contender.name] = row
    return rows


def _round(readings: Readings, seconds: float, connections: int) -> None:
    contender, pid = readings.contender, readings.child.pid
    before = account.cpu_time(pid)
    load = saturate(
        contender.port, seconds=seconds, connections=connections, scheme=contender.scheme, script=contender.script
    )
    used = account.cpu_time(pid).since(before)
    if load.failures:
        raise RuntimeError(f"{contender.name}: {load.failures} of {load.requests} requests failed")
    readings.note(
        **{
            "CPU µs/request": used.total / load.requests * 1e6,
            "of it user mode": used.user / load.requests * 1e6,
            "requests/s": load.rate,
            "busy": used.total / load.seconds / contender.workers,
        }
    )
