"""An identifier that puts the tenant in front of the host: `/svc/acme/web`."""

from __future__ import annotations

from biandou.dtab import Path
from biandou.identifiers.interface import Identify, PythonIdentifierKind
from biandou.requests import PluginRequest


class TenantIdentifierKind(PythonIdentifierKind, frozen=True, kw_only=True, tag="com.example.tenant"):
    """`header` is the header that names the tenant; a request without it is the next identifier's."""

    header: str = "X-Tenant"

    def make(self) -> Identify:
        """Give the identifier, which may await what it likes."""

        async def identify(request: PluginRequest) -> Path | None:
            tenant = request.headers.get(self.header)
            host = request.headers.get("Host")
            return Path.of(tenant, host) if tenant and host else None

        return identify
