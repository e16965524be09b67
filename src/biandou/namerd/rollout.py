"""A dtab that some linkers try before all get it, as a state machine: a canary of the configuration.

It knows no clock, store or network: times and counts come in, and the next state comes out. The namespace keeps its
dtab until the trial went well, so that to withdraw is to do nothing.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from biandou.dtab import Dtab
from biandou.namerd.canary import Counts
from biandou.stores.interface import NO_REMARK, Remark, Version

PLACES: Final = 2**32
MEASURE_SECONDS: Final = 10.0
"""For so long at most it is measured how the linkers do before they try anything."""

NO_COUNTS: Final = Counts()
DEVIATIONS: Final = 3.0
"""A rise that chance alone would bring more seldom than three standard deviations counts."""


class Phase(enum.StrEnum):
    """Where a rollout is; the words are those that callers see."""

    MEASURING = "measuring"
    TRYING = "trying"
    APPLYING = "applying"
    APPLIED = "applied"
    WITHDRAWN = "withdrawn"
    ABORTED = "aborted"

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return self in (Phase.APPLIED, Phase.WITHDRAWN, Phase.ABORTED)

    @property
    def tried(self) -> bool:
        """Whether the chosen linkers go by the new dtab."""
        return self in (Phase.TRYING, Phase.APPLYING)


@dataclass(frozen=True, slots=True)
class Terms:
    """What was asked for: `share` of the linkers and `max_error_rise` in 0..1, `seconds` until it goes to all.

    No trial is judged before the chosen linkers have had `min_requests`. Raises `ValueError`.
    """

    share: float
    seconds: float = 300.0
    max_error_rise: float = 0.01
    min_requests: int = 100

    def __post_init__(self) -> None:
        """Raise `ValueError` for what makes no trial."""
        if not 0 < self.share < 1:
            raise ValueError("a dtab is tried by more than 0 and less than 100 percent of the linkers")
        if not 0.1 <= self.seconds <= 7 * 86400:
            raise ValueError("a trial has 0.1 seconds to 7 days")
        if not 0 <= self.max_error_rise <= 1:
            raise ValueError("a rise of the error rate is between 0 and 100 percent")
        if not 1 <= self.min_requests <= 10**9:
            raise ValueError("at least one request is needed to judge")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout under way: `dtab` shall replace that of the version `base`.

    A linker tries it if its place is below `below`. `since` is when the phase began, in the driver's seconds; `before`
    is what the chosen linkers did while it was measured.
    """

    name: str
    dtab: Dtab
    base: Version
    terms: Terms
    remark: Remark = NO_REMARK
    phase: Phase = Phase.MEASURING
    reason: str = ""
    since: float = 0.0
    below: int = 0
    before: Counts = NO_COUNTS

    @property
    def measured(self) -> float:
        """For how many seconds it is measured before the trial."""
        return min(MEASURE_SECONDS, self.terms.seconds / 5)


def place(name: str, token: str) -> int:
    """Give where a linker stands in the order in which they try the rollout `name`."""
    return int.from_bytes(hashlib.sha256(f"{name}/{token}".encode()).digest()[:4], "big")


def tries(rollout: Rollout, token: str) -> bool:
    """Whether a linker is chosen."""
    return place(rollout.name, token) < rollout.below


def choose(rollout: Rollout, tokens: Iterable[str]) -> Rollout:
    """Choose a share of these linkers: one at least, and not all of several."""
    places = sorted(place(rollout.name, token) for token in tokens)
    if not places:
        return replace(rollout, below=0)
    count = max(1, min(math.ceil(rollout.terms.share * len(places)), len(places) - 1))
    return replace(rollout, below=places[count - 1] + 1)


def judge(rollout: Rollout, chosen: Counts, others: Counts, now: float) -> Rollout:
    """Give what follows from what the linkers did since the phase began: the same, the next phase, or the end."""
    terms = rollout.terms
    passed = now - rollout.since
    if rollout.phase is Phase.MEASURING and passed >= rollout.measured:
        return replace(rollout, phase=Phase.TRYING, reason="", since=now, before=chosen)
    if rollout.phase is not Phase.TRYING:
        return rollout
    if chosen.requests >= terms.min_requests:
        # What others suffer now, or these suffered before, is not the new dtab's doing.
        fair = max(_rate(others, terms), _rate(rollout.before, terms))
        if chosen.error_rate > fair + terms.max_error_rise and _beyond_chance(chosen, fair):
            return withdraw(
                rollout,
                f"{_percent(chosen.error_rate)} of {chosen.requests} requests failed where it was tried "
                f"(before: {_percent(rollout.before.error_rate)} of {rollout.before.requests}; "
                f"elsewhere: {_percent(others.error_rate)} of {others.requests})",
            )
    if passed < terms.seconds:
        return replace(rollout, reason="")
    if chosen.requests < terms.min_requests:
        return replace(rollout, reason=f"held: {chosen.requests} of {terms.min_requests} requests to judge by")
    return apply(rollout, "the trial went well")


def withdraw(rollout: Rollout, reason: str) -> Rollout:
    """End it: the dtab stays what it was."""
    return replace(rollout, phase=Phase.WITHDRAWN, reason=reason)


def apply(rollout: Rollout, reason: str) -> Rollout:
    """Let all have it; raises `ValueError` if it is over."""
    _check_open(rollout)
    return replace(rollout, phase=Phase.APPLYING, reason=reason)


def applied(rollout: Rollout) -> Rollout:
    """Take in that the namespace has the dtab."""
    return replace(rollout, phase=Phase.APPLIED)


def abort(rollout: Rollout, reason: str) -> Rollout:
    """End it on request: the dtab stays what it was. Raises `ValueError` if it is over, or all get it already."""
    _check_open(rollout)
    if rollout.phase is Phase.APPLYING:
        raise ValueError("all linkers get the dtab already")
    return replace(rollout, phase=Phase.ABORTED, reason=reason)


def _check_open(rollout: Rollout) -> None:
    if rollout.phase.over:
        raise ValueError(f"the rollout is over: {rollout.phase}")


def _rate(counts: Counts, terms: Terms) -> float:
    return counts.error_rate if counts.requests >= terms.min_requests else 0.0


def _beyond_chance(chosen: Counts, fair: float) -> bool:
    expected = chosen.requests * fair
    return chosen.failures - expected > DEVIATIONS * math.sqrt(expected * (1 - fair))


def _percent(rate: float) -> str:
    return f"{rate * 100:.4g}%"
