"""Distributions over the last minute: the difference of two snapshots (reference/linker.md §8.2).

Everything counts from its beginning; a snapshot a minute makes of that what the last minute was. Before the first
snapshot a distribution has nothing to show.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from biandou.telemeters.model import Distribution, Scopes

WINDOW_SECONDS: Final = 60.0

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)
"""What every exporter shows besides the smallest and the largest value."""

Key: TypeAlias = tuple[tuple[str, ...], str]
"""The scope and the name of a distribution."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One window of a distribution, cut to whole numbers except `average`; `percentiles` are those of `QUANTILES`."""

    count: int
    sum: int = 0
    average: float = 0.0
    least: int = 0
    most: int = 0
    percentiles: tuple[int, ...] = (0,) * len(QUANTILES)


NOTHING: Final = Summary(0)


@dataclass(frozen=True, slots=True)
class _Total:
    """A distribution at the time of a snapshot; arrays, since a linker has thousands."""

    count: int
    sum: float
    values: array[float]
    counts: array[int]


class Windows:
    """The last window of every distribution."""

    def __init__(self) -> None:
        self._totals: dict[Key, _Total] = {}
        self._summaries: dict[Key, Summary] = {}

    def take(self, scopes: Scopes) -> None:
        """Take a snapshot: what came since the last one is the window from now on."""
        for _ in self.taking(scopes):
            pass

    def taking(self, scopes: Scopes) -> Iterator[None]:
        """Take a snapshot in small steps, so that other work can be done in between; it counts after the last."""
        totals: dict[Key, _Total] = {}
        summaries: dict[Key, Summary] = {}
        for metrics in scopes:
            scope = tuple(metrics.scope)
            for name in metrics.stats:
                key = scope, name
                totals[key] = _total(metrics.stat(name))
                summaries[key] = _difference(totals[key], self._totals.get(key))
            yield
        self._totals, self._summaries = totals, summaries

    def get(self, scope: tuple[str, ...], name: str) -> Summary | None:
        """Give the last window of a distribution, `None` before its first snapshot."""
        return self._summaries.get((scope, name))


def _total(stat: Distribution) -> _Total:
    values = array("f", [value for value, _ in stat.buckets])
    counts = array("I" if stat.count < 2**32 else "Q", [count for _, count in stat.buckets])
    return _Total(stat.count, stat.sum, values, counts)


def _difference(now: _Total, before: _Total | None) -> Summary:
    if before is None or now.count < before.count:
        # New, or forgotten in between and begun again.
        return summarize(list(zip(now.values, now.counts, strict=True)), now.sum)
    former = dict(zip(before.values, before.counts, strict=True))
    buckets = []
    for value, count in zip(now.values, now.counts, strict=True):
        added = count - former.get(value, 0)
        if added > 0:
            buckets.append((value, added))
    return summarize(buckets, now.sum - before.sum)


def summarize(buckets: Sequence[tuple[float, int]], total: float) -> Summary:
    """Give the summary of (value, count), values rising, whose sum is `total`."""
    count = sum(count for _, count in buckets)
    if count == 0:
        return NOTHING
    percentiles: list[int] = []
    passed = 0
    wanted = [max(1, math.ceil(quantile * count)) for quantile in QUANTILES]
    for value, here in buckets:
        passed += here
        while len(percentiles) < len(wanted) and passed >= wanted[len(percentiles)]:
            percentiles.append(int(value))
    return Summary(
        count=count,
        sum=int(total),
        average=total / count,
        least=int(buckets[0][0]),
        most=int(buckets[-1][0]),
        percentiles=tuple(percentiles),
    )
