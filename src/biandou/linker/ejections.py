"""Tells namers that judge by health which endpoints the engine has found to fail; nothing runs if there is no such.

The engine is asked, since it tells nobody of an ejection by itself; how often goes by what the answer costs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, runtime_checkable

from biandou.boundary import ClientView
from biandou.namers.interface import Namer

LEAST_SECONDS: Final = 1.0
COST: Final = 0.02
"""No more than this part of the time is spent on asking."""

FAILING: Final = frozenset({"ejected", "probing", "spared"})
"""The states of endpoints that requests, or connections, have shown to fail."""

_log = logging.getLogger(__name__)


@runtime_checkable
class HealthMindedNamer(Protocol):
    """A namer that takes in what the engine has found out."""

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        """Take in how many endpoints of each client name are out of use."""


class Ejections:
    """Asks on behalf of the namers; `read` gives the engine's clients."""

    def __init__(self, read: Callable[[], Iterable[ClientView]], namers: Iterable[Namer]) -> None:
        self._read = read
        self._namers: list[HealthMindedNamer] = []
        self._task: asyncio.Task[None] | None = None
        self.replan(namers)

    def replan(self, namers: Iterable[Namer]) -> None:
        """Ask on behalf of other namers from now on."""
        self._namers = [namer for namer in namers if isinstance(namer, HealthMindedNamer)]
        if self._namers and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ejections")
        elif not self._namers:
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
                found = ejected(self._read())
                for namer in self._namers:
                    namer.take_ejected(found)
            except Exception:
                _log.exception("telling namers of ejected endpoints failed")
            pause = max(LEAST_SECONDS, (time.perf_counter() - began) / COST)


def ejected(clients: Iterable[ClientView]) -> dict[str, int]:
    """Give how many endpoints of each client name fail, by the router that has seen most of them fail.

    What transformers have put in front of a client's name (`/%/…`) is left out.
    """
    found: dict[str, int] = {}
    for client in clients:
        count = sum(endpoint.state in FAILING for endpoint in client.endpoints)
        if count:
            name = bare(client.client)
            found[name] = max(count, found.get(name, 0))
    return found


def bare(client: str) -> str:
    """Give a client name from its first `/#` or `/$` on."""
    if not client.startswith("/%/"):
        return client
    starts = [at for at in (client.find("/#/"), client.find("/$/")) if at >= 0]
    return client[min(starts) :] if starts else client
