"""What a new dtab would change: every name that is live in linkers, by the old dtab and by the new one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from biandou.dtab import Dtab, Path
from biandou.dtab.bound import Addresses, AddressSet, LocalStatus
from biandou.dtab.likeness import comparable, moving
from biandou.errors import reason
from biandou.live import PENDING, Failed, Live, Ok, State
from biandou.namerd.names import Names, Settled

NAMES_AT_ONCE: Final = 20
"""So many names are bound before others, who ask meanwhile, have their turn."""


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
    old: list[State[Settled]] = []
    new: list[State[Settled]] = []
    with ExitStack() as watches:
        settled = [
            (names.settled(namespace, Dtab(), name), names.tried(namespace, trial, dtab, Dtab(), name))
            for name in requests
        ]
        waiting = _Waiting()
        for index, pair in enumerate(settled):
            if index % NAMES_AT_ONCE == NAMES_AT_ONCE - 1:
                await asyncio.sleep(0)
            for live in pair:
                watches.callback(live.observe(waiting.observer(live)).close)
        await waiting.wait(seconds)
        old = [before.sample() for before, _ in settled]
        new = [after.sample() for _, after in settled]
    total = sum(requests.values())
    found = []
    for (name, count), before, after in zip(requests.items(), old, new, strict=True):
        change = _change(name, count, total, before, after)
        if change is not None:
            found.append(change)
    return sorted(found, key=lambda change: (-change.requests, change.name))


class _Waiting:
    """Knows whether everything that is observed has said something."""

    def __init__(self) -> None:
        self._silent: set[int] = set()
        self._done = asyncio.Event()

    def observer(self, live: Live[Settled]) -> Callable[[State[Settled]], None]:
        key = id(live)
        self._silent.add(key)

        def look(state: State[Settled]) -> None:
            if state is not PENDING:
                self._silent.discard(key)
                if not self._silent:
                    self._done.set()

        return look

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._silent:
                    self._done.clear()
                    await self._done.wait()
        except TimeoutError:
            # Who is silent still, is told as unknown.
            return


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
