"""Where a ZooKeeper is, as an operator writes it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.kinds import Keys


class ZkServer(Keys, frozen=True, kw_only=True):
    """One server."""

    host: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 2181

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_servers(servers: tuple[ZkServer, ...]) -> None:
    """Raise `ValueError` unless there is one."""
    if not servers:
        raise ValueError("zkAddrs names one server at least")
