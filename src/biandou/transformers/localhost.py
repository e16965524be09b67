"""`io.l5d.localhost`: only the endpoints on this host (reference/naming.md §2)."""

from __future__ import annotations

from biandou.clients.interfaces import local_addresses
from biandou.transformers.interface import (
    FILTER_NAME,
    AddressTransformer,
    Interpret,
    Transformer,
    TransformerKind,
    keep,
)


class LocalhostTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.localhost"):
    """Keeps the addresses that a network interface of this host has; they are looked up once, at the start."""

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer."""
        return AddressTransformer(self.full_prefix, FILTER_NAME, keep(local_addresses().__contains__))
