"""Which namerds a linker's `dst` leads to, and which of them to ask next."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from biandou.clients.retry import Retry
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound
from biandou.dtab.evaluation import Evaluator
from biandou.errors import ResolutionError
from biandou.kinds import Keys
from biandou.live import Failed, Live, Ok, State

Seconds = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Address = tuple[str, int]

_log = logging.getLogger(__name__)


class NamerdRetry(Keys, frozen=True, kw_only=True):
    """How long to wait for a namerd that does not answer."""

    base_seconds: Seconds
    max_seconds: Seconds

    def __post_init__(self) -> None:
        """Raise `ValueError` unless baseSeconds ≤ maxSeconds."""
        if self.base_seconds > self.max_seconds:
            raise ValueError("maxSeconds must not be below baseSeconds")


def namerd_addresses(dst: Path, lookup: Callable[[Path], Live[NameTree[Path | Bound]]]) -> Live[tuple[Address, ...]]:
    """Give all addresses of all that `dst` comes to by the namers behind `lookup`: of several namerds any will do."""
    return Evaluator(Live.ok(Dtab()), lookup).bind(dst).flat_map(_everywhere)


def _everywhere(tree: NameTree[Bound]) -> Live[tuple[Address, ...]]:
    leaves = {bound.id: bound for bound in tree.leaves()}
    if not leaves:
        return Live.failed(ResolutionError("dst leads nowhere"))
    return Live.join([bound.addresses for bound in leaves.values()]).flat_map(_known)


def _known(states: tuple[State[Addresses], ...]) -> Live[tuple[Address, ...]]:
    found = {
        (address.host, address.port): None
        for state in states
        if isinstance(state, Ok) and isinstance(state.value, AddressSet)
        for address in state.value.addresses
    }
    if found:
        return Live.ok(tuple(found))
    return next((Live.failed(state.error) for state in states if isinstance(state, Failed)), Live())


class NamerdChoice:
    """Chooses among `addresses`; those that have failed rest for a while."""

    def __init__(self, addresses: Live[tuple[Address, ...]], retry: Retry) -> None:
        self._addresses = addresses
        self._retry = retry
        # Each client has its own favourite among the namerds, so that they share the work.
        self._taste = random.random()  # noqa: S311 - no secret
        self._rested: dict[Address, float] = {}

    def known(self) -> tuple[Address, ...]:
        """Give all addresses, none if they are not known."""
        state = self._addresses.sample()
        return state.value if isinstance(state, Ok) else ()

    async def choose(self) -> Address:
        """Give the address to ask next, waiting until there is one: one that has not failed lately, if possible."""
        known: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()

        def look(state: State[tuple[Address, ...]]) -> None:
            if isinstance(state, Ok) and state.value and not known.done():
                known.set_result(state.value)
            elif isinstance(state, Failed):
                _log.warning("where namerd is, is not known: %s", state.error)

        watch = self._addresses.observe(look)
        try:
            addresses = sorted(await known)
        finally:
            watch.close()
        start = int(self._taste * len(addresses))
        # The one whose rest ends first, if none is up to it.
        return min(addresses[start:] + addresses[:start], key=self.rests)

    def rests(self, address: Address) -> float:
        """Give how many seconds an address still rests."""
        return max(0.0, self._rested.get(address, 0.0) - time.monotonic())

    def rest(self, address: Address, failures: int, problem: str) -> None:
        """Ask an address no more for a while, after so many failures in a row, the last of which was this problem."""
        now = time.monotonic()
        if self._rested.get(address, 0.0) <= now:
            _log.info("namerd at %s:%d does not answer: %s", *address, problem)
        self._rested = {known: until for known, until in self._rested.items() if until > now}
        self._rested[address] = now + self._retry.wait(max(1, failures))

    async def another(self, address: Address) -> bool:
        """Whether an address that has not failed lately is left."""
        other = await self.choose()
        return other != address and not self.rests(other)
