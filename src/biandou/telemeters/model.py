"""What was counted, as every exporter reads it: scopes with counters, gauges and distributions.

The engine's tally (`boundary.py`) has this shape, and so has what Python itself counts (`registry.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


class Distribution(Protocol):
    """What was measured since its beginning: `buckets` are (value, count), values rising."""

    @property
    def count(self) -> int:
        """How many values there were."""

    @property
    def sum(self) -> float:
        """Their sum."""

    @property
    def buckets(self) -> Sequence[tuple[float, int]]:
        """How many values there were of about this size."""


class Metrics(Protocol):
    """The metrics of one thing; neither the parts of `scope` nor a metric's name are free of `/`.

    A `/` in a part of `scope` belongs to it (`127.0.0.1/4140`); one in a name separates (`retries/total`).
    """

    @property
    def scope(self) -> Sequence[str]:
        """Whose metrics these are, e.g. `rt`, `http`, `server`, `127.0.0.1/4140`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What only grows."""

    @property
    def gauges(self) -> Mapping[str, float]:
        """What is so now."""

    @property
    def stats(self) -> Collection[str]:
        """The names of what was measured; reading one is work, and only a snapshot does it."""

    def stat(self, name: str) -> Distribution:
        """Give a distribution of `stats`."""


Scopes: TypeAlias = Iterable[Metrics]
ReadScopes: TypeAlias = Callable[[], Scopes]
"""Gives everything that was counted up to now."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A distribution that Python itself has kept."""

    count: int = 0
    sum: float = 0.0
    buckets: Sequence[tuple[float, int]] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """The metrics of one thing that Python itself has counted."""

    scope: Sequence[str]
    counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    stats: Mapping[str, Distribution] = field(default_factory=dict)

    def stat(self, name: str) -> Distribution:
        """Give a distribution of `stats`."""
        return self.stats[name]
