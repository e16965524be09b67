"""What `Endpoints` and `Service` objects say (Kubernetes' API reference, core/v1), as far as names need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from biandou.clients.dns import ip_literal
from biandou.clients.kubernetes import Json, KubernetesError
from biandou.clients.kubernetes_watch import name_of

MAX_ADDRESSES: Final = 100_000
"""So many addresses one object may come to."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Addresses that have the same ports; `ready` are IP literals with the node of each, if it is told."""

    ready: tuple[tuple[str, str | None], ...]
    ports: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a service is."""

    subsets: tuple[Subset, ...] = ()

    @property
    def size(self) -> int:
        """How many addresses are ready."""
        return sum(len(subset.ready) for subset in self.subsets)

    def has(self, port: str) -> bool:
        """Say whether a port of this name is known, ready addresses or not."""
        return any(port == name for subset in self.subsets for name, _ in subset.ports)

    def named(self, port: str) -> list[tuple[str, int, str | None]]:
        """Give host, port and node of what is ready on the port of this name."""
        return [
            (host, number, node)
            for subset in self.subsets
            for name, number in subset.ports
            if name == port
            for host, node in subset.ready
        ]

    def numbered(self, port: int) -> list[tuple[str, int, str | None]]:
        """Give host, port and node of all that is ready, with this port."""
        return [(host, port, node) for subset in self.subsets for host, node in subset.ready]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service; `target` is the pods' port, a number or a name."""

    name: str
    port: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """The ports of a service, and the hosts and addresses that its load balancer has outside the cluster."""

    ports: tuple[ServicePort, ...] = ()
    ingress: tuple[str, ...] = ()

    def numbered(self, port: int) -> ServicePort | None:
        """Give the port of this number."""
        return next((found for found in self.ports if found.port == port), None)

    def named(self, port: str) -> ServicePort | None:
        """Give the port of this name."""
        return next((found for found in self.ports if found.name == port), None)


def read_endpoints(found: Json) -> Endpoints:
    """Give what an `Endpoints` says of TCP; raises `KubernetesError`."""
    subsets = tuple(_subset(one, found) for one in _list(found.get("subsets"), found))
    if sum(len(subset.ready) * max(1, len(subset.ports)) for subset in subsets) > MAX_ADDRESSES:
        raise KubernetesError(f"kubernetes: {name_of(found)} has more than {MAX_ADDRESSES} addresses")
    return Endpoints(subsets)


def read_service(found: Json) -> Service:
    """Give what a `Service` says of TCP; raises `KubernetesError`."""
    spec, status = _object(found.get("spec"), found), _object(found.get("status"), found)
    ports = []
    for one in _list(spec.get("ports"), found):
        if one.get("protocol", "TCP") == "TCP":
            number, target = _port(one.get("port"), found), one.get("targetPort") or 0
            if not isinstance(target, str):
                target = _port(target, found) if target else number
            ports.append(ServicePort(_text(one.get("name"), found), number, target))
    balancer = _object(status.get("loadBalancer"), found)
    hosts = [one.get("hostname") or one.get("ip") for one in _list(balancer.get("ingress"), found)]
    return Service(tuple(ports), tuple(_text(host, found) for host in hosts if host))


def _subset(one: Json, found: Json) -> Subset:
    ready = []
    for address in _list(one.get("addresses"), found):
        literal = ip_literal(_text(address.get("ip"), found))
        if literal is None:
            raise _unreadable(found)
        ready.append((literal, _text(address.get("nodeName"), found) or None))
    ports = [
        (_text(port.get("name"), found), _port(port.get("port"), found))
        for port in _list(one.get("ports"), found)
        if port.get("protocol", "TCP") == "TCP"
    ]
    return Subset(tuple(ready), tuple(ports))


def _list(value: Any, found: Json) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _unreadable(found)
    return value


def _object(value: Any, found: Json) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _unreadable(found)
    return value


def _text(value: Any, found: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable(found)
    return value


def _port(value: Any, found: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise _unreadable(found)
    return value


def _unreadable(found: Json) -> KubernetesError:
    return KubernetesError(f"kubernetes: the object {name_of(found)} is not as its kind is")
