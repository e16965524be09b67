"""`io.l5d.dnssrv`: services by the SRV records of the domain name system (reference/naming.md §1.10, RFC 2782)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.dns_records import SrvNamer


class DnsSrvNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.dnssrv"):
    """Asked for every `refreshIntervalSeconds`, at `dnsHosts` or at the system's name servers.

    With `usePriority` only the records of the lowest number are used; without it all, as Linkerd did.
    """

    needs_experimental: ClassVar[bool] = True

    refresh_interval_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 5
    dns_hosts: tuple[str, ...] = ()
    use_priority: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a name server that is none."""
        super().__post_init__()
        # Not above: every linker knows this kind, and few need a resolver of their own.
        if self.dns_hosts:
            from biandou.clients.name_servers import read_server  # noqa: PLC0415

            for host in self.dns_hosts:
                read_server(host)

    def namer(self) -> SrvNamer:
        """Make the namer."""
        from biandou.clients.name_servers import NameServers, read_server  # noqa: PLC0415 - as above
        from biandou.namers.dns_records import SrvNamer  # noqa: PLC0415

        return SrvNamer(self, NameServers([read_server(host) for host in self.dns_hosts]))
