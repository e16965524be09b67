"""`io.l5d.specificHost`: only the endpoints on one host (reference/naming.md §2)."""

from __future__ import annotations

import socket

from biandou.clients.dns import ip_literal, system_lookup
from biandou.errors import ConfigError
from biandou.transformers.interface import (
    FILTER_NAME,
    AddressTransformer,
    Interpret,
    Transformer,
    TransformerKind,
    keep,
)


class SpecificHostTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.specificHost"):
    """Keeps the addresses that are equal to the IP of `host`, which is resolved once, at the start."""

    host: str

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer; raises `ConfigError` if the host cannot be resolved."""
        literal = ip_literal(self.host)
        if literal is None:
            try:
                literal = system_lookup(self.host)[0]
            except (OSError, UnicodeError, IndexError) as error:
                reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
                raise ConfigError(f"io.l5d.specificHost: cannot resolve {self.host}: {reason}") from error
        return AddressTransformer(self.full_prefix, FILTER_NAME, keep(literal.__eq__))
