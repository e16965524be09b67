"""`io.l5d.serversets`: members of Finagle's server sets in ZooKeeper (reference/naming.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biandou.announcers.interface import AnnouncerKind
from biandou.clients.zookeeper_access import ZkServer, check_servers
from biandou.dtab import Path

if TYPE_CHECKING:
    from biandou.announcers.zk_members import MembersAnnouncer

SESSION_MS = 4000
"""So long after the end of a linker that could not say so its members are gone."""


class ServersetsAnnouncerKind(AnnouncerKind, frozen=True, kw_only=True, tag="io.l5d.serversets"):
    """A member of the node `<pathPrefix>/<name>` for each address."""

    zk_addrs: tuple[ZkServer, ...]
    path_prefix: str = "/discovery"

    def __post_init__(self) -> None:
        """Raise `ValueError` unless a server is named, and a node can have this path."""
        super().__post_init__()
        check_servers(self.zk_addrs)
        _check_node(Path.read(self.path_prefix))

    def node(self, name: Path) -> str:
        """Give the path of the node whose members are announced as `name`."""
        path = Path.read(self.path_prefix) + name
        return "/" + "/".join(segment.decode() for segment in path.segments)

    def check(self, name: Path) -> None:
        """Raise `ValueError` for a name that is no path of a node."""
        path = Path.read(self.path_prefix) + name
        if not path.segments:
            raise ValueError("ZooKeeper's root takes no members: a name must follow the prefix")
        _check_node(path)

    def announcer(self) -> MembersAnnouncer:
        """Make the announcer."""
        # Not above: every linker knows this kind, and few need a client of ZooKeeper.
        from biandou.announcers.zk_members import MembersAnnouncer  # noqa: PLC0415
        from biandou.clients.zookeeper_session import Session  # noqa: PLC0415

        return MembersAnnouncer(self, Session([str(server) for server in self.zk_addrs], SESSION_MS))


def _check_node(path: Path) -> None:
    for segment in path.segments:
        text = segment.decode(errors="replace")
        if "/" in text or text in (".", "..") or not text.isprintable() or "\ufffd" in text:
            raise ValueError(f"no node of ZooKeeper can have {Path((segment,))} in its path")
