"""Where a ZooKeeper is, as an operator writes it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.clients.registry_access import check_host
from biandou.kinds import Keys


class ZkServer(Keys, frozen=True, kw_only=True):
    """One server."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 2181

    def __post_init__(self) -> None:
        """Raise `ValueError` for a host that is none."""
        check_host(self.host)

    def __str__(self) -> str:
        host = self.host.removeprefix("[").removesuffix("]")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def check_servers(servers: tuple[ZkServer, ...]) -> None:
    """Raise `ValueError` unless there is one."""
    if not servers:
        raise ValueError("zkAddrs names one server at least")
