"""What a router has served: how many requests, and how many of them failed."""

from __future__ import annotations

from collections.abc import Iterable

from biandou.telemeters.model import Metrics


def served(label: str, scopes: Iterable[Metrics]) -> dict[str, int]:
    """Give the requests that a router's servers have had since their beginning, and the failures among them."""
    totals = {"requests": 0, "failures": 0}
    for metrics in scopes:
        scope = metrics.scope
        if len(scope) == 4 and scope[0] == "rt" and scope[1] == label and scope[2] == "server":
            for name in totals:
                totals[name] += metrics.counters.get(name, 0)
    return totals
