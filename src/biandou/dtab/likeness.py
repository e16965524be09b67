"""When two trees share requests alike, however they are written."""

from __future__ import annotations

from typing import TypeVar

from biandou.dtab.tree import Alt, Leaf, NameTree, Union, Weighted

T = TypeVar("T")

DIGITS = 6
"""Parts of 1 are compared to so many digits."""


def comparable(tree: NameTree[T]) -> NameTree[T]:
    """Give a tree in a form that is equal for all that share alike: weights as parts of 1, branches in one order."""
    simple = tree.simplified
    if isinstance(simple, Alt):
        return Alt(tuple(comparable(branch) for branch in simple.trees))
    if isinstance(simple, Union):
        total = sum(branch.weight for branch in simple.branches) or 1.0
        parts = [(str(branch.tree), round(branch.weight / total, DIGITS), branch.tree) for branch in simple.branches]
        parts.sort(key=lambda part: part[:2])
        return Union(tuple(Weighted(weight, comparable(part)) for _, weight, part in parts))
    return simple


def shares(tree: NameTree[T]) -> dict[T, float]:
    """Give the part of 1 that each leaf of a bound tree gets; together less than 1 where a branch has no leaf."""
    found: dict[T, float] = {}
    waiting: list[tuple[float, NameTree[T]]] = [(1.0, tree.simplified)]
    while waiting:
        part, node = waiting.pop()
        if isinstance(node, Leaf):
            found[node.value] = found.get(node.value, 0.0) + part
        elif isinstance(node, Alt) and node.trees:
            waiting.append((part, node.trees[0]))
        elif isinstance(node, Union):
            total = sum(branch.weight for branch in node.branches)
            for branch in node.branches:
                # Weights that are all zero share evenly, as the reference does.
                one = branch.weight / total if total else 1 / len(node.branches)
                waiting.append((part * one, branch.tree))
    return found


def moving(before: NameTree[T], after: NameTree[T]) -> float:
    """Give the part of the requests, from 0 to 1, that goes elsewhere by `after` than by `before`."""
    old, new = shares(before), shares(after)
    kept = sum(min(part, new.get(leaf, 0.0)) for leaf, part in old.items())
    return max(0.0, round(max(sum(old.values()), sum(new.values())) - kept, DIGITS))
