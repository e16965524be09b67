"""`io.l5d.k8s.daemonset`: in the place of each endpoint the daemonset's pod on its node (reference/naming.md §2).

That pod is mostly a linker, which hands the request to the endpoint beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Final

from biandou.clients.kubernetes_access import KubernetesPort, is_name
from biandou.clients.registry_access import check_host
from biandou.dtab import Leaf, NameTree, Path
from biandou.dtab.bound import NODE, Address, Addresses, AddressSet, Bound, Negative
from biandou.live import Live
from biandou.namers.k8s import K8sNamerKind
from biandou.transformers.interface import DELEGATING_NAME, Interpret, Transformer, TransformerKind
from biandou.transformers.netmask import POD_NETWORK

NodeOf = Callable[[Address], Hashable]
"""Says which node an address is on, `None` if that is not known."""

_NOWHERE: Final[Live[Addresses]] = Live.ok(Negative())


class DaemonSetTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.k8s.daemonset"):
    """Replaces each address by those of the service's pods that are on the same node.

    That is the one in the same /24 network, or with `hostNetwork` the one whose `nodeName` is the same. `port` is the
    name or the number of the service's port.
    """

    namespace: str
    service: str
    port: str
    k8s_host: str | None = None
    k8s_port: KubernetesPort | None = None
    host_network: bool = False
    service_account: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what can't name a service or an API server."""
        super().__post_init__()
        check_host(self.k8s_host)
        if not (self.namespace and self.service and self.port):
            raise ValueError("namespace, service and port must not be empty")
        # As the namer takes them.
        if not (is_name(self.namespace.lower()) and is_name(self.service.lower())):
            raise ValueError(f"nothing in Kubernetes can be called {self.namespace}/{self.service}")

    @property
    def default_prefix(self) -> Path:
        """The kind's name, and which pods it leads to."""
        return Path.of("io.l5d.k8s.daemonset", self.namespace, self.port, self.service)

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer; raises `ConfigError` if nothing says where Kubernetes is."""
        namer = K8sNamerKind(host=self.k8s_host, port=self.k8s_port, service_account=self.service_account).namer()
        pods = namer.lookup(Path.of(self.namespace, self.port, self.service)).flat_map(_addresses)
        return GatewayTransformer(self.full_prefix, pods, _node_name if self.host_network else _pod_network)


class GatewayTransformer:
    """Puts the gateways on an address's node in the place of each address; they keep their own metadata."""

    def __init__(self, prefix: Path, gateways: Live[Addresses], node_of: NodeOf) -> None:
        self.prefix = prefix
        self.delegate_name: str | None = DELEGATING_NAME
        self._gateways = gateways.map(lambda found: _by_node(found, node_of))
        self._known = self._gateways.map(lambda _found: True)
        self._node_of = node_of

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the tree with each leaf's addresses replaced; pending while the gateways are."""
        return self._known.flat_map(lambda _: tree.map(lambda bound: bound.map(self.leaf)))

    def leaf(self, bound: Bound) -> Bound:
        """Give the leaf with its id prefixed and its addresses replaced."""
        return Bound(self.prefix + bound.id, bound.addresses.flat_map(self._replaced), bound.residual)

    def _replaced(self, found: Addresses) -> Live[Addresses]:
        if not isinstance(found, AddressSet):
            return Live.ok(found)
        nodes = dict.fromkeys(map(self._node_of, found.addresses))

        def beside(gateways: dict[Hashable, tuple[Address, ...]]) -> Addresses:
            near = dict.fromkeys(gateway for node in nodes for gateway in gateways.get(node, ()))
            return replace(found, addresses=tuple(near)) if near else Negative()

        return self._gateways.map(beside)


def _by_node(found: Addresses, node_of: NodeOf) -> dict[Hashable, tuple[Address, ...]]:
    nodes: defaultdict[Hashable, list[Address]] = defaultdict(list)
    if isinstance(found, AddressSet):
        for address in found.addresses:
            node = node_of(address)
            # Two of which it is not known are not neighbours for that.
            if node is not None:
                nodes[node].append(address)
    return {node: tuple(addresses) for node, addresses in nodes.items()}


def _node_name(address: Address) -> Hashable:
    node = address.meta.get(NODE)
    return node if isinstance(node, str) else None


def _pod_network(address: Address) -> Hashable:
    return POD_NETWORK.network(address.host)


def _addresses(tree: NameTree[Path | Bound]) -> Live[Addresses]:
    if isinstance(tree, Leaf) and isinstance(tree.value, Bound):
        return tree.value.addresses
    return _NOWHERE
