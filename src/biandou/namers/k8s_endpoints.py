"""What a name means in Kubernetes: the pods of a service that are ready, by a port's name or number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biandou.clients.kubernetes import Kubernetes
from biandou.clients.kubernetes_objects import Endpoints, Service, ServicePort, read_endpoints, read_service
from biandou.clients.registry_access import read_port
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import NODE, Address, Addresses, AddressSet, Bound, Negative, Origin
from biandou.live import Live
from biandou.namers.k8s_watch import Name, Objects, name_in

if TYPE_CHECKING:
    from biandou.namers.k8s import KubernetesNamerKind

Tree = NameTree[Path | Bound]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)
_GONE: Final[Live[Addresses]] = Live.ok(Negative())


class EndpointsNamer:
    """Names of the form `/<namespace>/<port>/<service>[/<label value>]`, without the first if it is given."""

    def __init__(self, kind: KubernetesNamerKind, kubernetes: Kubernetes, namespace: str | None = None) -> None:
        self.prefix = kind.full_prefix
        self._label = kind.label_selector
        self._namespace = namespace
        self._kubernetes = kubernetes
        registry = kind.registry(f"kubernetes at {kubernetes.address}")
        self._endpoints = Objects(kubernetes, "endpoints", read_endpoints, registry, form=Endpoints)
        self._services = Objects(kubernetes, "services", read_service, registry, form=Service)

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the service has the port, pods or not, else a negative tree."""
        taken = 2 + (self._namespace is None) + (self._label is not None)
        try:
            names = [part.decode().lower() for part in path.take(taken).segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if len(names) < taken:
            return _NEGATIVE
        client = self.prefix + Path(tuple(name.encode() for name in names))
        namespace = self._namespace if self._namespace is not None else names.pop(0)
        name = name_in(namespace, names[1], self._label, names[-1])
        if name is None:
            return _NEGATIVE
        if names[0].isascii() and names[0].isdecimal():
            number = read_port(names[0])
            return _NEGATIVE if number is None else self._numbered(name, number, client, path.drop(taken))
        return self._named(name, names[0], client, path.drop(taken))

    def state(self) -> dict[str, Any]:
        """Give what is watched now, by what Kubernetes is asked for."""
        return {"endpoints": self._endpoints.state(), "portMappings": self._services.state()}

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"kubernetes at {self._kubernetes.address}: {names}"

    def _named(self, name: Name, port: str, client: Path, residual: Path) -> Live[Tree]:
        endpoints = self._endpoints.get(name)
        addresses = endpoints.map(lambda found: _addresses(found, port, self._endpoints.origin(name)))
        leaf: Tree = Leaf(Bound(client, addresses, residual))
        return endpoints.map(lambda found: leaf if found is not None and found.has(port) else NEG)

    def _numbered(self, name: Name, number: int, client: Path, residual: Path) -> Live[Tree]:
        """Follow the service's port of this number, and the pods that it leads to."""
        endpoints = self._endpoints.get(name)

        def port_of(service: Service | None) -> ServicePort | None:
            return None if service is None else service.numbered(number)

        def reached(port: ServicePort | None) -> Live[Addresses]:
            if port is None:
                return _GONE
            return endpoints.map(lambda found: _behind(found, port, self._endpoints.origin(name)))

        port = self._services.get(name).map(port_of)
        leaf: Tree = Leaf(Bound(client, port.flat_map(reached), residual))

        def tree(port: ServicePort | None) -> Live[Tree]:
            if port is None:
                return _NEGATIVE
            if isinstance(port.target, int):
                return Live.ok(leaf)
            return endpoints.map(lambda found: leaf if found is not None and found.has(port.name) else NEG)

        return port.flat_map(tree)


def _addresses(found: Endpoints | None, port: str, origin: Origin | None) -> Addresses:
    if found is None or not found.has(port):
        return Negative()
    return _set(found.named(port), origin)


def _behind(found: Endpoints | None, port: ServicePort, origin: Origin | None) -> Addresses:
    """Give the pods behind a service's port, whose name their endpoints have."""
    if found is None:
        return AddressSet(origin=origin)
    if isinstance(port.target, int) and not found.has(port.name):
        return _set(found.numbered(port.target), origin)
    return _set(found.named(port.name), origin)


def _set(found: list[tuple[str, int, str | None]], origin: Origin | None) -> AddressSet:
    addresses = dict.fromkeys(
        Address(host, port, {} if node is None else {NODE: node})
        for host, port, node in sorted(found, key=lambda one: one[:2])
    )
    return AddressSet(tuple(addresses), origin=origin)
