"""`io.biandou.eureka`: applications in Netflix's Eureka, by its REST operations; Linkerd had no such namer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from biandou.clients.registry_access import JitterMs, PollMs, check_secret, check_servers
from biandou.clients.tls import ClientTls
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.eureka_applications import EurekaNamer


class EurekaNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.biandou.eureka"):
    """Instances that are UP; `servers` know the same, and each is the URL that `/apps` is below."""

    servers: tuple[str, ...] = ("http://localhost:8761/eureka",)
    username: str | None = None
    password: str | None = None
    ttl_ms: PollMs = 5000
    jitter_ms: JitterMs = 500
    delta: bool = True
    use_secure_port: bool = False
    use_host_name: bool = False
    transfer_metadata: bool = False
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Eureka."""
        super().__post_init__()
        check_servers("servers", self.servers)
        check_secret("username", self.username)
        check_secret("password", self.password)
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")

    def namer(self) -> EurekaNamer:
        """Make the namer; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.eureka import Eureka  # noqa: PLC0415
        from biandou.clients.tls import client_context  # noqa: PLC0415
        from biandou.namers.eureka_applications import EurekaNamer  # noqa: PLC0415

        context = client_context(self.tls)
        tls_name = self.tls.common_name if self.tls is not None and context is not None else None
        user = None if self.username is None else f"{self.username}:{self.password}"
        full = self.reconcile_seconds or math.inf
        eureka = Eureka(self.servers, user, context, tls_name, delta=self.delta, full_seconds=full)
        return EurekaNamer(self, eureka)
