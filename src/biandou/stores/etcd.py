"""`io.l5d.etcd`: dtabs in etcd, a key each, shared by several namerds (reference/naming.md §4.5).

Unlike the reference it speaks version 3 of the API, since etcd 3.6 has no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from biandou.clients.tls import ClientTls, client_context
from biandou.stores.chronicle import DEFAULT_SIZE, HistorySize
from biandou.stores.interface import StoreKind

if TYPE_CHECKING:
    from biandou.stores.etcd_keys import EtcdStore


class EtcdStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.l5d.etcd"):
    """Dtabs below `pathPrefix`, at `host`:`port` or at whichever of `endpoints` answers."""

    needs_experimental: ClassVar[bool] = True

    host: str = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535)] = 2379
    path_prefix: str = "/namerd/dtabs"
    tls: ClientTls | None = None
    endpoints: tuple[str, ...] = ()
    history_size: HistorySize = DEFAULT_SIZE

    def __post_init__(self) -> None:
        """Raise `ValueError` unless each of `endpoints` is `host:port` and the prefix a path."""
        if not self.path_prefix.startswith("/") or self.path_prefix.endswith("/"):
            raise ValueError("pathPrefix begins with a slash and does not end with one")
        for endpoint in self.endpoints:
            host, _, port = endpoint.rpartition(":")
            if not host or "/" in host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
                raise ValueError(f"endpoints are host:port, and {endpoint} is not")

    def store(self) -> EtcdStore:
        """Make the store; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and none needs it.
        from biandou.clients.etcd import Etcd  # noqa: PLC0415
        from biandou.stores.etcd_keys import EtcdStore  # noqa: PLC0415

        host = f"[{self.host}]" if ":" in self.host else self.host
        tls = client_context(self.tls)
        name = self.tls.common_name if self.tls is not None and tls is not None else None
        etcd = Etcd(self.endpoints or (f"{host}:{self.port}",), tls, name)
        return EtcdStore(etcd, self.path_prefix, history_size=self.history_size)
