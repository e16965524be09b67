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
from biandou.clients.consul import ANSWER_SECONDS, Answer, Consul, ConsulError
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


class Asker(Protocol):
    """Whose query has no seat to wait in."""

    def ask_again(self) -> None:
        """Ask without waiting."""


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

    def stand(self, asker: Asker, *, useful: bool) -> Standing:
        """Let who has no seat ask again by and by, unless that is cancelled."""
        self._standing += 1
        standing = Standing(self, asker)
        seconds = max(STAND_SECONDS, self._standing / STAND_PER_SECOND) * (1 if useful else 4)
        self._alarms.after(random.uniform(seconds / 2, seconds * 3 / 2), standing)  # noqa: S311 - no secret
        return standing

    def rise(self) -> None:
        """Count one less who stands."""
        self._standing -= 1


class Standing:
    """One who has no seat, until it is to ask again."""

    __slots__ = ("_asker", "_seats")

    def __init__(self, seats: Seats, asker: Asker) -> None:
        self._seats = seats
        self._asker: Asker | None = asker

    def wake(self) -> None:
        """Ask again."""
        asker = self._asker
        if asker is not None:
            self.cancel()
            asker.ask_again()

    def cancel(self) -> None:
        """Do not ask again."""
        if self._asker is not None:
            self._asker = None
            self._seats.rise()


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


class Question:
    """A query that is asked for ever, and what is known between two times."""

    __slots__ = ("_consul", "_failures", "_follower", "_index", "_pace", "_retry", "_seats", "_target", "_told")

    def __init__(
        self,
        consul: Consul,
        target: str,
        follower: Follower,
        seats: Seats,
        *,
        retry: Waits = RETRY,
        pace: Pace | None = None,
    ) -> None:
        self._target = target
        self._consul = consul
        self._follower = follower
        self._seats = seats
        self._retry = retry
        self._pace = pace
        self._index = self._failures = self._told = 0

    async def ask(self) -> None:
        """Ask, the first time without waiting; ends when there is an answer and no seat to wait in for the next."""
        consul, follower, waits = self._consul, self._follower, False
        # Who stands is asked seldom enough.
        pace = self._pace or Pace()
        while True:
            seated = waits and self._seats.take(useful=follower.useful)
            if waits and not seated:
                return
            try:
                # Not in functions of their own: thousands wait here, each with all frames that it has.
                try:
                    await pace.keep()
                    if seated:
                        answer = await consul.fetch(waiting(self._target, self._index), LONGEST_SECONDS)
                    else:
                        async with consul.beginning:
                            answer = await consul.fetch(self._target)
                finally:
                    if seated:
                        self._seats.leave()
                waits = self._take(answer)
                # It may be long until the next, and there are thousands of these.
                del answer
                continue
            except ConsulError as error:
                problem = error
            except Exception as error:
                # What no rule has thought of must not end a watch: nobody would notice.
                _log.exception("%s", self._where)
                problem = ConsulError(f"{self._where}: {reason(error)}")
            self._index = 0
            self._failures += 1
            waits = False
            follower.failed(problem)
            await asyncio.sleep(self._retry.wait(self._failures))

    def _take(self, answer: Answer) -> bool:
        """Tell of an answer, and give whether the next may be waited for; raises `ConsulError`."""
        if answer.index is None:
            raise ConsulError(f"{self._where}: consul did not return an index")
        if answer.index < self._index:
            # It may be the answer of a server that is behind: only one to a new question counts.
            self._index = 0
            return False
        told = hash((answer.status, answer.body))
        if self._index and answer.index == self._index and told == self._told:
            self._follower.confirmed()
        else:
            self._follower.changed(answer)
        self._index, self._told, self._failures = max(1, answer.index), told, 0
        return True

    @property
    def _where(self) -> str:
        return f"consul at {self._consul.address}: {self._target.partition('?')[0]}"


async def follow(
    consul: Consul, target: str, follower: Follower, *, retry: Waits = RETRY, pace: Pace | None = None
) -> None:
    """Ask for ever, and always wait for the next answer; ends only by being cancelled."""
    question = Question(consul, target, follower, Seats(2), retry=retry, pace=pace)
    async with consul.opened():
        while True:
            # With a seat of its own it does not end.
            await question.ask()


def waiting(target: str, index: int) -> str:
    """Give the target of a query that waits for what is newer than `index`."""
    return f"{target}{'&' if '?' in target else '?'}index={index}&wait={WAIT_SECONDS}s"
