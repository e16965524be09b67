"""`io.l5d.zkLeader`: the leader of a group in ZooKeeper (reference/naming.md §1.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biandou.clients.zookeeper_access import ZkServer, check_servers
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.zk_leaders import ZkLeaderNamer


class ZkLeaderNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.zkLeader"):
    """The first of the members of a node, which holds its addresses: `/#/io.l5d.zkLeader/<zk path>`."""

    zk_addrs: tuple[ZkServer, ...]

    def __post_init__(self) -> None:
        """Raise `ValueError` unless a server is named."""
        super().__post_init__()
        check_servers(self.zk_addrs)

    def namer(self) -> ZkLeaderNamer:
        """Make the namer."""
        # Not above: every linker knows this kind, and few need a client of ZooKeeper.
        from biandou.clients.zookeeper import zookeeper_at  # noqa: PLC0415
        from biandou.namers.zk_leaders import ZkLeaderNamer  # noqa: PLC0415

        return ZkLeaderNamer(self, zookeeper_at([str(server) for server in self.zk_addrs], 4_000))
