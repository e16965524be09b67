"""What a new dtab would change: every name that is live in linkers, by the old dtab and by the new one."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from biandou.dtab import Dtab, Path
from biandou.dtab.bound import Addresses, AddressSet, LocalStatus
from biandou.dtab.likeness import comparable, moving
from biandou.errors import reason
from biandou.live import Failed, Live, Ok, Pending, State
from biandou.namerd.names import Names, Settled

NAMES_AT_ONCE: Final = 20
"""So many names are bound before others, who ask meanwhile, have their turn."""
BATCH_SECONDS: Final = 0.2
"""So long the next ones wait for these."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a name comes to by one dtab: a tree of client names as text, or why there is none."""

    tree: str
    routable: bool | None
    """Whether a request would find an endpoint; `None` if a namer did not say in time."""


@dataclass(frozen=True, slots=True)
class Change:
    """A name that goes elsewhere: `moved`, `unroutable`, `routable` or `unknown`.

    `requests` came while it was counted, `share` is their part of all, `moves` the part of them that goes elsewhere.
    """

    name: Path
    kind: str
    requests: int
    share: float
    moves: float
    before: Seen
    after: Seen


async def changes(
    names: Names, namespace: str, dtab: Dtab, requests: Mapping[Path, int], seconds: float
) -> list[Change]:
    """Give the names that go elsewhere, those with most requests first; waits for namers so long at most."""
    trial = f"plan {hashlib.sha256(str(dtab).encode()).hexdigest()}"
    total = sum(requests.values())
    found: list[Change] = []
    deadline = time.monotonic() + seconds
    # Whose namer lets them wait: they go on doing so while the next ones are looked at.
    slow: list[_Trial] = []

    def judge(one: _Trial) -> None:
        change = _change(one.name, requests[one.name], total, one.old.sample(), one.new.sample())
        if change is not None:
            found.append(change)

    def attempt(name: Path) -> _Trial:
        return _Trial(name, names.settled(namespace, Dtab(), name), names.tried(namespace, trial, dtab, Dtab(), name))

    with ExitStack() as watches:
        for batch in _batches(list(requests)):
            tried = []
            for name in batch:
                one = attempt(name)
                watches.callback(one.close)
                tried.append(one)
            if not slow:
                # The first stays, and with it what both dtabs stand on: it need not be opened for each batch.
                slow.append(tried.pop(0))
            await _until_known(tried, min(BATCH_SECONDS, deadline - time.monotonic()))
            for one in tried:
                if one.known:
                    judge(one)
                    one.close()
                else:
                    slow.append(one)
            watches.pop_all()
            for one in slow:
                watches.callback(one.close)
        await _until_known(slow, deadline - time.monotonic())
        for one in slow:
            judge(one)
    return sorted(found, key=lambda change: (-change.requests, change.name))


class _Trial:
    """A name by both dtabs, watched until it is closed."""

    def __init__(self, name: Path, old: Live[Settled], new: Live[Settled]) -> None:
        self.name = name
        self.old = old
        self.new = new
        self.changed = asyncio.Event()
        self._watches = [live.observe(self._look) for live in (old, new)]

    @property
    def known(self) -> bool:
        """Whether both dtabs have been answered for."""
        return not any(isinstance(live.sample(), Pending) for live in (self.old, self.new))

    def _look(self, _state: State[Settled]) -> None:
        self.changed.set()

    def close(self) -> None:
        """Watch no more."""
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.close()


async def _until_known(tried: Sequence[_Trial], seconds: float) -> None:
    # Others, who ask meanwhile, have their turn.
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(max(seconds, 0)):
            for one in tried:
                while not one.known:
                    one.changed.clear()
                    await one.changed.wait()
    except TimeoutError:
        # Who is silent still, is told as unknown.
        return


def _batches(names: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(names), NAMES_AT_ONCE):
        yield names[start : start + NAMES_AT_ONCE]


def _change(name: Path, count: int, total: int, before: State[Settled], after: State[Settled]) -> Change | None:
    old, new = _seen(before), _seen(after)
    moves = 1.0
    if old.routable is None or new.routable is None:
        kind = "unknown"
    elif old.routable and new.routable and isinstance(before, Ok) and isinstance(after, Ok):
        if comparable(before.value.tree) == comparable(after.value.tree):
            return None
        kind, moves = "moved", moving(before.value.tree, after.value.tree)
    elif old.routable == new.routable:
        return None
    else:
        kind = "routable" if new.routable else "unroutable"
    return Change(name, kind, count, count / total if total else 0.0, moves, old, new)


def _seen(state: State[Settled]) -> Seen:
    match state:
        case Ok(settled):
            tree = settled.tree.map(lambda bound: bound.id).simplified
            return Seen(str(tree), any(map(_reachable, settled.addresses.values())))
        case Failed(error):
            return Seen(f"error: {reason(error)}", False)
    return Seen("not known in time", None)


def _reachable(state: State[Addresses]) -> bool:
    if not isinstance(state, Ok):
        return False
    return isinstance(state.value, LocalStatus) or (isinstance(state.value, AddressSet) and bool(state.value.addresses))
