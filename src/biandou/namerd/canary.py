"""A canary release as a state machine: weight moves from one version to another, step by step, as their counts allow.

It knows no clock, store or network: times and counts come in, and the next state comes out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from biandou.dtab import Dentry, Dtab, NameTree, Path, Prefix, Union
from biandou.dtab.tree import Weighted

WHOLE: Final = 100
"""The weight at which the new version has all traffic."""


class Status(enum.StrEnum):
    """Where a canary is; the words are those that callers see."""

    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return self in (Status.PROMOTED, Status.ROLLED_BACK, Status.ABORTED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for: `steps` are the new version's percents, `interval` is in seconds, `max_error_rate` in 0..1.

    No step is judged before the new version has had `min_requests` in it. Raises `ValueError`.
    """

    path: Path
    old: NameTree[Path]
    new: NameTree[Path]
    steps: tuple[int, ...] = (1, 5, 25, 50, 100)
    interval: float = 30.0
    max_error_rate: float = 0.01
    max_p99_ratio: float | None = 1.2
    min_requests: int = 100

    def __post_init__(self) -> None:
        """Raise `ValueError` for what makes no canary."""
        if len(self.path) == 0:
            raise ValueError("the path of a canary is not empty")
        if self.old == self.new:
            raise ValueError("the versions are the same")
        if not self.steps or list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps are percents, each greater than the one before")
        if not 0 < self.steps[0] <= self.steps[-1] == WHOLE:
            raise ValueError("steps begin above 0 and end with 100")
        if not 0.1 <= self.interval <= 7 * 86400:
            raise ValueError("an interval has 0.1 seconds to 7 days")
        if not 0 <= self.max_error_rate <= 1:
            raise ValueError("an error rate is between 0 and 100 percent")
        if self.max_p99_ratio is not None and not 0 < self.max_p99_ratio <= 1e6:
            raise ValueError("a ratio of latencies is above 0")
        if not 1 <= self.min_requests <= 10**9:
            raise ValueError("at least one request is needed to judge")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one version did since the step began; `p99` in milliseconds if it is known."""

    requests: int = 0
    failures: int = 0
    p99: float | None = None

    @property
    def error_rate(self) -> float:
        """The share of requests that failed, 0 without requests."""
        return self.failures / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Canary:
    """A release under way: `before` is the dtab that an abort restores.

    `weight` is the new version's percent that the dtab is known to have, `wanted` the one that it shall have: they
    differ only until the dtab has been changed, and whoever takes over from a namerd that died changes it then.
    `step` is the place in the plan's steps, `since` when it began, in the driver's seconds.
    """

    plan: Plan
    before: Dtab
    status: Status = Status.RUNNING
    reason: str = ""
    step: int = 0
    since: float = 0.0
    weight: int = 0
    wanted: int = 0

    @property
    def percent(self) -> int:
        """What the present step gives to the new version."""
        return self.plan.steps[self.step]


def begin(plan: Plan, before: Dtab, now: float) -> Canary:
    """Give a canary that wants its first step."""
    first = plan.steps[0]
    return Canary(plan, before, since=now, wanted=first, reason=f"step 1 of {len(plan.steps)}")


def dtab_at(canary: Canary, weight: int) -> Dtab:
    """Give the dtab with this percent for the new version; at 0 it is exactly the one before.

    The last dentry of exactly this prefix is changed, for it has precedence; without one there is a new last one.
    """
    if weight == 0:
        return canary.before
    plan = canary.plan
    prefix = Prefix(plan.path.segments)
    dst = plan.new
    if weight < WHOLE:
        dst = Union((Weighted(float(WHOLE - weight), plan.old), Weighted(float(weight), plan.new)))
    dentries = list(canary.before)
    places = [place for place, dentry in enumerate(dentries) if dentry.prefix == prefix]
    if places:
        dentries[places[-1]] = Dentry(prefix, dst)
    else:
        dentries.append(Dentry(prefix, dst))
    return Dtab(dentries)


def changed(canary: Canary, now: float) -> Canary:
    """Take in that the dtab has the weight that was wanted: the step begins."""
    return replace(canary, weight=canary.wanted, since=now)


def judge(canary: Canary, old: Counts, new: Counts, now: float) -> Canary:
    """Give what follows from what both versions did in this step: the same, the next step, or the end.

    Too many errors end it as soon as there are enough requests to tell; latencies are compared when the interval is
    over, and not at all without requests to both. Too few requests hold the step for as long as it takes.
    """
    plan = canary.plan
    if canary.status is not Status.RUNNING or canary.wanted != canary.weight:
        return canary
    if new.requests >= plan.min_requests and new.error_rate > plan.max_error_rate:
        told = (
            f"{_percent(new.error_rate)} of {new.requests} requests failed, more than {_percent(plan.max_error_rate)}"
        )
        return roll_back(canary, f"{told} (before: {_percent(old.error_rate)} of {old.requests})")
    step = f"step {canary.step + 1} of {len(plan.steps)}"
    if now - canary.since < plan.interval:
        return replace(canary, reason=step)
    if new.requests < plan.min_requests:
        return replace(canary, reason=f"{step} is held: {new.requests} of {plan.min_requests} requests to judge by")
    ratio = _ratio(plan, old, new)
    if plan.max_p99_ratio is not None and ratio is not None and ratio > plan.max_p99_ratio:
        told = f"the 99th percentile is {new.p99:g} ms against {old.p99:g} ms"
        return roll_back(canary, f"{told}, {ratio:.2f} times and more than {plan.max_p99_ratio:g} times")
    if canary.step + 1 == len(plan.steps):
        return replace(canary, status=Status.PROMOTED, reason="every step went well")
    step = f"step {canary.step + 2} of {len(plan.steps)}"
    return replace(canary, step=canary.step + 1, wanted=plan.steps[canary.step + 1], since=now, reason=step)


def roll_back(canary: Canary, reason: str) -> Canary:
    """End it with the dtab that was before."""
    return replace(canary, status=Status.ROLLED_BACK, wanted=0, reason=reason)


def pause(canary: Canary, reason: str) -> Canary:
    """Keep the weight as it is; raises `ValueError` if it is over."""
    _check_open(canary)
    return replace(canary, status=Status.PAUSED, reason=reason)


def resume(canary: Canary, now: float) -> Canary:
    """Go on with the step, from its beginning; raises `ValueError` unless it is paused."""
    if canary.status is not Status.PAUSED:
        raise ValueError(f"the canary is {canary.status}, not paused")
    reason = f"step {canary.step + 1} of {len(canary.plan.steps)}"
    return replace(canary, status=Status.RUNNING, wanted=canary.percent, since=now, reason=reason)


def promote(canary: Canary, reason: str) -> Canary:
    """Give everything to the new version at once; raises `ValueError` if it is over."""
    _check_open(canary)
    return replace(canary, status=Status.PROMOTED, step=len(canary.plan.steps) - 1, wanted=WHOLE, reason=reason)


def abort(canary: Canary, reason: str) -> Canary:
    """End it with the dtab that was before; raises `ValueError` if it is over."""
    _check_open(canary)
    return replace(canary, status=Status.ABORTED, wanted=0, reason=reason)


def abandon(canary: Canary, reason: str) -> Canary:
    """End it and leave the dtab as it is; raises `ValueError` if it is over."""
    _check_open(canary)
    return replace(canary, status=Status.ABORTED, wanted=canary.weight, reason=reason)


def foreign(canary: Canary) -> Canary:
    """Stop where it is, for somebody else has changed the dtab: undoing that would be for nobody to guess."""
    reason = "the dtab was changed by somebody else; put it back and resume, or abort and keep it"
    return replace(canary, status=Status.PAUSED, wanted=canary.weight, reason=reason)


def _check_open(canary: Canary) -> None:
    if canary.status.over:
        raise ValueError(f"the canary is over: {canary.status}")


def _ratio(plan: Plan, old: Counts, new: Counts) -> float | None:
    if old.requests < plan.min_requests or not old.p99 or new.p99 is None:
        return None
    return new.p99 / old.p99


def _percent(rate: float) -> str:
    return f"{rate * 100:.4g}%"
