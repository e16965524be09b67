"""`io.biandou.nacos`: services in Alibaba's Nacos, by its open API; Linkerd had no such namer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from biandou.clients.registry_access import JitterMs, PollMs, check_secret, check_servers
from biandou.clients.tls import ClientTls
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.nacos_services import NacosNamer

Name = Annotated[str, Meta(min_length=1, max_length=512)]


class NacosNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.biandou.nacos"):
    """Healthy and enabled instances; without `ttlMs` the server says how often it is asked (`cacheMillis`)."""

    servers: tuple[str, ...] = ("http://localhost:8848/nacos",)
    api_version: Literal["v1", "v2"] = "v2"
    namespace: Name | None = None
    group: Name = "DEFAULT_GROUP"
    clusters: tuple[Name, ...] = ()
    username: str | None = None
    password: str | None = None
    ttl_ms: PollMs | None = None
    jitter_ms: JitterMs = 500
    transfer_metadata: bool = False
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Nacos."""
        super().__post_init__()
        check_servers("servers", self.servers)
        check_secret("username", self.username)
        check_secret("password", self.password)
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if "@@" in self.group or any("," in cluster for cluster in self.clusters):
            raise ValueError("a group has no @@, and a cluster no comma")

    def namer(self) -> NacosNamer:
        """Make the namer; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.nacos import Nacos  # noqa: PLC0415
        from biandou.clients.tls import client_context  # noqa: PLC0415
        from biandou.namers.nacos_services import NacosNamer  # noqa: PLC0415

        context = client_context(self.tls)
        tls_name = self.tls.common_name if self.tls is not None and context is not None else None
        user = None if self.username is None or self.password is None else (self.username, self.password)
        return NacosNamer(self, Nacos(self.servers, self.api_version, user, context, tls_name))
