"""`/$/io.buoyant.namer.zk.leader/<hosts>/…` and `/$/com.twitter.serverset/<hosts>/…`: ZooKeepers that a path names.

Hosts are `host:port` pairs between `::` or `,` (reference/naming.md §1.2); without a port 2181.
"""

from __future__ import annotations

import re
from typing import Final

from biandou.clients.registry_access import read_port
from biandou.clients.zookeeper_access import ZkServer
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.errors import BindingError
from biandou.live import Live
from biandou.namers.interface import Namer
from biandou.namers.serversets import ServersetsNamerKind
from biandou.namers.zk_leader import ZkLeaderNamerKind

MAX_PLACES: Final = 16
"""So many ZooKeepers may be named by paths: each costs a session, and a request's own dtab may name any."""

_DIVIDER: Final = re.compile(r"::|,")


class ZkPathNamer:
    """Hands what follows the hosts to the namer of that ZooKeeper."""

    def __init__(self, name: str, kind: type[ServersetsNamerKind | ZkLeaderNamerKind]) -> None:
        self.prefix = Path.of("$", name)
        self._kind = kind
        self._namers: dict[bytes, Namer] = {}

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what the path means at the ZooKeeper that its first segment names."""
        if len(path) < 2:
            return Live.ok(NEG)
        hosts = path.segments[0]
        namer = self._namers.get(hosts)
        if namer is None:
            if len(self._namers) >= MAX_PLACES:
                return Live.failed(BindingError(f"more than {MAX_PLACES} ZooKeepers are named by paths"))
            try:
                made = self._kind(zk_addrs=tuple(map(_server, _DIVIDER.split(hosts.decode())))).namer()
            except ValueError as error:
                return Live.failed(BindingError(f"{self.prefix + path.take(1)} names no ZooKeeper: {error}"))
            made.prefix = self.prefix + path.take(1)
            namer = self._namers[hosts] = made
        return namer.lookup(path.drop(1))


def _server(text: str) -> ZkServer:
    host, colon, digits = text.rpartition(":")
    if not colon:
        host, digits = text, "2181"
    port = read_port(digits)
    if not host or port is None:
        raise ValueError(f"{text} is no host:port")
    return ZkServer(host=host, port=port)
