"""`backoff` objects: how an operator says how long to wait before something is tried again (naming.md §10.3)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.clients.retry import Retry
from biandou.kinds import Kind

Milliseconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A time, as Linkerd's 32-bit keys hold it."""


class ConstantBackoff(Kind, frozen=True, kw_only=True, tag="constant"):
    """The same wait each time."""

    ms: Milliseconds = 0


class JitteredBackoff(Kind, frozen=True, kw_only=True, tag="jittered"):
    """First `minMs`, then at random between `minMs` and three times the last wait, `maxMs` at most."""

    min_ms: Milliseconds
    max_ms: Milliseconds

    def __post_init__(self) -> None:
        """Raise `ValueError` unless 0 < minMs ≤ maxMs."""
        if not 0 < self.min_ms <= self.max_ms:
            raise ValueError(f"minMs must be above 0 and not above maxMs, found {self.min_ms} and {self.max_ms}")


Backoff = ConstantBackoff | JitteredBackoff

LEAST_SECONDS = 0.1
"""A registry that fails is asked no more often than this, whatever is written."""


def retry_of(backoff: Backoff | None, otherwise: Retry) -> Retry:
    """Give the waits of a client that asks a registry again: at random, and growing if `jittered`."""
    match backoff:
        case None:
            return otherwise
        case ConstantBackoff(ms=ms):
            return Retry(max(LEAST_SECONDS, ms / 1000), max(LEAST_SECONDS, ms / 1000))
        case JitteredBackoff(min_ms=least, max_ms=most):
            return Retry(max(LEAST_SECONDS, least / 1000), max(LEAST_SECONDS, most / 1000))
