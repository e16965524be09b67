"""`io.l5d.serversets`: Finagle's server sets in ZooKeeper (reference/naming.md §1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biandou.clients.zookeeper_access import ZkServer, check_servers
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.zk_serversets import ServersetsNamer


class ServersetsNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.serversets"):
    """The members of a node `/#/io.l5d.serversets/<zk path>[:<endpoint>][#<shard>]`."""

    zk_addrs: tuple[ZkServer, ...]

    def __post_init__(self) -> None:
        """Raise `ValueError` unless a server is named."""
        super().__post_init__()
        check_servers(self.zk_addrs)

    def namer(self) -> ServersetsNamer:
        """Make the namer."""
        # Not above: every linker knows this kind, and few need a client of ZooKeeper.
        from biandou.clients.zookeeper import zookeeper_at  # noqa: PLC0415
        from biandou.namers.zk_serversets import ServersetsNamer  # noqa: PLC0415

        return ServersetsNamer(self, zookeeper_at([str(server) for server in self.zk_addrs], 10_000))
