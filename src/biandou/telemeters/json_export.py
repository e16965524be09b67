"""The body of `/admin/metrics.json` (reference/linker.md §8.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from biandou.telemeters.reading import Reading
from biandou.telemeters.window import Summary

_PERCENTILES: Final = ("p50", "p90", "p95", "p99", "p9990", "p9999")

_encode = msgspec.json.Encoder().encode

Number = int | float


def flat_json(reading: Reading, *, pretty: bool = False, query: Sequence[str] = ()) -> bytes | None:
    """Give one object, its keys the places joined by `/`; indented and sorted if `pretty`.

    With a query only what is below it, `None` if nothing is; places are then counted from there.
    """
    found: dict[str, Number] = {}
    for scope, name, own in _places(reading, query):
        key = "/".join((*scope, name)) if name else "/".join(scope)
        for part, value in own.items():
            found[f"{key}.{part[5:]}" if part.startswith("stat.") else key] = value
    if query and not found:
        return None
    if pretty:
        return msgspec.json.format(_encode(dict(sorted(found.items()))), indent=2)
    return _encode(found)


def tree_json(reading: Reading, *, query: Sequence[str] = ()) -> bytes | None:
    """Give nested objects; what belongs to a place itself is under `counter`, `gauge` and `stat.…`."""
    root: dict[str, Any] = {}
    last: Sequence[str] | None = None
    scoped = root
    for scope, name, own in _places(reading, query):
        if scope is not last:
            scoped = _below(root, scope)
            last = scope
        node = _below(scoped, name.split("/")) if name else scoped
        node.update(own)
    return None if query and not root else _encode(root)


def _below(node: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    for part in parts:
        node = node.setdefault(part, {})
    return node


def _places(reading: Reading, query: Sequence[str]) -> list[tuple[Sequence[str], str, dict[str, Number]]]:
    """Give scope, name and values of every metric below the query, counted from there."""
    places: list[tuple[Sequence[str], str, dict[str, Number]]] = []
    wanted = list(query)
    for metrics in reading.scopes:
        scope: Sequence[str] = metrics.scope
        inner: list[str] = []
        if wanted:
            common = min(len(wanted), len(scope))
            if list(scope[:common]) != wanted[:common]:
                continue
            scope, inner = scope[common:], wanted[common:]
        own: list[tuple[str, dict[str, Number]]] = [
            (name, {"counter": count}) for name, count in metrics.counters.items()
        ]
        own += [(name, {"gauge": value}) for name, value in metrics.gauges.items() if math.isfinite(value)]
        own += [(name, stat_values(summary)) for name, summary in reading.summaries(metrics)]
        for name, values in own:
            if not inner:
                places.append((scope, name, values))
            elif name.split("/")[: len(inner)] == inner:
                places.append((scope, "/".join(name.split("/")[len(inner) :]), values))
    return places


def stat_values(stat: Summary) -> dict[str, Number]:
    """Give what is shown of a window; without samples only the count."""
    if stat.count == 0:
        return {"stat.count": 0}
    return {
        "stat.count": stat.count,
        "stat.max": stat.most,
        "stat.min": stat.least,
        **{f"stat.{name}": value for name, value in zip(_PERCENTILES, stat.percentiles, strict=True)},
        "stat.sum": stat.sum,
        "stat.avg": stat.average,
    }
