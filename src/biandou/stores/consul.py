"""`io.l5d.consul`: dtabs in Consul, a key each, shared by several namerds (reference/naming.md §4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biandou.clients.backoff import Backoff, retry_of
from biandou.clients.consul_access import Consistency, ConsulPort, check_access, check_prefix
from biandou.clients.retry import Retry
from biandou.clients.tls import ClientTls
from biandou.stores.chronicle import DEFAULT_SIZE, HistorySize
from biandou.stores.interface import StoreKind

if TYPE_CHECKING:
    from biandou.stores.consul_keys import ConsulStore


class ConsulStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.l5d.consul"):
    """Dtabs below `pathPrefix` in a datacentre's keys, by default the agent's own."""

    host: str = "localhost"
    port: ConsulPort = 8500
    path_prefix: str = "/namerd/dtabs"
    token: str | None = None
    datacenter: str | None = None
    read_consistency_mode: Consistency = "default"
    write_consistency_mode: Consistency = "default"
    fail_fast: bool = False
    backoff: Backoff | None = None
    tls: ClientTls | None = None
    history_size: HistorySize = DEFAULT_SIZE

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Consul."""
        check_access(self.host, self.token)
        check_prefix(self.path_prefix)

    def store(self) -> ConsulStore:
        """Make the store; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and none needs it.
        from biandou.clients.consul import consul_at  # noqa: PLC0415
        from biandou.stores.consul_keys import ConsulStore  # noqa: PLC0415

        consul = consul_at(self.host, self.port, self.token, self.tls, fail_fast=self.fail_fast)
        return ConsulStore(self, consul, retry_of(self.backoff, Retry(0.1, 5.0)))
