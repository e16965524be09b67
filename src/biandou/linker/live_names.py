"""Which names a router has had requests for, and how many: what namerd asks for when somebody plans a dtab."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from biandou.telemeters.model import Metrics

MAX_NAMES: Final = 10_000
MAX_TEXT: Final = 1024 * 1024
"""How many characters all names together may have: a report has to go through as one message."""


def live_names(label: str, scopes: Iterable[Metrics]) -> dict[str, Any]:
    """Give each name's requests since the beginning, those asked for most first, and how many names were `cut`."""
    counts: dict[str, int] = {}
    for metrics in scopes:
        scope = metrics.scope
        if len(scope) == 4 and scope[0] == "rt" and scope[1] == label and scope[2] == "service":
            name = f"/{scope[3]}"
            counts[name] = counts.get(name, 0) + metrics.counters.get("requests", 0)
    named: dict[str, int] = {}
    size = 0
    for name, count in sorted(counts.items(), key=lambda counted: (-counted[1], counted[0])):
        size += len(name)
        if len(named) == MAX_NAMES or size > MAX_TEXT:
            break
        named[name] = count
    return {"requests": named, "cut": len(counts) - len(named)}
