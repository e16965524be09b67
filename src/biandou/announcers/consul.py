"""`io.l5d.consul`: services of a Consul agent, each with a check that we pass; Linkerd has no such announcer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from biandou.announcers.interface import AnnouncerKind
from biandou.clients.consul_access import ConsulPort, check_access
from biandou.clients.tls import ClientTls
from biandou.dtab import Path

if TYPE_CHECKING:
    from biandou.announcers.consul_agent import AgentAnnouncer

MAX_NAME = 255


class ConsulAnnouncerKind(AnnouncerKind, frozen=True, kw_only=True, tag="io.l5d.consul"):
    """An instance at the agent at `host`:`port` for each address; the name is one segment, the service's.

    Consul calls an instance critical if we are silent for `ttlSeconds`, and forgets it after being critical for
    `forgetSeconds`.
    """

    host: str = "localhost"
    port: ConsulPort = 8500
    token: str | None = None
    tags: tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)], ...] = ()
    ttl_seconds: Annotated[int, Meta(ge=2, le=3600)] = 15
    forget_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 60
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Consul."""
        super().__post_init__()
        check_access(self.host, self.token)

    def check(self, name: Path) -> None:
        """Raise `ValueError` for a name that no service can have."""
        if len(name.segments) != 1:
            raise ValueError(
                f"an announcer of Consul takes one segment after its prefix, the service's name, not {name}"
            )
        text = name.segments[0].decode(errors="replace")
        if "/" in text or not text.isprintable() or "\ufffd" in text or len(text) > MAX_NAME or not text.strip():
            raise ValueError(f"no service of Consul can be called {name}")

    def announcer(self) -> AgentAnnouncer:
        """Make the announcer; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.announcers.consul_agent import AgentAnnouncer  # noqa: PLC0415
        from biandou.clients.consul import consul_at  # noqa: PLC0415

        return AgentAnnouncer(self, consul_at(self.host, self.port, self.token, self.tls, fail_fast=False))
