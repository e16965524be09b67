"""The `client` section of a router: what holds towards the endpoints of a client name (reference/linker.md §2.8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from biandou.balancers import BalancerKind
from biandou.config.server import Session, SocketOptions
from biandou.config.values import Count, Percent, PositiveCount, PrefixPattern, Room
from biandou.dtab import Path
from biandou.policies import Budget, ClientTls, FailureAccrualKind, Keys, Milliseconds, RequestAuthorizerKind


class HostConnectionPool(Keys, frozen=True, kw_only=True):
    """Connections per endpoint: `minSize` are kept when idle, those above it for `idleTimeMs`."""

    min_size: Count = 0
    max_size: PositiveCount = 2**31 - 1
    idle_time_ms: Milliseconds | None = None
    max_waiters: Count = 2**31 - 1


class ClientKeys(Keys, frozen=True, kw_only=True):
    """What can be said for some client names or for all; what is not said is `None` and takes the default."""

    tls: ClientTls | None = None
    load_balancer: Annotated[BalancerKind | None, Room("balancers")] = None
    host_connection_pool: HostConnectionPool | None = None
    fail_fast: bool | None = None
    failure_accrual: Annotated[FailureAccrualKind | None, Room("failure accruals")] = None
    request_attempt_timeout_ms: Milliseconds | None = None
    requeue_budget: Budget | None = None
    client_session: Session | None = None
    socket_options: SocketOptions | None = None
    forward_client_cert: bool | None = None
    request_authorizers: tuple[Annotated[RequestAuthorizerKind, Room("request authorizers")], ...] | None = None
    connect_timeout_ms: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    max_ejected_percent: Percent | None = None
    panic_threshold_percent: Percent | None = None
    warm_up_ms: Milliseconds | None = None


class GlobalClient(ClientKeys, frozen=True, kw_only=True, tag_field="kind", tag="io.l5d.global"):
    """The same for every client name."""

    def applying(self, _client: Path | None) -> Iterator[ClientKeys]:
        """Give itself."""
        yield self


class PrefixedClient(ClientKeys, frozen=True, kw_only=True):
    """What holds for the client names that begin with `prefix`."""

    prefix: PrefixPattern


class StaticClient(Keys, frozen=True, kw_only=True, tag_field="kind", tag="io.l5d.static"):
    """What holds by prefix: all entries that match apply in their order, so the last one has the last word."""

    configs: tuple[PrefixedClient, ...] = ()

    def applying(self, client: Path | None) -> Iterator[ClientKeys]:
        """Give what applies to a client name, captures filled in; one that is no path is matched by `/` alone."""
        return (_filled(keys, client) for keys in self.configs if matches(keys.prefix, client))


def _filled(keys: PrefixedClient, client: Path | None) -> ClientKeys:
    tls = keys.tls
    if tls is None or tls.common_name is None or client is None:
        return keys
    name = keys.prefix.substitute(client, tls.common_name)
    return msgspec.structs.replace(keys, tls=msgspec.structs.replace(tls, common_name=name))


def matches(prefix: PrefixPattern, path: Path | None) -> bool:
    """Whether `prefix` is how `path` begins; what is no path begins with `/` alone."""
    return len(prefix) == 0 if path is None else prefix.match(path) is not None
