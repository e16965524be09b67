"""Blocking queries: what Consul answers is followed for ever, by the rules of its documentation.

Consul's api-docs/features/blocking: an index that goes back is forgotten and asking begins anew; one below 1 counts as
1, or nothing would block; answers that come too fast are asked for at a bounded rate. After a failure asking begins
without an index, after a wait that grows and differs.

A query that waits holds a connection, and an agent has only so many for one host: beyond a number of them the others
are asked again and again without waiting, all together at a bounded rate.

An answer with the index of the one before should be the same. It is compared all the same: a cluster that was built
anew from a backup gives its indexes a second time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final, Protocol

from biandou.clients.alarms import Alarms
from biandou.clients.consul import ANSWER_SECONDS, Answer, Consul, ConsulError, Query
from biandou.clients.retry import Retry
from biandou.errors import reason

WAIT_SECONDS: Final = 60
"""How long Consul lets us wait for a change: so often is what we know confirmed.

Much less than Consul's own 5 minutes, since it also bounds for how long a connection that was lost silently
deceives us.
"""

LONGEST_SECONDS: Final = WAIT_SECONDS * 17 / 16 + ANSWER_SECONDS
"""Consul adds up to a sixteenth to a wait, so that not all wake at once."""

RETRY: Final = Retry(0.1, 5.0)
MAX_WAITING: Final = 150
"""So many queries of one namer wait at once: an agent takes 200 connections of a host, unless it is told otherwise."""

STAND_SECONDS: Final = 1.0
STAND_PER_SECOND: Final = 200.0
"""How often a query without a seat is asked, and how often all of them together."""

BURST: Final = 10
PER_SECOND: Final = 1.0


_log = logging.getLogger(__name__)


class Waits(Protocol):
    """Says how long to wait after failures; `Retry` is one."""

    def wait(self, failures: int) -> float:
        """Give seconds after so many failures in a row."""


class Follower(Protocol):
    """Who is told what a query comes to."""

    @property
    def useful(self) -> bool:
        """Whether the last answer was of use to anybody."""

    def changed(self, answer: Answer) -> None:
        """Take in an answer; raises `ConsulError` if it can't be read."""

    def confirmed(self) -> None:
        """Hear that the last answer still holds."""

    def failed(self, error: ConsulError) -> None:
        """Hear that nothing is known that is newer than the last answer."""


class Seats:
    """How many queries wait at once; those without a seat are asked again and again.

    Half of the seats are kept for queries whose answers are of use: anybody may ask for names that will never be there.
    """

    def __init__(self, most: int = MAX_WAITING) -> None:
        self._most = most
        self._taken = 0
        self._standing = 0
        self._alarms = Alarms()

    def take(self, *, useful: bool) -> bool:
        """Take a seat if there is one; it has to be left."""
        if self._taken >= (self._most if useful else self._most // 2):
            return False
        self._taken += 1
        return True

    @property
    def longest_stand(self) -> float:
        """How many seconds it may take until who has no seat is asked again."""
        return max(STAND_SECONDS, self._standing / STAND_PER_SECOND) * 6 if self._standing else 0.0

    def leave(self) -> None:
        """Give a seat back."""
        self._taken -= 1

    def stand(self, *, useful: bool) -> asyncio.Future[None]:
        """Give what is done when who has no seat is to ask again; then `rise`."""
        self._standing += 1
        seconds = max(STAND_SECONDS, self._standing / STAND_PER_SECOND) * (1 if useful else 4)
        return self._alarms.after(random.uniform(seconds / 2, seconds * 3 / 2))  # noqa: S311 - no secret

    def rise(self) -> None:
        """Stand no more."""
        self._standing -= 1


class Pace:
    """At most `burst` in a row, then `per_second`."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

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
    consul: Consul,
    path: str,
    query: Query,
    follower: Follower,
    *,
    retry: Waits = RETRY,
    pace: Pace | None = None,
    seats: Seats | None = None,
) -> None:
    """Ask for ever; ends only by being cancelled. Queries with the same `seats` share the connections that wait."""
    pace, seats = pace or Pace(), seats or Seats(2)
    index = failures = told = 0
    async with consul.opened():
        while True:
            await pace.keep()
            try:
                # Not in functions of their own: thousands wait here, each with all frames that it has.
                if index and seats.take(useful=follower.useful):
                    try:
                        answer = await consul.get(path, waiting(query, index), LONGEST_SECONDS)
                    finally:
                        seats.leave()
                else:
                    if index:
                        try:
                            await seats.stand(useful=follower.useful)
                        finally:
                            seats.rise()
                    async with consul.beginning:
                        answer = await consul.get(path, query)
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
                # It may be long until the next, and there are thousands of these.
                del answer
                continue
            except ConsulError as error:
                problem = error
            except Exception as error:
                # What no rule has thought of must not end a watch: nobody would notice.
                _log.exception("%s at %s", path, consul.address)
                problem = ConsulError(f"consul at {consul.address}: {path}: {reason(error)}")
            index = 0
            failures += 1
            follower.failed(problem)
            await asyncio.sleep(retry.wait(failures))


def waiting(query: Query, index: int) -> Query:
    """Give the parameters of a query that waits for what is newer than `index`."""
    return {**query, "index": str(index), "wait": f"{WAIT_SECONDS}s"}
