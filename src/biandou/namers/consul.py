"""`io.l5d.consul`: services in Consul's catalogue, followed by blocking queries (reference/naming.md §1.4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from biandou.clients.consul_access import Consistency, ConsulPort, Health, check_access
from biandou.clients.tls import ClientTls
from biandou.kinds import Keys
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.consul_services import ConsulNamer


class TagWeight(Keys, frozen=True, kw_only=True):
    """The balancer's weight of instances with a tag."""

    tag: Annotated[str, Meta(min_length=1)]
    weight: float

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the weight is one."""
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"a weight is a number from 0 on, and {self.weight} is not")


class ConsulNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.consul"):
    """Instances that the agent at `host`:`port` knows of; `fixedLengthStreamedAfterKB` bounds its answers."""

    host: str = "localhost"
    port: ConsulPort = 8500
    include_tag: bool = False
    use_health_check: bool = False
    health_statuses: tuple[Health, ...] = ("passing",)
    token: str | None = None
    set_host: bool = False
    consistency_mode: Consistency = "default"
    fail_fast: bool = False
    prefer_service_address: bool = True
    weights: tuple[TagWeight, ...] = ()
    fixed_length_streamed_after_kb: Annotated[int, Meta(ge=1, le=2**20)] = msgspec.field(
        default=64 * 1024, name="fixedLengthStreamedAfterKB"
    )
    tls: ClientTls | None = None
    transfer_metadata: bool = False
    max_blocking_queries: Annotated[int, Meta(ge=1, le=100_000)] = 150

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Consul, or lets no instance through."""
        super().__post_init__()
        check_access(self.host, self.token)
        if not self.health_statuses:
            raise ValueError("healthStatuses names one status at least")

    def namer(self) -> ConsulNamer:
        """Make the namer; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.consul import consul_at  # noqa: PLC0415
        from biandou.namers.consul_services import ConsulNamer  # noqa: PLC0415

        bound = self.fixed_length_streamed_after_kb * 1024
        consul = consul_at(self.host, self.port, self.token, self.tls, fail_fast=self.fail_fast, max_answer=bound)
        return ConsulNamer(self, consul)
