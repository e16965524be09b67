"""`io.l5d.marathon`: apps of Marathon, asked for again and again (reference/naming.md §1.7)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from biandou.clients.registry_access import JitterMs, PollMs, RegistryPort, check_host
from biandou.clients.tls import ClientTls
from biandou.dtab import Path
from biandou.errors import ConfigError
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.marathon_apps import MarathonNamer

BASIC: Final = "MARATHON_HTTP_AUTH_CREDENTIAL"
DCOS: Final = "DCOS_SERVICE_ACCOUNT_CREDENTIAL"


class MarathonNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.marathon"):
    """Tasks of the apps that the Marathon at `dst` runs; credentials are in the environment, as Linkerd's were."""

    host: str = "marathon.mesos"
    port: RegistryPort = 80
    dst: str | None = None
    uri_prefix: str = ""
    ttl_ms: PollMs = 5000
    jitter_ms: JitterMs = 50
    use_health_check: bool = False
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Marathon."""
        super().__post_init__()
        check_host(self.host)
        if self.dst is not None and Path.read(self.dst).segments[:1] != (b"$",):
            raise ValueError("dst is a path that needs no namer, such as /$/inet/marathon.mesos/80")
        prefix = self.uri_prefix
        if prefix and (not prefix.startswith("/") or not prefix.isascii() or not prefix.isprintable()):
            raise ValueError("uriPrefix begins with a slash")
        if set(prefix) & set("?# "):
            raise ValueError("uriPrefix is a path, without a query or blanks")

    def namer(self) -> MarathonNamer:
        """Make the namer; raises `ConfigError` for a TLS file or a credential that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.marathon import Marathon  # noqa: PLC0415
        from biandou.clients.marathon_login import basic, service_account  # noqa: PLC0415
        from biandou.clients.tls import client_context  # noqa: PLC0415
        from biandou.namers.marathon_apps import MarathonNamer  # noqa: PLC0415

        context = client_context(self.tls)
        tls_name = self.tls.common_name if self.tls is not None and context is not None else None
        account, password = os.environ.get(DCOS), os.environ.get(BASIC)
        try:
            # With both, DC/OS is meant.
            login = service_account(account) if account else basic(password) if password else None
        except ValueError as error:
            raise ConfigError(f"io.l5d.marathon: {DCOS if account else BASIC}: {error}") from error
        name = f"marathon at {self.host}:{self.port}" if self.dst is None else f"marathon at {self.dst}"
        prefix = self.uri_prefix.rstrip("/")
        marathon = Marathon(name, self.host, prefix=prefix, login=login, tls=context, tls_name=tls_name)
        return MarathonNamer(self, marathon)
