"""The body of `/admin/metrics.json` (reference/linker.md §8.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from biandou.telemeters.model import Metrics, Scopes
from biandou.telemeters.window import Summary

_PERCENTILES: Final = ("p50", "p90", "p95", "p99", "p9990", "p9999")

_encode = msgspec.json.Encoder().encode

Number = int | float


class _Part(NamedTuple):
    """The metrics of a scope below a query: `scope` is what follows the query; what is left of it is `inner`."""

    metrics: Metrics
    scope: Sequence[str]
    inner: Sequence[str]

    def place(self, name: str) -> str | None:
        """Give a metric's name counted from the query, `None` if it is not below."""
        if not self.inner:
            return name
        parts = name.split("/")
        size = len(self.inner)
        return "/".join(parts[size:]) if parts[:size] == self.inner else None


def flat_json(scopes: Scopes, *, pretty: bool = False, query: Sequence[str] = ()) -> bytes | None:
    """Give one object, its keys the places joined by `/`; indented and sorted if `pretty`.

    With a query only what is below it, `None` if nothing is; places are then counted from there.
    """
    found: dict[str, Number] = {}
    for part in _parts(scopes, query):
        head = "/".join(part.scope)
        for name, value in _numbers(part.metrics):
            place = part.place(name)
            if place is not None:
                found[f"{head}/{place}" if head and place else head or place] = value
        for name, summary in part.metrics.windows.items():
            place = part.place(name)
            if place is not None:
                key = f"{head}/{place}" if head and place else head or place
                found |= {f"{key}.{suffix}": value for suffix, value in stat_values(summary).items()}
    if query and not found:
        return None
    if pretty:
        return msgspec.json.format(_encode(dict(sorted(found.items()))), indent=2)
    return _encode(found)


def tree_json(scopes: Scopes, *, query: Sequence[str] = ()) -> bytes | None:
    """Give nested objects; what belongs to a place itself is under `counter`, `gauge` and `stat.…`."""
    root: dict[str, Any] = {}
    for part in _parts(scopes, query):
        scoped = _below(root, part.scope)
        own: list[tuple[str, dict[str, Number]]] = [(name, {"counter": n}) for name, n in part.metrics.counters.items()]
        own += [(name, {"gauge": value}) for name, value in part.metrics.gauges.items() if math.isfinite(value)]
        for name, summary in part.metrics.windows.items():
            own.append((name, {f"stat.{suffix}": value for suffix, value in stat_values(summary).items()}))
        for name, values in own:
            place = part.place(name)
            if place is not None:
                _below(scoped, place.split("/") if place else ()).update(values)
    return None if query and not root else _encode(root)


def _parts(scopes: Scopes, query: Sequence[str]) -> Iterator[_Part]:
    wanted = list(query)
    for metrics in scopes:
        scope = list(metrics.scope)
        common = min(len(wanted), len(scope))
        if scope[:common] == wanted[:common]:
            yield _Part(metrics, scope[common:], wanted[common:])


def _numbers(metrics: Metrics) -> Iterator[tuple[str, Number]]:
    yield from metrics.counters.items()
    for name, value in metrics.gauges.items():
        # JSON has no word for the others.
        if math.isfinite(value):
            yield name, value


def _below(node: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    for part in parts:
        node = node.setdefault(part, {})
    return node


def stat_values(stat: Summary | None) -> dict[str, Number]:
    """Give what is shown of a window; without samples only the count."""
    if stat is None:
        return {"count": 0}
    return {
        "count": stat.count,
        "max": stat.most,
        "min": stat.least,
        **dict(zip(_PERCENTILES, stat.percentiles, strict=True)),
        "sum": stat.sum,
        "avg": stat.average,
    }
