"""`io.l5d.localhost`: only the endpoints on this host (reference/naming.md §2)."""

from __future__ import annotations

from biandou.transformers.interface import TransformerKind


class LocalhostTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.localhost"):
    """Keeps the addresses that a network interface of this host has."""
