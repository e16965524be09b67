"""Who leads a group: the first of its members by name, whose node holds its addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from biandou.clients.registry_access import Instance, read_port
from biandou.clients.zookeeper import Members, ZooKeeper
from biandou.namers.polled import Instances, in_order
from biandou.namers.zk_members import NodeNamer, Read

if TYPE_CHECKING:
    from biandou.namers.zk_leader import ZkLeaderNamerKind


class ZkLeaderNamer(NodeNamer):
    """Names of the form `/<zk path>`."""

    def __init__(self, kind: ZkLeaderNamerKind, zookeeper: ZooKeeper) -> None:
        super().__init__(kind.full_prefix, zookeeper, kind.registry(zookeeper.name))

    def question(self, names: Sequence[str]) -> tuple[str, str, Read]:
        """Give the node itself."""
        node = "/" + "/".join(names)
        return node, node, read_leader


def read_leader(members: Members) -> Instances:
    """Give the addresses of the leader, `host:port[,host:port…]`; none if there is none or it can't be read."""
    names = sorted(name for name in members.data if name.startswith("member_"))
    if not names:
        return ()
    found = []
    for text in members.data[names[0]].decode(errors="replace").split(","):
        host, _, digits = text.strip().rpartition(":")
        port = read_port(digits)
        if host and port is not None:
            found.append(Instance(host, port))
    return in_order(found)
