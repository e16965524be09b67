"""`rateLimit`, which Linkerd has not: requests a second of all callers together, or of each value of a header."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from biandou.config.plan import RateLimitPlan
from biandou.identifiers.http import HeaderName
from biandou.policies import Keys


class RateLimit(Keys, frozen=True, kw_only=True):
    """A token bucket: it fills with `requestsPerSecond` and holds `burst`, which is one second's worth unless said.

    With `byHeader` each value of that header has a bucket of its own.
    """

    requests_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)]
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    by_header: HeaderName | None = None

    @property
    def plan(self) -> RateLimitPlan:
        """What the engine is told."""
        return RateLimitPlan(
            requests_per_second=self.requests_per_second,
            burst=self.burst or max(1, math.ceil(self.requests_per_second)),
            by_header=self.by_header,
        )
