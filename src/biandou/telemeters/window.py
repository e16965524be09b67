"""What was measured in the last minute (reference/linker.md §8.2).

Whoever measures ends the windows when it is told to; before the first end a distribution has nothing to show. The
engine's come in its tally, Python's own are of `registry.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 60.0

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)
"""What every exporter shows besides the smallest and the largest value."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One window of a distribution, cut to whole numbers except `average`; `percentiles` are those of `QUANTILES`."""

    count: int
    sum: int
    average: float
    least: int
    most: int
    percentiles: tuple[int, ...]


def summarize(buckets: Sequence[tuple[float, int]], total: float) -> Summary | None:
    """Give the summary of (value, count), values rising, whose sum is `total`; `None` without values."""
    count = sum(count for _, count in buckets)
    if count == 0:
        return None
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
