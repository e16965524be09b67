"""⑤ Load balancing: which endpoint gets a request. The engine runs these kinds; here they are only declared."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.kinds import Kind


class BalancerKind(Kind, frozen=True, kw_only=True):
    """The key that all balancers have (reference/linker.md §2.8).

    With `enableProbation`, an endpoint that discovery has removed is kept until it fails.
    """

    enable_probation: bool = False


Effort = Annotated[int, Meta(ge=1, le=1000)]
"""How often to pick again while the picked endpoint is not fit to serve."""


class P2cBalancer(BalancerKind, frozen=True, kw_only=True, tag="p2c"):
    """Of two endpoints at random, the one with fewer requests under way."""

    max_effort: Effort = 5


class EwmaBalancer(BalancerKind, frozen=True, kw_only=True, tag="ewma"):
    """Of two endpoints at random, the one whose peak latency, averaged over `decayTimeMs`, times its load is less."""

    max_effort: Effort = 5
    decay_time_ms: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 10_000


class ApertureBalancer(BalancerKind, frozen=True, kw_only=True, tag="aperture"):
    """As `p2c`, among as few endpoints as keep the load of each, smoothed, between `lowLoad` and `highLoad`."""

    smooth_window_ms: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 5000
    max_effort: Effort = 5
    low_load: Annotated[float, Meta(ge=0, le=1e6)] = 0.5
    high_load: Annotated[float, Meta(gt=0, le=1e6)] = 2.0
    min_aperture: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1

    def __post_init__(self) -> None:
        """Raise `ValueError` unless lowLoad < highLoad."""
        if self.low_load >= self.high_load:
            raise ValueError(f"lowLoad must be below highLoad, found {self.low_load} and {self.high_load}")


class HeapBalancer(BalancerKind, frozen=True, kw_only=True, tag="heap"):
    """The endpoint with the fewest requests under way."""


class RoundRobinBalancer(BalancerKind, frozen=True, kw_only=True, tag="roundRobin"):
    """Each endpoint in its turn."""

    max_effort: Effort = 5
