"""`io.l5d.zk`: dtabs in ZooKeeper, a node each, shared by several namerds (reference/naming.md §4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from biandou.kinds import Keys
from biandou.stores.chronicle import DEFAULT_SIZE, HistorySize
from biandou.stores.interface import StoreKind

if TYPE_CHECKING:
    from biandou.stores.zk_nodes import ZkStore

PERMISSIONS = "crwda"


class ZkAddress(Keys, frozen=True, kw_only=True):
    """One server; both keys are required."""

    host: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)]

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ZkAuth(Keys, frozen=True, kw_only=True):
    """Who we say we are, after every connect."""

    scheme: str
    auth: str


class ZkAcl(Keys, frozen=True, kw_only=True):
    """Who may do what with the nodes that we make."""

    scheme: str
    id: str
    perms: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the permissions are some of `crwda`, each once."""
        if not self.perms or len(set(self.perms)) != len(self.perms) or not set(self.perms) <= set(PERMISSIONS):
            raise ValueError(f"perms are some of {PERMISSIONS}, each once, and {self.perms} is not")


class ZkStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.l5d.zk"):
    """Dtabs below `pathPrefix`, which is made if need be."""

    zk_addrs: tuple[ZkAddress, ...]
    path_prefix: str = "/dtabs"
    session_timeout_ms: Annotated[int, Meta(ge=100, le=2**31 - 1)] = 10_000
    auth_info: ZkAuth | None = None
    acls: tuple[ZkAcl, ...] = (ZkAcl(scheme="world", id="anyone", perms=PERMISSIONS),)
    history_size: HistorySize = DEFAULT_SIZE

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the prefix is a node's path and somebody may do something."""
        if not self.path_prefix.startswith("/") or self.path_prefix.endswith("/") or "//" in self.path_prefix:
            raise ValueError("pathPrefix begins with a slash and does not end with one")
        if not self.zk_addrs:
            raise ValueError("zkAddrs names one server at least")
        if not self.acls:
            raise ValueError("without acls nobody could read what we write")

    def store(self) -> ZkStore:
        """Make the store."""
        # Not above: every linker knows this kind, and none needs a client of ZooKeeper.
        from biandou.stores.zk_nodes import ZkStore  # noqa: PLC0415

        return ZkStore(self)
