"""What a name means by its records: SRV for services, A and AAAA for hosts.

A name that is not there is negative, so that the next alternative of a dtab is tried; name servers that fail leave what
was known in use. As long as nothing was ever known they mean "no such name", as in the reference.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, Literal

from biandou.clients.name_servers import NameServers, Service
from biandou.clients.registry_access import RETRY, Beat, Instance, read_port
from biandou.clients.registry_http import RegistryError
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import WEIGHT, Bound
from biandou.live import Live
from biandou.namers.polled import Ask, Endpoints, Instances, Polled, Told, in_order, shown_instances, texts

if TYPE_CHECKING:
    from biandou.namers.dns import DnsNamerKind
    from biandou.namers.dnssrv import DnsSrvNamerKind

Tree = NameTree[Path | Bound]
Kinds = tuple[Literal["A", "AAAA"], ...]

TARGETS_AT_ONCE: Final = 16
"""So many targets of a service are asked for at a time."""
MAX_TARGETS: Final = 2000
"""So many records of a name are used; one message holds no more than about 3,000."""
LEAST_SHARE: Final = 0.01
"""What a weight of 0 is beside others: RFC 2782 gives it a very small chance."""

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class SrvNamer:
    """Names of the form `/<srv name>[/<residual>]`; one with a dot at its end is not searched for in domains."""

    def __init__(self, kind: DnsSrvNamerKind, servers: NameServers) -> None:
        self.prefix = kind.full_prefix
        self._use_priority = kind.use_priority
        self._servers = servers
        beat = Beat(kind.refresh_interval_seconds, kind.refresh_interval_seconds / 10, RETRY)
        self._services: Polled[Instances] = Polled(
            servers, self._ask, beat, shown_instances, kind.registry(servers.name), presumed=()
        )
        self._endpoints = Endpoints()
        self._free = asyncio.Semaphore(TARGETS_AT_ONCE)

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while there are records, else a negative tree."""
        names = texts(path, 1)
        if names is None:
            return _NEGATIVE
        name = names[0].lower()
        return self._endpoints.tree(
            self._services.get(name), lambda: self._services.origin(name), self.prefix + path.take(1), path.drop(1)
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._services.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        return f"{self._servers.name}: {_shown(client, self.prefix)}"

    def _ask(self, name: str) -> tuple[str, Ask[Instances]]:
        former: dict[str, tuple[str, ...]] = {}

        async def ask() -> Told[Instances]:
            services = (await self._servers.services(name))[:MAX_TARGETS]
            if self._use_priority and services:
                first = min(service.priority for service in services)
                services = [service for service in services if service.priority == first]
            hosts = {service.host: None for service in services}
            told = await asyncio.gather(*(self._addresses(host) for host in hosts))
            # One of which nobody says anything is where it was.
            ips = {host: former.get(host) if found is None else found for host, found in zip(hosts, told, strict=True)}
            if services and not any(ips.values()) and None in ips.values():
                # Not one is known, and of some nobody says: that is not none.
                raise RegistryError(f"{self._servers.name}: the targets of {name} can't be resolved")
            former.clear()
            former.update((host, found) for host, found in ips.items() if found is not None)
            weights = _weights(services)
            found = [
                Instance(ip, service.port, {WEIGHT: weight})
                for service, weight in zip(services, weights, strict=True)
                for ip in ips[service.host] or ()
            ]
            return Told(in_order(found))

        return f"SRV {name}", ask

    async def _addresses(self, host: str) -> tuple[str, ...] | None:
        """Give a target's addresses; `None` if nobody says."""
        async with self._free:
            try:
                return (await self._servers.addresses(host, ("A", "AAAA"))).ips
            except RegistryError:
                return None


class HostNamer:
    """Names of the form `/<host>/<port>[/<residual>]`; a host with a dot at its end is not searched for in domains."""

    def __init__(self, kind: DnsNamerKind, servers: NameServers) -> None:
        self.prefix = kind.full_prefix
        self._kind = kind
        self._servers = servers
        self._hosts: Polled[tuple[str, ...]] = Polled(
            servers,
            self._ask,
            Beat(1.0, 0.1, RETRY),
            list,
            kind.registry(servers.name),
            form=tuple[str, ...],
            presumed=(),
        )
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the host has addresses, else a negative tree."""
        names = texts(path, 2)
        port = None if names is None else read_port(names[1])
        if names is None or port is None:
            return _NEGATIVE
        host = names[0].lower()
        instances = self._hosts.get(host).map(lambda ips: tuple(Instance(ip, port) for ip in ips))
        return self._endpoints.tree(
            instances, lambda: self._hosts.origin(host), self.prefix + path.take(2), path.drop(2)
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._hosts.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        return f"{self._servers.name}: {_shown(client, self.prefix)}"

    def _ask(self, host: str) -> tuple[str, Ask[tuple[str, ...]]]:
        kind = self._kind
        single: dict[str, Kinds] = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}

        async def ask() -> Told[tuple[str, ...]]:
            if kind.family == "both":
                parts = [await self._servers.addresses(host, ("A",)), await self._servers.addresses(host, ("AAAA",))]
            else:
                parts = [await self._servers.addresses(host, single[kind.family])]
            ips = sorted({ip for part in parts for ip in part.ips})
            seconds = min(part.seconds for part in parts)
            again = min(kind.max_ttl_secs, max(kind.min_ttl_secs, seconds))
            # All who have asked at the same time need not come back together.
            return Told(tuple(ips), again=again * random.uniform(1.0, 1.05))  # noqa: S311 - no secret

        return f"{'A and AAAA' if kind.family == 'both' else '/'.join(single[kind.family])} {host}", ask


def _weights(services: list[Service]) -> list[float]:
    """Give the balancer's weights: even ones where nobody has one."""
    most = max((service.weight for service in services), default=0)
    if most == 0:
        return [1.0] * len(services)
    return [service.weight / most or LEAST_SHARE for service in services]


def _shown(client: Path, prefix: Path) -> str:
    return "/".join(part.decode(errors="replace") for part in client.drop(len(prefix)).segments)
