"""`io.l5d.specificHost`: only the endpoints on one host (reference/naming.md §2)."""

from __future__ import annotations

from biandou.transformers.interface import TransformerKind


class SpecificHostTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.specificHost"):
    """Keeps the addresses that are equal to the IP of `host`."""

    host: str
