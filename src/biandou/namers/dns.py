"""`io.biandou.dns`: hosts by the address records of the domain name system, followed by their times to live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.dns_records import HostNamer

Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class DnsNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.biandou.dns"):
    """Asked for when what is known has expired, `minTtlSecs` at the soonest and `maxTtlSecs` at the latest.

    `family` says which addresses are used: `any` is IPv4 if there are some, else IPv6.
    """

    dns_hosts: tuple[str, ...] = ()
    family: Literal["any", "ipv4", "ipv6", "both"] = "any"
    min_ttl_secs: Seconds = 1
    max_ttl_secs: Seconds = 300

    def __post_init__(self) -> None:
        """Raise `ValueError` for a name server that is none, or times that are out of order."""
        super().__post_init__()
        if self.min_ttl_secs > self.max_ttl_secs:
            raise ValueError("minTtlSecs is no more than maxTtlSecs")
        # Not above: every linker knows this kind, and few need a resolver of their own.
        if self.dns_hosts:
            from biandou.clients.name_servers import read_server  # noqa: PLC0415

            for host in self.dns_hosts:
                read_server(host)

    def namer(self) -> HostNamer:
        """Make the namer."""
        from biandou.clients.name_servers import NameServers, read_server  # noqa: PLC0415 - as above
        from biandou.namers.dns_records import HostNamer  # noqa: PLC0415

        return HostNamer(self, NameServers([read_server(host) for host in self.dns_hosts]))
