"""Finds names that a dtab leads back to themselves, or on and on: delegation gives up after `MAX_DEPTH` lookups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from biandou.dtab.delegate import MAX_DEPTH, matching
from biandou.dtab.path import Path
from biandou.dtab.table import Dtab
from biandou.dtab.tree import Alt, Leaf, NameTree, Union

MAX_PATHS: Final = 50_000
"""So many paths are followed at most; a short dtab can lead to any number of them."""

Decides = Callable[[NameTree[Path]], bool]
"""Whether a tree never comes to `~`, so that nothing after it is tried."""


class Loops:
    """Follows names through a dtab as delegation does when no namer knows any of them."""

    def __init__(self, dtab: Dtab, decides: Decides) -> None:
        self._dtab = dtab
        self._decides = decides
        self._seen: set[Path] = set()

    def find(self, start: Path) -> list[Path] | None:
        """Give the way from `start` into a loop, the last path being the first again or `MAX_DEPTH` lookups away.

        `None` if there is none, or if it is one that was given before.
        """
        if start in self._seen:
            return None
        self._seen.add(start)
        way = [start]
        on_way = {start}
        following = [self._next(start)]
        while following:
            path = next(following[-1], None)
            if path is None:
                following.pop()
                on_way.discard(way.pop())
            elif path in on_way:
                return [*way, path]
            elif path not in self._seen:
                if len(way) == MAX_DEPTH:
                    return [*way, path]
                if len(self._seen) >= MAX_PATHS:
                    return None
                self._seen.add(path)
                way.append(path)
                on_way.add(path)
                following.append(self._next(path))
        return None

    def _next(self, path: Path) -> Iterator[Path]:
        for dentry in matching(path, self._dtab):
            rest = path.segments[len(dentry.prefix) :]
            for leaf in self._tried(dentry.dst):
                yield Path(leaf.segments + rest)
            if self._decides(dentry.dst):
                return

    def _tried(self, tree: NameTree[Path]) -> Iterator[Path]:
        waiting: list[NameTree[Any]] = [tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Leaf):
                yield node.value
            elif isinstance(node, Alt):
                waiting += reversed(list(self._until_decided(node.trees)))
            elif isinstance(node, Union):
                waiting += [branch.tree for branch in reversed(node.branches)]

    def _until_decided(self, trees: Iterable[NameTree[Path]]) -> Iterator[NameTree[Path]]:
        for tree in trees:
            yield tree
            if self._decides(tree):
                return
