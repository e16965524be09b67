"""What a server set means: its members that are alive, with the weights that its vectors say."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from biandou.clients.registry_access import Instance
from biandou.clients.zookeeper import Members, ZooKeeper
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import WEIGHT, Bound
from biandou.live import Live
from biandou.namers.polled import Endpoints, Instances, in_order
from biandou.namers.zk_members import Nodes, Read, longest

if TYPE_CHECKING:
    from biandou.namers.serversets import ServersetsNamerKind

Tree = NameTree[Path | Bound]

_LAST: Final = re.compile(r"([^:#]+)(?::([^:#]+))?(?:#([0-9]+))?")
_GONE: Final = -1.0
"""A vector's weight for what is not to be used."""

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class ServersetsNamer:
    """Names of the form `/<zk path>[:<endpoint>][#<shard>]`; of a path that is too long the rest is the residual."""

    def __init__(self, kind: ServersetsNamerKind, zookeeper: ZooKeeper) -> None:
        self.prefix = kind.full_prefix
        self._zookeeper = zookeeper
        self._nodes = Nodes(zookeeper, kind.registry(zookeeper.name))
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf for the longest beginning of the path that has members, else a negative tree."""
        try:
            names = [part.decode() for part in path.segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if any(not name or "/" in name or name in (".", "..") for name in names):
            return _NEGATIVE
        return longest(self._nodes, self._endpoints, self.prefix, path, self._question)

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._nodes.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._zookeeper.name}: /{names}"

    def _question(self, path: Path) -> tuple[str, str, Read]:
        *before, last = (part.decode() for part in path.segments)
        found = _LAST.fullmatch(last)
        # What can't be read names a node that nobody made.
        name, endpoint, shard = (last, None, None) if found is None else (found[1], found[2], found[3])
        node = "/" + "/".join([*before, name])
        wanted = None if shard is None else int(shard)
        return "/" + "/".join([*before, last]), node, lambda members: read_members(members, endpoint, wanted)


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
        if not isinstance(host, str) or not host or not isinstance(port, int) or not 1 <= port <= 65535:
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
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
