"""`io.l5d.const`: one fixed name, whatever was asked for (reference/naming.md §2)."""

from __future__ import annotations

from biandou.dtab import Path
from biandou.transformers.interface import TransformerKind


class ConstTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.const"):
    """Gives what `path` is bound to, even when nothing was found."""

    path: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `path` is a path."""
        super().__post_init__()
        Path.read(self.path)
