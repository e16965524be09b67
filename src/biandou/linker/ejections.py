"""Tells namers and transformers that judge by health which endpoints the engine has found to fail.

The engine is asked, since it tells nobody of an ejection by itself; how often goes by what the answer costs. It is not
asked while nothing is judged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, runtime_checkable

from biandou.boundary import ClientView

LEAST_SECONDS: Final = 1.0
COST: Final = 0.02
"""No more than this part of the time is spent on asking."""

FAILING: Final = frozenset({"ejected", "probing", "spared"})
"""The states of endpoints that requests, or connections, have shown to fail."""

_log = logging.getLogger(__name__)


@runtime_checkable
class HealthMinded(Protocol):
    """A namer or a transformer that takes in what the engine has found out."""

    @property
    def judging(self) -> bool:
        """Whether it has any name in use."""

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        """Take in how many endpoints of each client name are out of use."""


class Ejections:
    """Asks on behalf of those of `minded` who want to know; `read` gives the engine's clients."""

    def __init__(self, read: Callable[[], Iterable[ClientView]], minded: Iterable[object]) -> None:
        self._read = read
        self._minded: list[HealthMinded] = []
        self._task: asyncio.Task[None] | None = None
        self.replan(minded)

    def replan(self, minded: Iterable[object]) -> None:
        """Ask on behalf of others from now on."""
        self._minded = [one for one in minded if isinstance(one, HealthMinded)]
        if self._minded and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ejections")
        elif not self._minded:
            self.stop()

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        pause = LEAST_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = time.perf_counter()
            try:
                judging = [one for one in self._minded if one.judging]
                found = ejected(self._read()) if judging else {}
                for one in judging:
                    one.take_ejected(found)
            except Exception:
                _log.exception("telling of ejected endpoints failed")
            pause = max(LEAST_SECONDS, (time.perf_counter() - began) / COST)


def ejected(clients: Iterable[ClientView]) -> dict[str, int]:
    """Give how many endpoints of each client name fail, by the router that has seen most of them fail.

    It is told by the name without what transformers have put in front of it (`/%/…`), too, and with each part of that.
    """
    found: dict[str, int] = {}
    for client in clients:
        count = sum(endpoint.state in FAILING for endpoint in client.endpoints)
        if count:
            for name in names(client.client):
                found[name] = max(count, found.get(name, 0))
    return found


def names(client: str) -> list[str]:
    """Give a client name, and what each transformer was given of it."""
    found = [client]
    while found[-1].startswith("/%/"):
        starts = [at for mark in ("/%/", "/#/", "/$/") if (at := found[-1].find(mark, 1)) > 0]
        if not starts:
            break
        found.append(found[-1][min(starts) :])
    return found
