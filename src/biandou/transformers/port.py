"""`io.l5d.port`: the same hosts on another port, mostly that of the linker beside each (reference/naming.md §2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from biandou.dtab import Path
from biandou.dtab.bound import Address, AddressSet
from biandou.transformers.interface import (
    DELEGATING_NAME,
    AddressTransformer,
    Interpret,
    Transformer,
    TransformerKind,
)


class PortTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.port"):
    """Replaces the port of every address."""

    port: Annotated[int, Meta(ge=0, le=65535)]

    @property
    def default_prefix(self) -> Path:
        """The kind's name and the port."""
        return Path.of("io.l5d.port", str(self.port))

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer."""
        return AddressTransformer(self.full_prefix, DELEGATING_NAME, self._move)

    def _move(self, found: AddressSet) -> AddressSet:
        # Two instances on one host lead to the same linker: they are one address then.
        moved = dict.fromkeys(Address(address.host, self.port, address.meta) for address in found.addresses)
        return replace(found, addresses=tuple(moved))
