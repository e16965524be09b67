"""`io.l5d.port`: the same hosts on another port, mostly that of the linker beside each (reference/naming.md §2)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.transformers.interface import TransformerKind


class PortTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.port"):
    """Replaces the port of every address."""

    port: Annotated[int, Meta(ge=0, le=65535)]
