"""Reports to namerd what clients did that it judges a canary by, and only those: it says which, and how often.

A linker whose namerd wants nothing reads no counter for this.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from biandou.boundary import Scope
from biandou.clients.identity import identity
from biandou.interpreters.interface import ReportingInterpreter
from biandou.linker.live_names import live_names
from biandou.linker.router import Router
from biandou.linker.served import served
from biandou.linker.versions import Versions, standing

LEAST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 60.0
"""However often a namerd would like to hear of us."""

MAX_WANTED: Final = 1000
_TRANSFORMED: Final = "/%/"

_log = logging.getLogger(__name__)


class Reports:
    """Reports for the routers whose names a namerd binds; `read` gives all that was counted."""

    def __init__(self, read: Callable[[], Sequence[Scope]], routers: Sequence[Router]) -> None:
        self._read = read
        self._routers: list[tuple[str, ReportingInterpreter]] = []
        self._wanted: dict[str, list[str]] = {}
        self._versions = Versions()
        # The routers of which it is wanted what they serve.
        self._served: set[str] = set()
        # The routers of which it is wanted which names they have.
        self._named: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.replan(routers)

    def replan(self, routers: Sequence[Router]) -> None:
        """Report for other routers from now on."""
        self._routers = [
            (router.label, router.interpreter)
            for router in routers
            if isinstance(router.interpreter, ReportingInterpreter)
        ]
        self._wanted = {label: self._wanted.get(label, []) for label, _ in self._routers}
        self._versions.watch(interpreter for _, interpreter in self._routers)
        if self._routers and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="reports")
        elif not self._routers:
            self.stop()

    def stop(self) -> None:
        """Report no more."""
        self._versions.watch(())
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        pause = LEAST_SECONDS
        while True:
            # Differently long for each: a thousand linkers do not report in one moment.
            await self._versions.pause(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            try:
                seconds = await self._report()
                pause = min(pause * 2, MOST_SECONDS) if seconds is None else seconds
            except Exception:
                _log.exception("reporting to namerd failed")
                pause = MOST_SECONDS

    async def _report(self) -> float | None:
        """Report once, and give after how many seconds to do it again, `None` if no namerd took it."""
        scopes = self._read() if self._served or self._named or any(self._wanted.values()) else []
        waits = []
        for label, interpreter in self._routers:
            clients = totals(label, self._wanted.get(label, []), scopes)
            process = f"{identity().token}/{label}"[:255]
            document = {"process": process, "clients": clients, **standing(interpreter)}
            if label in self._served:
                document["served"] = served(label, scopes)
            if label in self._named:
                document["names"] = live_names(label, scopes)
            answers = await interpreter.report(json.dumps(document).encode())
            if answers:
                wanted = any(isinstance(answer, dict) and answer.get("served") is True for answer in answers)
                (self._served.add if wanted else self._served.discard)(label)
                named = any(isinstance(answer, dict) and answer.get("names") is True for answer in answers)
                (self._named.add if named else self._named.discard)(label)
            told = [read_answer(answer) for answer in answers]
            if told:
                self._wanted[label] = sorted({client for wanted, _ in told for client in wanted})[:MAX_WANTED]
                waits.append(min(seconds for _, seconds in told))
        return min(waits) if waits else None


def totals(label: str, wanted: Iterable[str], scopes: Iterable[Scope]) -> dict[str, Any]:
    """Give what each wanted client of a router did since its beginning; those that have done nothing, too.

    What transformers have put in front of a client's name (`/%/…`) is not looked at: namerd does not know of it.
    """
    found: dict[str, Any] = {client: {"requests": 0, "failures": 0, "latencies": []} for client in wanted}
    if not found:
        return found
    for metrics in scopes:
        scope = list(metrics.scope)
        if scope[:3] != ["rt", label, "client"] or len(scope) != 4:
            continue
        name = f"/{scope[3]}"
        for client, total in found.items():
            if name == client or (name.startswith(_TRANSFORMED) and name.endswith(client)):
                total["requests"] += metrics.counters.get("requests", 0)
                total["failures"] += metrics.counters.get("failures", 0)
                if "request_latency_ms" in metrics.stats:
                    _add(total, metrics.stat("request_latency_ms").buckets)
    return found


def _add(total: dict[str, Any], buckets: Iterable[tuple[float, int]]) -> None:
    counts = dict(total["latencies"])
    for value, count in buckets:
        counts[value] = counts.get(value, 0) + count
    total["latencies"] = sorted(counts.items())


def read_answer(answer: Any) -> tuple[list[str], float]:
    """Read `{"clients": […], "seconds": …}`; what is none wants nothing of us for a while."""
    try:
        clients, seconds = answer["clients"], float(answer["seconds"])
        if not all(isinstance(client, str) and client.startswith("/") for client in clients):
            raise TypeError("a client's name is a path")
        return clients[:MAX_WANTED], min(max(seconds, LEAST_SECONDS), MOST_SECONDS)
    except (KeyError, TypeError, ValueError) as error:
        _log.debug("namerd's answer to a report can't be read: %s", error)
        return [], MOST_SECONDS
