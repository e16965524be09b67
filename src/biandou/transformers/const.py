"""`io.l5d.const`: one fixed name, whatever was asked for (reference/naming.md §2)."""

from __future__ import annotations

from biandou.dtab import NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.transformers.interface import Interpret, Transformer, TransformerKind


class ConstTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.const"):
    """Gives what `path` is bound to, even when nothing was found."""

    path: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `path` is a path."""
        super().__post_init__()
        Path.read(self.path)

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer."""
        return ConstTransformer(self.full_prefix, interpret(Path.read(self.path)))


class ConstTransformer:
    """Gives the same bound tree for every name."""

    def __init__(self, prefix: Path, constant: Live[NameTree[Bound]]) -> None:
        self.prefix = prefix
        self.delegate_name: str | None = None
        self._constant = constant.map(lambda tree: tree.map(self.leaf))

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the constant; what the name itself means is not even looked up."""
        return self._constant

    def leaf(self, bound: Bound) -> Bound:
        """Give a leaf of the fixed name its new id."""
        return Bound(self.prefix + bound.id, bound.addresses, bound.residual)
