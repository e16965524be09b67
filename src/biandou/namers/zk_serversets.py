"""What a server set means: its members that are alive, with the weights that its vectors say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from biandou.clients.registry_access import Instance, is_port
from biandou.clients.zookeeper import Members, ZooKeeper
from biandou.dtab.bound import WEIGHT
from biandou.namers.polled import Instances, in_order
from biandou.namers.zk_members import NodeNamer, Read

if TYPE_CHECKING:
    from biandou.namers.serversets import ServersetsNamerKind

_LAST: Final = re.compile(r"([^:#]+)(?::([^:#]+))?(?:#([0-9]{1,10}))?")
_GONE: Final = -1.0
"""A vector's weight for what is not to be used."""


class ServersetsNamer(NodeNamer):
    """Names of the form `/<zk path>[:<endpoint>][#<shard>]`."""

    def __init__(self, kind: ServersetsNamerKind, zookeeper: ZooKeeper) -> None:
        super().__init__(kind.full_prefix, zookeeper, kind.registry(zookeeper.name))

    def question(self, names: Sequence[str]) -> tuple[str, str, Read]:
        """Give the node without endpoint and shard, which choose among its members."""
        *before, last = names
        found = _LAST.fullmatch(last)
        # What can't be read names a node that nobody made.
        name, endpoint, shard = (last, None, None) if found is None else (found[1], found[2], found[3])
        wanted = None if shard is None else int(shard)
        key, node = "/" + "/".join(names), "/" + "/".join([*before, name])
        return key, node, lambda members: read_members(members, endpoint, wanted)


def read_members(members: Members, endpoint: str | None, shard: int | None) -> Instances:
    """Give the members that may be used: of the default endpoint or of `endpoint`, and of `shard` if there is one."""
    vectors = [_json(data) for name, data in members.data.items() if name.startswith("vector_")]
    found = []
    for name, data in members.data.items():
        member = _json(data) if name.startswith("member_") else None
        if member is None or member.get("status") != "ALIVE":
            continue
        if shard is not None and member.get("shard") != shard:
            continue
        others = member.get("additionalEndpoints")
        place = member.get("serviceEndpoint") if endpoint is None else _dict(others).get(endpoint)
        host, port = _dict(place).get("host"), _dict(place).get("port")
        if not isinstance(host, str) or not host or not is_port(port):
            continue
        weight = _weight(vectors, f"inet={host}:{port}", f"member={name}", f"shard={member.get('shard')}")
        if weight is not None:
            found.append(Instance(host, port, {WEIGHT: weight}))
    return in_order(found)


def _weight(vectors: list[dict[str, Any] | None], *selects: str) -> float | None:
    """Give the product of all weights that are meant; `None` if one says that it is not to be used."""
    product = 1.0
    for vector in vectors:
        entries = _dict(vector).get("vector")
        for entry in entries if isinstance(entries, list) else ():
            weight = _dict(entry).get("weight")
            if _dict(entry).get("select") in selects and isinstance(weight, float):
                if weight == _GONE:
                    return None
                product *= weight
    return product if math.isfinite(product) and product >= 0 else None


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
