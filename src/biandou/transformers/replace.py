"""`io.l5d.replace`: every leaf becomes one fixed name, mostly a linker to go through (reference/naming.md §2)."""

from __future__ import annotations

from biandou.dtab import Alt, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.transformers.interface import Interpret, Transformer, TransformerKind


class ReplaceTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.l5d.replace"):
    """Puts what `path` is bound to in the place of every leaf; negative, failed and empty trees stay."""

    path: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `path` is a path."""
        super().__post_init__()
        Path.read(self.path)

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer."""
        return ReplaceTransformer(self.full_prefix, interpret(Path.read(self.path)))


class ReplaceTransformer:
    """Puts a bound tree in the place of every leaf."""

    def __init__(self, prefix: Path, replacement: Live[NameTree[Bound]]) -> None:
        self.prefix = prefix
        self.delegate_name: str | None = None
        self._replacement = replacement.map(lambda tree: tree.map(self.leaf))

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the tree with its leaves replaced; pending while the replacement is."""
        return tree.flat_map(lambda bound: self._replacement.map(lambda new: _graft(bound, new).simplified))

    def leaf(self, bound: Bound) -> Bound:
        """Give a leaf of the fixed name its new id."""
        return Bound(self.prefix + bound.id, bound.addresses, bound.residual)


def _graft(tree: NameTree[Bound], replacement: NameTree[Bound]) -> NameTree[Bound]:
    match tree:
        case Leaf():
            return replacement
        case Alt(trees):
            return Alt(tuple(_graft(branch, replacement) for branch in trees))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, _graft(branch.tree, replacement)) for branch in branches))
    return tree
