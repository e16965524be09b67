"""`io.l5d.curator`: services that Curator's service discovery keeps in ZooKeeper (reference/naming.md §1.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from biandou.clients.zookeeper_access import ZkServer, check_servers
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.curator_services import CuratorNamer


class CuratorNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.curator"):
    """The instances of a service: `/#/io.l5d.curator/<service>`."""

    needs_experimental: ClassVar[bool] = True

    zk_addrs: tuple[ZkServer, ...]
    base_path: str = "/"

    def __post_init__(self) -> None:
        """Raise `ValueError` unless a server is named, and the base is a node's path."""
        super().__post_init__()
        check_servers(self.zk_addrs)
        if not self.base_path.startswith("/") or "//" in self.base_path:
            raise ValueError("basePath begins with a slash")

    def namer(self) -> CuratorNamer:
        """Make the namer."""
        # Not above: every linker knows this kind, and few need a client of ZooKeeper.
        from biandou.clients.zookeeper import zookeeper_at  # noqa: PLC0415
        from biandou.namers.curator_services import CuratorNamer  # noqa: PLC0415

        return CuratorNamer(self, zookeeper_at([str(server) for server in self.zk_addrs], 10_000))
