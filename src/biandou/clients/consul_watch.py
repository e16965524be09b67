"""Blocking queries: what Consul answers is followed for ever, by the rules of its documentation.

Consul's api-docs/features/blocking: an index that goes back is forgotten and asking begins anew; one below 1 counts as
1, or nothing would block; answers that come too fast are asked for at a bounded rate. After a failure asking begins
without an index, after a wait that grows and differs.

An answer with the index of the one before should be the same. It is compared all the same: a cluster that was built
anew from a backup gives its indexes a second time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from biandou.clients.consul import ANSWER_SECONDS, Answer, Consul, ConsulError, Query
from biandou.clients.retry import Retry

WAIT_SECONDS: Final = 60
"""How long Consul lets us wait for a change: so often is what we know confirmed.

Much less than Consul's own 5 minutes, since it also bounds for how long a connection that was lost silently
deceives us.
"""

RETRY: Final = Retry(0.1, 5.0)
BURST: Final = 10
PER_SECOND: Final = 1.0


class Waits(Protocol):
    """Says how long to wait after failures; `Retry` is one."""

    def wait(self, failures: int) -> float:
        """Give seconds after so many failures in a row."""


class Follower(Protocol):
    """Who is told what a query comes to."""

    def changed(self, answer: Answer) -> None:
        """Take in an answer; raises `ConsulError` if it can't be read, and nothing else."""

    def confirmed(self) -> None:
        """Hear that the last answer still holds."""

    def failed(self, error: ConsulError) -> None:
        """Hear that nothing is known that is newer than the last answer."""


class Pace:
    """At most `burst` in a row, then `per_second`."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = time.monotonic()

    async def keep(self) -> None:
        """Wait until it is time for the next."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._per_second)


async def follow(
    consul: Consul, path: str, query: Query, follower: Follower, *, retry: Waits = RETRY, pace: Pace | None = None
) -> None:
    """Ask for ever; ends only by being cancelled."""
    pace = pace or Pace()
    index = failures = told = 0
    async with consul.opened():
        while True:
            await pace.keep()
            try:
                answer = await _ask(consul, path, query, index)
                if answer.index is None:
                    raise ConsulError(f"consul at {consul.address}: {path}: consul did not return an index")
                if answer.index < index:
                    # It may be the answer of a server that is behind: only one to a new question counts.
                    index = 0
                    continue
                known, told = told, hash((answer.status, answer.body))
                if index and answer.index == index and told == known:
                    follower.confirmed()
                else:
                    follower.changed(answer)
                index = max(1, answer.index)
                failures = 0
            except ConsulError as error:
                index = 0
                failures += 1
                follower.failed(error)
                await asyncio.sleep(retry.wait(failures))


async def _ask(consul: Consul, path: str, query: Query, index: int) -> Answer:
    if index == 0:
        async with consul.beginning:
            return await consul.get(path, query)
    # Consul adds up to a sixteenth, so that not all wake at once.
    seconds = WAIT_SECONDS * 17 / 16 + ANSWER_SECONDS
    return await consul.get(path, {**query, "index": str(index), "wait": f"{WAIT_SECONDS}s"}, seconds)
