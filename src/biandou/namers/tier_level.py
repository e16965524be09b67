"""How much of the requests one tier may take, by how many of its endpoints are healthy: down at once, up late.

Pure, with the time handed in. A tier that is well takes all; one with fewer healthy endpoints than it should have
takes none; between the two, with a `spill_over`, it takes what it can carry. What it may take never exceeds what its
health allows, and rises only after the better health has lasted, so that it can't flap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FULL: Final = 20
"""The level of a tier that may take all requests; levels are whole, so that small changes make no other tree."""

PEAK_SECONDS: Final = 3600.0
"""For at least so long, and at most twice as long, the largest number of endpoints is remembered."""

MAX_PATIENCE: Final = 8
"""A tier that falls again soon after it rose waits twice as long the next time, up to so many times as long."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of endpoints, or a share of all there should be."""

    count: int = 0
    share: float = 0.0

    def of(self, whole: int) -> int:
        """Give the number, at least one."""
        return max(1, self.count, math.ceil(self.share * whole - 1e-9))

    def __str__(self) -> str:
        return f"{self.share * 100:g}%" if self.share else str(self.count)


def read_amount(text: str) -> Amount:
    """Read `2` or `30%`; raises `ValueError` for anything else."""
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 6 and int(digits) > 0):
        raise ValueError(f"`{text}` is neither a number of endpoints, from 1 on, nor a share such as 30%")
    if not text.endswith("%"):
        return Amount(count=int(digits))
    if int(digits) > 100:
        raise ValueError(f"`{text}` is more than all endpoints")
    return Amount(share=int(digits) / 100)


def read_share(text: str) -> float:
    """Read `70%`; raises `ValueError` for anything else."""
    try:
        share = read_amount(text).share
    except ValueError:
        share = 0.0
    if not share:
        raise ValueError(f"`{text}` is no share from 1% to 100%, such as 70%")
    return share


@dataclass(frozen=True, slots=True)
class Judgement:
    """When a tier falls and rises. `restore` is what it needs to rise from nothing; times are seconds."""

    least: Amount = Amount(count=1)
    restore: Amount = Amount(count=1)
    spill_over: float | None = None
    restore_after: float = 30.0
    expected: int | None = None


class TierLevel:
    """One tier's level; `judge` at every change and when `due` has come."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        self.level: int | None = None
        """0 to `FULL`; `None` before the first judgement, which needs no patience."""
        self.due: float | None = None
        """When it rises if nothing gets worse meanwhile."""
        self.healthy = 0
        self._peak = _Peak()
        self._better = 0
        self._wait = judgement.restore_after
        self._rose: float | None = None

    @property
    def whole(self) -> int:
        """How many endpoints there should be."""
        return self.judgement.expected or self._peak.value

    @property
    def needed(self) -> int:
        """How many healthy ones it needs to take part."""
        least = self.judgement.least.of(self.whole)
        # With less than that it would fall again at once.
        return max(least, self.judgement.restore.of(self.whole)) if self.level == 0 else least

    def judge(self, known: int, healthy: int, now: float) -> bool:
        """Take in how many endpoints there are, and how many of them are healthy; says whether the level changed."""
        # What a tier that is down has lost is no measure of what it should have.
        self._peak.see(known, now, forget=self.level != 0)
        self.healthy = healthy
        allowed = self._allowed(healthy)
        former = self.level
        if self.level is None or allowed < self.level:
            if self._rose is not None:
                relapsed = now - self._rose < self._wait
                most = MAX_PATIENCE * self.judgement.restore_after
                self._wait = min(self._wait * 2, most) if relapsed else self.judgement.restore_after
            self.level, self.due, self._rose = allowed, None, None
        elif allowed == self.level:
            self.due = None
        else:
            self._rise(allowed, now)
        return self.level != former

    def _rise(self, allowed: int, now: float) -> None:
        if self.due is None:
            self.due, self._better = now + self._wait, allowed
            if self._wait > 0:
                return
        self._better = min(self._better, allowed)
        if now >= self.due:
            self.level, self.due, self._rose = self._better, None, now
            if allowed > self._better:
                self.due, self._better = now + self._wait, allowed

    def _allowed(self, healthy: int) -> int:
        if healthy < self.needed:
            return 0
        spill_over = self.judgement.spill_over
        if spill_over is None:
            return FULL
        return max(1, min(FULL, math.floor(FULL * healthy / (spill_over * max(1, self.whole)) + 1e-9)))


class _Peak:
    """The largest number that was seen of late."""

    def __init__(self) -> None:
        self._began = -math.inf
        self._latest = self._former = 0

    @property
    def value(self) -> int:
        return max(self._latest, self._former)

    def see(self, number: int, now: float, *, forget: bool) -> None:
        if forget and now - self._began >= PEAK_SECONDS:
            self._former, self._latest, self._began = self._latest, 0, now
        self._latest = max(self._latest, number)


def divide(levels: list[int]) -> list[int]:
    """Give each tier's part of `FULL`, in their order: each takes what it may of what those before it leave.

    If all of them together may take less than everything, they take everything in that proportion: the parts add up
    to less than `FULL`. They are all 0 if no tier may take anything.
    """
    left = FULL
    parts = []
    for level in levels:
        part = min(left, level)
        left -= part
        parts.append(part)
    return parts
