"""The names that are live in linkers, and how often they are asked for: heard only while somebody plans a dtab."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from biandou.dtab import DtabSyntaxError, Path
from biandou.namerd.in_force import MAX_REPORTING, MAX_TEXT

MAX_NAMES: Final = 10_000
"""Of one router of a linker."""
MAX_ALL: Final = 20_000
"""Of all routers together; whoever plans waits for all of them."""
MAX_HELD: Final = 500_000
"""Of all routers, a name of each of them counted."""
NAMES_AT_ONCE: Final = 500
"""So many names are read before others, who ask meanwhile, have their turn."""
MAX_NAME: Final = 4096
MOST: Final = 2**53


@dataclass(slots=True)
class _Process:
    """What a router of a linker said last."""

    counts: dict[str, int]
    cut: int
    reports: int = 1


@dataclass(frozen=True, slots=True)
class Heard:
    """The names of all linkers with the requests that came while they were listened to."""

    requests: dict[Path, int]
    routers: int
    cut: int


@dataclass(slots=True)
class _Listening:
    plans: int = 0
    processes: dict[str, _Process] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, came: dict[str, int]) -> int:
        """Take in what came for each name, and give how many names were too many."""
        left = 0
        for name, count in came.items():
            if name in self.requests or len(self.requests) < MAX_ALL:
                self.requests[name] = self.requests.get(name, 0) + count
            else:
                left += 1
        return left


class LiveNames:
    """Hears the names of each namespace for which they are wanted."""

    def __init__(self) -> None:
        self._wanted: defaultdict[str, _Listening] = defaultdict(_Listening)

    @contextmanager
    def wanted(self, namespace: str) -> Iterator[None]:
        """Ask linkers for their names meanwhile, and forget them afterwards."""
        listening = self._wanted[namespace]
        listening.plans += 1
        try:
            yield
        finally:
            listening.plans -= 1
            if not listening.plans:
                del self._wanted[namespace]

    def wants(self, namespace: str) -> bool:
        """Whether linkers are asked."""
        return namespace in self._wanted

    def take(self, namespace: str, document: bytes) -> None:
        """Take in a report: `{"process", "names": {"requests": {name: count…}, "cut": count}}`.

        One without `names` says nothing. Raises `ValueError` for what is no report.
        """
        listening = self._wanted.get(namespace)
        if listening is None:
            return
        try:
            sent = json.loads(document)
            process, named = sent["process"], sent.get("names")
            if named is None:
                return
            requests = {_name(name): _count(count) for name, count in named["requests"].items()}
            cut = _count(named["cut"])
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is no report: {error!r}") from error
        if not isinstance(process, str) or len(process) > MAX_TEXT or len(requests) > MAX_NAMES:
            raise ValueError("a report has a process, and not too many names")
        known = listening.processes.get(process)
        held = sum(len(other.counts) for other in listening.processes.values() if other is not known)
        if held + len(requests) > MAX_HELD:
            requests, cut = {}, cut + len(requests)
        if known is None:
            if len(listening.processes) == MAX_REPORTING:
                return
            known = listening.processes[process] = _Process({}, 0, 0)
            came = dict.fromkeys(requests, 0)
        else:
            # A linker that has begun anew counts from nothing.
            came = {name: _risen(known.counts.get(name, 0), count) for name, count in requests.items()}
        known.counts, known.cut = requests, cut + listening.add(came)
        known.reports += 1
        listening.changed.set()

    async def until(self, namespace: str, routers: int, reports: int, seconds: float) -> None:
        """Wait until so many routers have reported so often, at most for so long."""
        listening = self._wanted[namespace]

        def missing() -> bool:
            often = sum(process.reports >= reports for process in listening.processes.values())
            return often < routers or often < len(listening.processes)

        try:
            async with asyncio.timeout(seconds):
                while missing():
                    listening.changed.clear()
                    await listening.changed.wait()
        except TimeoutError:
            pass

    async def heard(self, namespace: str) -> Heard:
        """Give what was heard since it was wanted."""
        listening = self._wanted.get(namespace, _Listening())
        requests: dict[Path, int] = {}
        for index, (text, count) in enumerate(list(listening.requests.items())):
            if index % NAMES_AT_ONCE == NAMES_AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                name = Path.read(text)
            except DtabSyntaxError:
                continue
            requests[name] = requests.get(name, 0) + count
        processes = listening.processes.values()
        return Heard(requests, len(processes), sum(process.cut for process in processes))


def _risen(before: int, now: int) -> int:
    return now - before if now >= before else now


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError("a name is a text of limited length")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError("a count is a whole number")
    return value
