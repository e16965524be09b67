"""The `admin` and `usage` sections (reference/linker.md §1.7, §1.8)."""

from __future__ import annotations

from biandou.config.server import SocketOptions
from biandou.config.values import Ip, Port, PositiveCount, RegexText
from biandou.policies import Keys, Milliseconds, ServerTls


class AdminSecurity(Keys, frozen=True, kw_only=True):
    """Which admin pages are served; the patterns match a whole path, and the black list wins."""

    ui_enabled: bool = True
    control_enabled: bool = True
    diagnostics_enabled: bool = True
    path_whitelist: tuple[RegexText, ...] = ()
    path_blacklist: tuple[RegexText, ...] = ()


class Admin(Keys, frozen=True, kw_only=True):
    """Where the admin server listens; without `security` all pages are served."""

    ip: Ip = "127.0.0.1"
    port: Port = 9990
    socket_options: SocketOptions = SocketOptions()
    shutdown_grace_ms: Milliseconds = 10_000
    http_identifier_port: Port | None = None
    worker_threads: PositiveCount = 2
    tls: ServerTls | None = None
    security: AdminSecurity | None = None


class Usage(Keys, frozen=True, kw_only=True):
    """Read so that existing files stay valid: Biandou sends no reports, whatever is written here."""

    org_id: str | None = None
    enabled: bool = True
