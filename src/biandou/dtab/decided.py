"""Which trees never come to `~` whatever any namer knows, so that nothing after them is ever tried."""

from __future__ import annotations

from typing import Any, Final

from biandou.dtab.path import Path
from biandou.dtab.table import Dtab
from biandou.dtab.tree import EMPTY, FAIL, Alt, Leaf, NameTree, Union

_CERTAIN: Final = frozenset({b"inet", b"fixedinet", b"nil", b"fail"})
"""The namers of `/$/…` that never say `~` (reference/naming.md §1.2)."""
_MAX_DEPTH: Final = 150
"""How many trees deep it is looked; beyond it nothing is sure."""


class Decided:
    """Knows it for the names of one dtab; what it is not sure of does not count."""

    def __init__(self, dtab: Dtab) -> None:
        self._dtab = dtab
        self._known: dict[Path, bool] = {}

    def tree(self, tree: NameTree[Path]) -> bool:
        """Whether `tree`, with anything after its names, never comes to `~`."""
        return self._tree(tree, 0)

    def _tree(self, tree: NameTree[Any], hops: int) -> bool:
        if hops > _MAX_DEPTH:
            return False
        if isinstance(tree, Leaf):
            return self._path(tree.value, hops)
        if isinstance(tree, Alt):
            return any(self._tree(branch, hops + 1) for branch in tree.trees)
        if isinstance(tree, Union):
            if len(tree.branches) == 1:
                return self._tree(tree.branches[0].tree, hops + 1)
            # A branch that fails is left out like one that comes to `~`.
            return any(_there(branch.tree, self._dtab) for branch in tree.branches)
        return tree is FAIL or tree is EMPTY

    def _path(self, path: Path, hops: int) -> bool:
        known = self._known.get(path)
        if known is not None:
            return known
        # While it is looked at it is not sure: a loop decides nothing.
        self._known[path] = False
        if not self._dtab.may_match(path):
            decided = len(path) > 1 and path.segments[0] == b"$" and path.segments[1] in _CERTAIN
        else:
            decided = any(self._tree(dentry.dst, hops + 1) for dentry in self._dtab.matching(path))
        self._known[path] = decided
        return decided


def _there(tree: NameTree[Any], dtab: Dtab) -> bool:
    """Whether a tree always comes to an address or to `$`."""
    if not isinstance(tree, Leaf):
        return tree is EMPTY
    match tree.value.segments:
        case (b"$", b"inet" | b"fixedinet", _, port, *_):
            return port.isdigit() and not dtab.may_match(tree.value)
        case (b"$", b"nil", *_):
            return not dtab.may_match(tree.value)
    return False
