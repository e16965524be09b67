"""`io.l5d.replace`: every leaf becomes one fixed name, mostly a linker to go through (reference/naming.md §2)."""

from __future__ import annotations

from biandou.dtab import Path
from biandou.transformers.interface import TransformerKind


class ReplaceTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.replace"):
    """Puts what `path` is bound to in the place of every leaf; negative, failed and empty trees stay."""

    path: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `path` is a path."""
        super().__post_init__()
        Path.read(self.path)
