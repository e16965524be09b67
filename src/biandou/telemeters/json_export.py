"""The body of `/admin/metrics.json` (reference/linker.md §8.3)."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from biandou.telemeters.tree import Node
from biandou.telemeters.window import Summary

_PERCENTILES: Final = ("p50", "p90", "p95", "p99", "p9990", "p9999")


def flat_json(root: Node, *, pretty: bool = False) -> str:
    """Give one object, its keys the places joined by `/`; indented and sorted if `pretty`."""
    metrics: dict[str, int | float] = {}
    for parts, node in root.walk():
        key = "/".join(parts)
        if node.counter is not None:
            metrics[key] = node.counter
        if node.gauge is not None and math.isfinite(node.gauge):
            metrics[key] = node.gauge
        if node.stat is not None:
            metrics |= {f"{key}.{name}": value for name, value in stat_values(node.stat).items()}
    return json.dumps(metrics, indent=2, sort_keys=True) if pretty else json.dumps(metrics, separators=(",", ":"))


def tree_json(root: Node) -> str:
    """Give the tree as nested objects; a node's own metrics are under `counter`, `gauge` and `stat.…`."""
    return json.dumps(_nested(root), separators=(",", ":"))


def subtree(root: Node, query: str) -> Node | None:
    """Give the node at `a/b`, or `None`."""
    return root.find(*query.split("/"))


def stat_values(stat: Summary) -> dict[str, int | float]:
    """Give what is shown of a window, by its suffix; without samples only the count."""
    if stat.count == 0:
        return {"count": 0}
    return {
        "count": stat.count,
        "max": stat.most,
        "min": stat.least,
        **dict(zip(_PERCENTILES, stat.percentiles, strict=True)),
        "sum": stat.sum,
        "avg": stat.average,
    }


def _nested(node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if node.counter is not None:
        shown["counter"] = node.counter
    if node.gauge is not None and math.isfinite(node.gauge):
        shown["gauge"] = node.gauge
    if node.stat is not None:
        shown |= {f"stat.{name}": value for name, value in stat_values(node.stat).items()}
    for part, child in node.children.items():
        shown[part] = _nested(child)
    return shown
