"""`io.l5d.k8s.localnode`: only the endpoints on this node of Kubernetes (reference/naming.md §2)."""

from __future__ import annotations

import os

from biandou.clients.dns import ip_literal
from biandou.dtab import Path
from biandou.dtab.bound import NODE, Address
from biandou.errors import ConfigError
from biandou.transformers.interface import (
    FILTER_NAME,
    METADATA_NAME,
    AddressTransformer,
    Interpret,
    Transformer,
    TransformerKind,
    keep,
    keep_addresses,
)
from biandou.transformers.netmask import POD_NETWORK


class LocalNodeTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.k8s.localnode"):
    """Keeps the addresses in this pod's network, or with `hostNetwork` those whose metadata names this node.

    Which these are is in the environment: `POD_IP`, or `NODE_NAME`.
    """

    host_network: bool = False

    @property
    def default_prefix(self) -> Path:
        """The kind's name, and this pod's address or this node's name; raises `ConfigError` if that is not told."""
        return Path.of("io.l5d.k8s.localnode", self._here())

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer; raises `ConfigError` if the environment does not tell where this is."""
        here = self._here()
        if self.host_network:

            def on_node(address: Address) -> bool:
                return address.meta.get(NODE) == here

            return AddressTransformer(self.full_prefix, METADATA_NAME, keep_addresses(on_node))
        network = POD_NETWORK.network(here)

        def beside(host: str) -> bool:
            # As in the reference, IPv6 has no such networks.
            return network is not None and POD_NETWORK.network(host) == network

        return AddressTransformer(self.full_prefix, FILTER_NAME, keep(beside))

    def _here(self) -> str:
        variable = "NODE_NAME" if self.host_network else "POD_IP"
        here = os.environ.get(variable)
        if not here:
            raise ConfigError(f"io.l5d.k8s.localnode: the environment variable {variable} is not set")
        if not self.host_network and ip_literal(here) is None:
            raise ConfigError(f"io.l5d.k8s.localnode: POD_IP is no IP address: {here}")
        return here
