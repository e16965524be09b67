"""Who leads a group: the first of its members by name, whose node holds its addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biandou.clients.registry_access import Instance
from biandou.clients.zookeeper import Members, ZooKeeper
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.namers.polled import Endpoints, Instances, in_order
from biandou.namers.zk_members import Nodes, Read, longest

if TYPE_CHECKING:
    from biandou.namers.zk_leader import ZkLeaderNamerKind

Tree = NameTree[Path | Bound]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class ZkLeaderNamer:
    """Names of the form `/<zk path>`; of a path that is too long the rest is the residual."""

    def __init__(self, kind: ZkLeaderNamerKind, zookeeper: ZooKeeper) -> None:
        self.prefix = kind.full_prefix
        self._zookeeper = zookeeper
        self._nodes = Nodes(zookeeper, kind.registry(zookeeper.name))
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf for the longest beginning of the path that has a leader, else a negative tree."""
        try:
            names = [part.decode() for part in path.segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if any(not name or "/" in name or name in (".", "..") for name in names):
            return _NEGATIVE
        return longest(self._nodes, self._endpoints, self.prefix, path, _question)

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._nodes.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._zookeeper.name}: the leader of /{names}"


def read_leader(members: Members) -> Instances:
    """Give the addresses of the leader, `host:port[,host:port…]`; none if there is none or it can't be read."""
    names = sorted(name for name in members.data if name.startswith("member_"))
    if not names:
        return ()
    found = []
    for text in members.data[names[0]].decode(errors="replace").split(","):
        host, _, port = text.strip().rpartition(":")
        if host and port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535:
            found.append(Instance(host, int(port)))
    return in_order(found)


def _question(path: Path) -> tuple[str, str, Read]:
    node = "/" + "/".join(part.decode() for part in path.segments)
    return node, node, read_leader
