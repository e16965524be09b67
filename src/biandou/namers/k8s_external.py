"""What a name means outside a cluster of Kubernetes: the addresses of a service's load balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biandou.clients.dns import Resolver, ip_literal
from biandou.clients.kubernetes import Kubernetes
from biandou.clients.kubernetes_objects import Service, read_service
from biandou.clients.registry_access import read_port
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, Negative, Origin
from biandou.live import Live, Ok, Pending, State
from biandou.namers.k8s_watch import Objects, name_in

if TYPE_CHECKING:
    from biandou.namers.k8s import KubernetesNamerKind

Tree = NameTree[Path | Bound]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class ExternalNamer:
    """Names of the form `/<namespace>/<port>/<service>[/<label value>]`; a port's name or number is the service's."""

    def __init__(self, kind: KubernetesNamerKind, kubernetes: Kubernetes) -> None:
        self.prefix = kind.full_prefix
        self._label = kind.label_selector
        self._kubernetes = kubernetes
        self._resolver = Resolver()
        registry = kind.registry(f"kubernetes at {kubernetes.address}")
        self._services = Objects(kubernetes, "services", read_service, registry, form=Service)

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the service has the port and a load balancer, else a negative tree."""
        taken = 3 + (self._label is not None)
        try:
            names = [part.decode() for part in path.take(taken).segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if len(names) < taken:
            return _NEGATIVE
        name = name_in(names[0].lower(), names[2].lower(), self._label, names[-1])
        if name is None:
            return _NEGATIVE
        port = names[1].lower()
        # What a service comes to here: its hosts, and the port.
        found = self._services.get(name).map(lambda service: _reached(service, port))
        addresses = found.flat_map(lambda reached: self._resolve(reached, self._services.origin(name)))
        leaf: Tree = Leaf(Bound(self.prefix + path.take(taken), addresses, path.drop(taken)))
        return found.map(lambda reached: NEG if reached is None else leaf)

    def state(self) -> dict[str, Any]:
        """Give what is watched now, by what Kubernetes is asked for."""
        return {"services": self._services.state()}

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"kubernetes at {self._kubernetes.address}: {names}"

    def _resolve(self, reached: tuple[tuple[str, ...], int] | None, origin: Origin | None) -> Live[Addresses]:
        if reached is None:
            return Live.ok(Negative())
        hosts, port = reached
        known = Live.join([self._resolver.addresses(host) for host in hosts])

        def merge(states: tuple[State[tuple[str, ...] | None], ...]) -> Live[Addresses]:
            """Leave out hosts that are not known; wait while none is."""
            literals = [literal for state in states if isinstance(state, Ok) and state.value for literal in state.value]
            if not literals and any(isinstance(state, Pending) for state in states):
                return Live()
            found = tuple(Address(literal, port) for literal in sorted({*literals}))
            return Live.ok(AddressSet(found, origin=origin))

        return known.flat_map(merge)


def _reached(service: Service | None, port: str) -> tuple[tuple[str, ...], int] | None:
    """Give hosts and port outside; `None` if there are none."""
    if service is None:
        return None
    if port.isascii() and port.isdecimal():
        number = read_port(port)
        found = None if number is None else service.numbered(number)
    else:
        found = service.named(port)
    hosts = tuple(ip_literal(host) or host for host in service.ingress)
    return None if found is None or not hosts else (hosts, found.port)
