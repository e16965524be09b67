"""What linkers report of the clients that a canary is judged by, added up over all linkers.

Linkers report what they have counted since they began, and namerd keeps what came in between: a first report counts
nothing, and neither a linker's restart nor a client that was forgotten and made anew makes anything negative.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from biandou.namerd.canary import Counts

MAX_PROCESSES: Final = 10_000
"""How many routers of linkers are listened to."""

MAX_CLIENTS: Final = 1000
"""How many clients one report may have."""

MAX_BUCKETS: Final = 5000
MAX_NAME: Final = 4096
MOST: Final = 2**53
EXPIRES_SECONDS: Final = 60.0
"""A linker that is silent for so long is forgotten: what it says afterwards is a first report."""

BUSY_SECONDS, IDLE_SECONDS = 1.0, 2.0
"""How often linkers report while something is wanted of them, and while nothing is."""

MOST_A_SECOND: Final = 100.0
"""So many reports a second are asked for at most, by having each linker report less often."""


@dataclass(frozen=True, slots=True)
class Total:
    """What a client did since its beginning: `buckets` is how many latencies there were of about so many ms."""

    requests: int = 0
    failures: int = 0
    buckets: Mapping[float, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Process:
    heard: float
    totals: dict[str, Total] = field(default_factory=dict)


class _Sum:
    """What all linkers together have counted for a client since it was wanted."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.buckets: Counter[float] = Counter()

    def add(self, before: Total, now: Total) -> None:
        if now.requests < before.requests or now.failures < before.failures:
            before = Total()
        self.requests += now.requests - before.requests
        self.failures += now.failures - before.failures
        for value, count in now.buckets.items():
            added = count - before.buckets.get(value, 0)
            if added > 0:
                self.buckets[value] += added

    def total(self) -> Total:
        return Total(self.requests, self.failures, dict(self.buckets))


class Reports:
    """The sums of each namespace's wanted clients; `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wanted: dict[str, dict[str, _Sum]] = {}
        self._processes: dict[tuple[str, str], _Process] = {}

    def want(self, namespace: str, clients: Iterable[str]) -> None:
        """Ask for these clients of a namespace and for no others; what was counted for them is kept."""
        known = self._wanted.get(namespace, {})
        wanted = {client: known.get(client) or _Sum() for client in clients}
        if wanted:
            self._wanted[namespace] = wanted
        else:
            self._wanted.pop(namespace, None)

    def totals(self, namespace: str, clients: Iterable[str]) -> dict[str, Total]:
        """Give what was counted for clients that are wanted."""
        sums = self._wanted.get(namespace, {})
        return {client: sums[client].total() for client in clients if client in sums}

    def take(self, namespace: str, document: bytes) -> dict[str, Any]:
        """Take in a report, and give what to report from now on and after how many seconds; raises `ValueError`."""
        process, totals = read_report(document)
        now = self._clock()
        key = namespace, process
        known = self._processes.get(key)
        if known is None:
            self._forget(now)
            if len(self._processes) >= MAX_PROCESSES:
                raise ValueError("too many linkers report")
            known = self._processes[key] = _Process(now)
        elif now - known.heard > EXPIRES_SECONDS:
            known.totals.clear()
        known.heard = now
        sums = self._wanted.get(namespace, {})
        for client, total in totals.items():
            if client in sums and client in known.totals:
                sums[client].add(known.totals[client], total)
        known.totals = {client: total for client, total in totals.items() if client in sums}
        least = BUSY_SECONDS if sums else IDLE_SECONDS
        return {"clients": sorted(sums), "seconds": max(least, len(self._processes) / MOST_A_SECOND)}

    def reporting(self, namespace: str) -> int:
        """Give how many routers of linkers have reported lately."""
        self._forget(self._clock())
        return sum(1 for known, _ in self._processes if known == namespace)

    def _forget(self, now: float) -> None:
        gone = [key for key, process in self._processes.items() if now - process.heard > EXPIRES_SECONDS]
        for key in gone:
            del self._processes[key]


def between(before: Mapping[str, Total], now: Mapping[str, Total]) -> Counts:
    """Give what several clients together did from `before` to `now`."""
    requests = failures = 0
    buckets: Counter[float] = Counter()
    for client, total in now.items():
        former = before.get(client, Total())
        requests += total.requests - former.requests
        failures += total.failures - former.failures
        buckets.update(total.buckets)
        buckets.subtract(former.buckets)
    return Counts(requests, failures, _p99(buckets))


def _p99(buckets: Counter[float]) -> float | None:
    present = sorted((value, count) for value, count in buckets.items() if count > 0)
    wanted = math.ceil(sum(count for _, count in present) * 0.99)
    passed = 0
    for value, count in present:
        passed += count
        if passed >= wanted:
            return value
    return None


def read_report(document: bytes) -> tuple[str, dict[str, Total]]:
    """Read `{"process", "clients": {name: {"requests", "failures", "latencies": [[ms, count]…]}}}`.

    Raises `ValueError` for anything else.
    """
    try:
        sent = json.loads(document)
        process, clients = sent["process"], sent["clients"]
        if not isinstance(process, str) or not 0 < len(process) <= 255 or len(clients) > MAX_CLIENTS:
            raise ValueError("a report has a process, and not too many clients")
        totals = {}
        for name, told in clients.items():
            latencies = told["latencies"]
            if len(name) > MAX_NAME or len(latencies) > MAX_BUCKETS:
                raise ValueError("a report's names and distributions have a limited size")
            buckets = {_number(value): _count(count) for value, count in latencies}
            totals[name] = Total(_count(told["requests"]), _count(told["failures"]), buckets)
        return process, totals
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no report: {error!r}") from error


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError("a count is a whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError("a latency is a number")
    return float(value)
