"""The metrics as one tree, the way Linkerd's exporters walk it (reference/linker.md §8.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from biandou.telemeters.model import Scopes
from biandou.telemeters.window import Summary, Windows


@dataclass(slots=True)
class Node:
    """A place in the tree: metrics of its own, and more below it; it may have both (`failures`)."""

    children: dict[str, Node] = field(default_factory=dict)
    counter: int | None = None
    gauge: float | None = None
    stat: Summary | None = None

    def at(self, *parts: str) -> Node:
        """Give the node below, made if it isn't there."""
        node = self
        for part in parts:
            node = node.children.setdefault(part, Node())
        return node

    def find(self, *parts: str) -> Node | None:
        """Give the node below, or `None`."""
        node: Node | None = self
        for part in parts:
            node = node.children.get(part) if node is not None else None
        return node

    def walk(self, parts: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Give this node and all below it, each with its place."""
        yield parts, self
        for part, child in self.children.items():
            yield from child.walk((*parts, part))


def metrics_tree(scopes: Scopes, windows: Windows) -> Node:
    """Give all metrics, each distribution as its last window was; one without a window yet is left out."""
    root = Node()
    for metrics in scopes:
        scope = tuple(metrics.scope)
        node = root.at(*scope)
        for name, count in metrics.counters.items():
            node.at(*name.split("/")).counter = count
        for name, value in metrics.gauges.items():
            node.at(*name.split("/")).gauge = value
        for name in metrics.stats:
            summary = windows.get(scope, name)
            if summary is not None:
                node.at(*name.split("/")).stat = summary
    return root
