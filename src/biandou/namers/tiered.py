"""One name over several tiers: which of them take requests now, by how many of their endpoints are healthy.

Every tier is watched all the time, so that the one that takes over is known before it is needed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

from biandou.dtab import NEG, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Addresses, AddressSet, Bound, LocalStatus
from biandou.live import PENDING, Failed, Live, Ok, Pending, State, Watch
from biandou.namers.interface import Interpret
from biandou.namers.tier_level import FULL, Judgement, TierLevel, divide

LOG_LINES: Final = 20
"""Of all names of one namer so many decisions are told in ten seconds; when a registry falls, a few say enough."""
_LOG_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)

Ejected = Callable[[Path], int]
"""Says how many of a client name's endpoints are known to fail requests, though their registry thinks them well."""


class Handle(Protocol):
    """What was put off."""

    def cancel(self) -> None:
        """Don't do it."""


class Clock(Protocol):
    """Tells time and wakes up; an event loop is one."""

    def time(self) -> float:
        """Give seconds since whenever."""

    def call_at(self, when: float, callback: Callable[[], None], /) -> Handle:
        """Call at that time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tier holds now: the endpoints of each client name in its tree. `fixed` needs none: it is answered here."""

    tree: NameTree[Bound]
    endpoints: tuple[tuple[Path, int], ...]
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Tier:
    """A place where a name may be, and when it is well enough."""

    dst: Path
    judgement: Judgement


class Logged:
    """Whether one more decision is worth a line in the log; the first of a name is only if `first`."""

    def __init__(self, loud: int = logging.WARNING, *, first: bool = True) -> None:
        self.first = first
        self._loud = loud
        self._began = float("-inf")
        self._lines = 0

    def level(self, now: float) -> int:
        """Give the level to log at."""
        if now - self._began > _LOG_SECONDS:
            self._began, self._lines = now, 0
        self._lines += 1
        return self._loud if self._lines <= LOG_LINES else logging.DEBUG


