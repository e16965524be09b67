"""What a service means in Curator's service discovery: the instances whose records can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from biandou.clients.registry_access import Instance, is_port
from biandou.clients.zookeeper import Members, ZooKeeper
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.namers.polled import Endpoints, Instances, in_order, texts
from biandou.namers.zk_members import Nodes

if TYPE_CHECKING:
    from biandou.namers.curator import CuratorNamerKind

Tree = NameTree[Path | Bound]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class CuratorNamer:
    """Names of the form `/<service>[/<residual>]`."""

    def __init__(self, kind: CuratorNamerKind, zookeeper: ZooKeeper) -> None:
        self.prefix = kind.full_prefix
        self._base = kind.base_path.rstrip("/")
        self._zookeeper = zookeeper
        self._nodes = Nodes(zookeeper, kind.registry(zookeeper.name))
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the service has instances, else a negative tree."""
        names = texts(path, 1)
        if names is None or not names[0] or "/" in names[0] or names[0] in (".", ".."):
            return _NEGATIVE
        node = f"{self._base}/{names[0]}"
        return self._endpoints.tree(
            self._nodes.get(names[0], node, read_instances),
            lambda: self._nodes.origin(names[0]),
            self.prefix + path.take(1),
            path.drop(1),
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._nodes.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._zookeeper.name}: {self._base}/{names}"


def read_instances(members: Members) -> Instances:
    """Give the instances, at their TLS port if they have one."""
    found = []
    for data in members.data.values():
        try:
            told = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if not isinstance(told, dict) or told.get("enabled") is False:
            continue
        host, port = told.get("address"), told.get("sslPort") or told.get("port")
        if isinstance(host, str) and host and is_port(port):
            found.append(Instance(host, port))
    return in_order(found)
