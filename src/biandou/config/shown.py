"""A configuration as JSON values for people to read (`/config.json`): what was written, without secrets."""

from __future__ import annotations

from typing import Any, Final

from biandou.config.node import Mapping, Node, Scalar, Sequence
from biandou.kinds import SECRET

_HIDDEN: Final = "***"


def shown(document: Node) -> dict[str, Any]:
    """Give what was set, the kinds of `service` and `client` resolved, and `***` for what may be a secret."""
    values = _values(document)
    if not isinstance(values, dict):
        return {}
    for router in values.get("routers") or ():
        for section in ("service", "client"):
            if isinstance(router.get(section), dict):
                router[section] = {"kind": "io.l5d.global", **router[section]}
    return values


def _values(node: Node) -> Any:
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [_values(item) for item in node.items]
        case Mapping():
            return {
                entry.key: _HIDDEN if SECRET.search(entry.key) else _values(entry.value)
                for entry in node
                if not (isinstance(entry.value, Scalar) and entry.value.value is None)
            }