class Opening:
    """Whether a name of the namer is just being opened; what its tiers lead to is opened meanwhile."""

    def __init__(self) -> None:
        self.names = 0

    def __enter__(self) -> None:
        self.names += 1

    def __exit__(self, *_: object) -> None:
        self.names -= 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all names of a namer have in common; `patience` is how long a tier may be unknown, in seconds."""

    interpret: Interpret
    ejected: Ejected
    patience: float
    logged: Logged = field(default_factory=Logged)
    opening: Opening = field(default_factory=Opening)
    clock: Callable[[], Clock] = asyncio.get_running_loop


class _Watched:
    """A tier while it is watched."""

    def __init__(self, tier: Tier, path: Path) -> None:
        self.dst = tier.dst
        self.path = tier.dst + path
        self.level = TierLevel(tier.judgement)
        self.seen: Seen | None = None
        self.error: Exception | None = None
        self.watch: Watch | None = None
        self.part = 0

    @property
    def known(self) -> int:
        return sum(count for _, count in self.seen.endpoints) if self.seen is not None else 0

    def healthy(self, ejected: Ejected) -> int:
        if self.seen is None:
            return 0
        return sum(max(0, count - ejected(client)) for client, count in self.seen.endpoints)

    def judge(self, ejected: Ejected, now: float) -> int:
        """Give the level."""
        if self.seen is not None and self.seen.fixed:
            return FULL
        self.level.judge(self.known, self.healthy(ejected), now)
        return self.level.level or 0

    def shown(self, part: float, now: float) -> str:
        """Say in a few words how it is."""
        if self.seen is None:
            how = "unknown" if self.error is None else f"unknown: {self.error}"
        elif self.seen.fixed:
            how = "a fixed answer"
        elif self.seen.tree.simplified is NEG:
            how = "no such name"
        else:
            how = f"{self.level.healthy} of {self.level.whole} healthy"
            if self.level.healthy < self.level.needed:
                how += f", needs {self.level.needed}"
        if self.level.due is not None:
            how += f", back in {max(0.0, self.level.due - now):.0f} s"
        return f"{self.dst} {part:.0%} ({how})"


class Tiered(Live[NameTree[Bound]]):
    """The tree of one name: that of the first tier which is well, or shares of several.

    If no tier is well, all that has endpoints is used, in proportion. If no tier knows the name it is negative.
    """

    __slots__ = (
        "_changed_at",
        "_changes",
        "_clock",
        "_common",
        "_name",
        "_opened",
        "_path",
        "_ready",
        "_tiers",
        "_timer",
    )

    def __init__(self, name: Path, path: Path, tiers: Sequence[Tier], common: Surroundings) -> None:
        super().__init__()
        self._name = name
        self._path = path
        self._common = common
        self._tiers = [_Watched(tier, path) for tier in tiers]
        self._clock: Clock | None = None
        self._timer: Handle | None = None
        self._opened = 0.0
        self._ready = False
        self._changes = 0
        self._changed_at: datetime | None = None

    def _open(self) -> None:
        self._clock = self._common.clock()
        self._opened = self._clock.time()
        # What was decided long ago may not be told as if it were decided now.
        self._publish(PENDING)
        self._tiers = [_Watched(Tier(tier.dst, tier.level.judgement), self._path) for tier in self._tiers]
        with self._common.opening:
            for tier in self._tiers:
                tree = self._common.interpret(tier.path)
                tier.watch = tree.flat_map(_look).observe(partial(self._told, tier))
        self._ready = True
        self.decide()

    def _shut(self) -> None:
        self._ready = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for tier in self._tiers:
            if tier.watch is not None:
                tier.watch.close()
                tier.watch = None

    def _told(self, tier: _Watched, state: State[Seen]) -> None:
        if isinstance(state, Ok):
            tier.seen, tier.error = state.value, None
        elif isinstance(state, Failed):
            # What was known of it before is used until it is known again.
            tier.error = state.error
        if self._ready:
            self.decide()

    def decide(self) -> None:
        """Judge all tiers anew, and tell if that makes another tree."""
        clock = self._clock
        if clock is None or not self._ready:
            return
        now = clock.time()
        patient = now < self._opened + self._common.patience
        unknown = [tier for tier in self._tiers if tier.seen is None]
        if len(unknown) == len(self._tiers):
            # Nothing is judged yet: the first that is known shall not have to come back.
            self._wake(clock, now)
            if not patient or all(tier.error is not None for tier in self._tiers):
                self._settle([0] * len(self._tiers), self._nothing(), now)
            return
        levels = [0 if patient and tier.seen is None else tier.judge(self._common.ejected, now) for tier in self._tiers]
        self._wake(clock, now)
        parts = divide(levels)
        taken = 0
        for tier, part in zip(self._tiers, parts, strict=True):
            if taken == FULL:
                break
            if patient and tier in unknown:
                # It may be well, and it comes before those that are.
                return
            taken += part
        if taken == 0:
            parts = self._last_resort()
        if taken == 0 and not any(parts):
            self._settle([0] * len(parts), self._nothing(), now)
            return
        trees = [(part, tier.seen.tree) for tier, part in zip(self._tiers, parts, strict=True) if part and tier.seen]
        tree = trees[0][1] if len(trees) == 1 else Union(tuple(Weighted(float(part), tree) for part, tree in trees))
        self._settle(parts, Ok(tree), now)

    def _last_resort(self) -> list[int]:
        healthy = [tier.healthy(self._common.ejected) for tier in self._tiers]
        return healthy if any(healthy) else [tier.known for tier in self._tiers]

    def _nothing(self) -> State[NameTree[Bound]]:
        """Give what a name without any endpoint comes to."""
        known = [tier.seen.tree for tier in self._tiers if tier.seen is not None]
        for tree in known:
            if tree.simplified is not NEG:
                return Ok(tree)
        errors = [tier.error for tier in self._tiers if tier.error is not None]
        if len(known) == len(self._tiers):
            return Ok(NEG)
        # A tier that is not known may have it: that it does not is not to be told.
        return Failed(errors[0]) if errors else PENDING

    def _settle(self, parts: list[int], state: State[NameTree[Bound]], now: float) -> None:
        before = [tier.part for tier in self._tiers]
        for tier, part in zip(self._tiers, parts, strict=True):
            tier.part = part
        first = isinstance(self._state, Pending) and not any(before)
        usual = first and not (self._common.logged.first and any(parts[1:]))
        if before != parts and not usual:
            if not first:
                self._changes += 1
            _log.log(self._common.logged.level(now), "%s: %s", self._name, self.verdict())
        if before != parts:
            self._changed_at = datetime.now(UTC)
        self._publish(state)

    def _wake(self, clock: Clock, now: float) -> None:
        moments = [tier.level.due for tier in self._tiers if tier.level.due is not None]
        end = self._opened + self._common.patience
        if now < end < math.inf and any(tier.seen is None for tier in self._tiers):
            moments.append(end)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = clock.call_at(min(moments), self.decide) if moments else None

    # ── Shown ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def verdict(self) -> str:
        """Say in a line which tiers are used, and why."""
        now = self._clock.time() if self._clock is not None else 0.0
        total = sum(tier.part for tier in self._tiers) or 1
        return "; ".join(tier.shown(tier.part / total, now) for tier in self._tiers)

    def shown(self) -> dict[str, Any]:
        """Give JSON values."""
        now = self._clock.time() if self._clock is not None else 0.0
        total = sum(tier.part for tier in self._tiers) or 1
        return {
            "verdict": self.verdict(),
            "lastChangedAt": None if self._changed_at is None else self._changed_at.isoformat(timespec="milliseconds"),
            "changes": self._changes,
            "tiers": [
                {
                    "dst": str(tier.dst),
                    "share": tier.part / total,
                    "mayTake": 1.0 if tier.seen and tier.seen.fixed else (tier.level.level or 0) / FULL,
                    "known": tier.known if tier.seen is not None else None,
                    "healthy": tier.healthy(self._common.ejected) if tier.seen is not None else None,
                    "needed": tier.level.needed,
                    "expected": tier.level.whole,
                    "restoresInMs": None if tier.level.due is None else max(0, round((tier.level.due - now) * 1000)),
                    "error": None if tier.error is None else str(tier.error),
                }
                for tier in self._tiers
            ],
        }


def _look(tree: NameTree[Bound]) -> Live[Seen]:
    """Follow a tree's endpoints; pending as long as nothing is known of any."""
    leaves = list({bound.id: bound for bound in tree.leaves()}.values())
    addresses = Live.join([bound.addresses.stabilize() for bound in leaves])
    return addresses.flat_map(lambda states: _seen(tree, leaves, states))


def _seen(tree: NameTree[Bound], leaves: list[Bound], states: tuple[State[Addresses], ...]) -> Live[Seen]:
    found = [state.value for state in states if isinstance(state, Ok)]
    if leaves and not found:
        failure = next((state for state in states if isinstance(state, Failed)), None)
        return Live() if failure is None else Live.failed(failure.error)
    endpoints = tuple(
        (bound.id, len(state.value.addresses))
        for bound, state in zip(leaves, states, strict=True)
        if isinstance(state, Ok) and isinstance(state.value, AddressSet)
    )
    return Live.ok(Seen(tree, endpoints, any(isinstance(one, LocalStatus) for one in found)))
