"""The `service` section of a router: what holds for a service name (reference/linker.md §2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from biandou.config.client import matches
from biandou.config.rate_limit import RateLimit
from biandou.config.values import PrefixPattern, Room
from biandou.dtab import Path
from biandou.policies import Keys, ResponseClassifierKind, Retries


class ServiceKeys(Keys, frozen=True, kw_only=True):
    """What can be said for some service names or for all; what is not said is `None` and takes the default.

    `totalTimeoutMs` of zero or less is no limit.
    """

    total_timeout_ms: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    retries: Retries | None = None
    rate_limit: RateLimit | None = None
    response_classifier: Annotated[ResponseClassifierKind | None, Room("response classifiers")] = None


class GlobalService(ServiceKeys, frozen=True, kw_only=True, tag_field="kind", tag="io.l5d.global"):
    """The same for every service name."""

    @property
    def entries(self) -> tuple[ServiceKeys, ...]:
        """Give itself."""
        return (self,)

    def applying(self, _service: Path | None) -> Iterator[ServiceKeys]:
        """Give itself."""
        yield self


class PrefixedService(ServiceKeys, frozen=True, kw_only=True):
    """What holds for the service names that begin with `prefix`."""

    prefix: PrefixPattern


class StaticService(Keys, frozen=True, kw_only=True, tag_field="kind", tag="io.l5d.static"):
    """What holds by prefix: all entries that match apply in their order, so the last one has the last word."""

    configs: tuple[PrefixedService, ...] = ()

    @property
    def entries(self) -> tuple[ServiceKeys, ...]:
        """Give all, whatever they apply to."""
        return self.configs

    def applying(self, service: Path | None) -> Iterator[ServiceKeys]:
        """Give what applies to a service name."""
        return (keys for keys in self.configs if matches(keys.prefix, service))
