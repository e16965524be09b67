"""Records of the domain name system, asked for at name servers themselves: with priorities, weights and times to live.

`clients/dns.py` resolves hosts as the system does, which says none of that.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from biandou.clients.dns import ip_literal
from biandou.clients.registry_http import RegistryError

PORT: Final = 53
TRY_SECONDS: Final = 2.0
"""How long one server may take."""
ALL_SECONDS: Final = 6.0
"""How long all of them may take together."""
PAYLOAD: Final = 1232
"""How many bytes an answer over UDP may have, so that it is not cut in two (DNS flag day 2020); more come over TCP."""
NEGATIVE_SECONDS: Final = 5.0
"""How long nobody need ask again for what is not there, unless the zone says."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?|([0-9A-Fa-f:]+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A name server: an IP literal."""

    ip: str
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Service:
    """What an SRV record says (RFC 2782)."""

    host: str
    port: int
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class Found:
    """Addresses, none if there are none, and for how many seconds that holds."""

    ips: tuple[str, ...]
    seconds: float


def read_server(text: str) -> Server:
    """Read `10.0.0.2`, `10.0.0.2:5353` or `[fd00::2]:53`; raises `ValueError`."""
    found = _HOST.fullmatch(text)
    ip = ip_literal(found[3] or found[1]) if found is not None else None
    port = int(found[2]) if found is not None and found[2] else PORT
    if ip is None or not 1 <= port <= 65535:
        raise ValueError(f"{text} is no address of a name server: 10.0.0.2 and 10.0.0.2:5353 are")
    return Server(ip, port)


class NameServers:
    """Those of `servers`, or the system's (`/etc/resolv.conf`); whichever answers first in their order is believed."""

    def __init__(self, servers: Sequence[Server]) -> None:
        # Of those that are given only the search list of the system holds; a system without one has none.
        try:
            resolver = dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            resolver = dns.asyncresolver.Resolver(configure=False)
        if servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(server.ip, server.port) for server in servers]
        resolver.use_edns(0, 0, PAYLOAD)
        resolver.timeout, resolver.lifetime = TRY_SECONDS, ALL_SECONDS
        self._resolver = resolver
        self.name = f"dns at {', '.join(map(str, servers)) if servers else 'the servers of /etc/resolv.conf'}"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep nothing open: each question has its own socket."""
        yield

    async def services(self, name: str) -> list[Service]:
        """Give the SRV records of a name, none if there are none; raises `RegistryError` if nobody says."""
        answer = await self._ask(name, "SRV")
        if answer is None:
            return []
        return [
            Service(record.target.to_text(), record.port, record.priority, record.weight)
            for record in answer.rrset or ()
            # RFC 2782: the root says that the service is decidedly not there.
            if record.target != dns.name.root and record.port > 0
        ]

    async def addresses(self, host: str, kinds: Sequence[Literal["A", "AAAA"]]) -> Found:
        """Give the addresses of a host, of the first kind that it has any of; raises `RegistryError` if nobody says."""
        seconds = NEGATIVE_SECONDS
        for kind in kinds:
            answer = await self._ask(host, kind)
            if answer is not None and answer.rrset:
                ips = tuple(dict.fromkeys(record.address for record in answer.rrset))
                return Found(ips, float(answer.chaining_result.minimum_ttl))
            if answer is not None:
                seconds = float(answer.chaining_result.minimum_ttl) or seconds
        return Found((), seconds)

    async def _ask(self, name: str, kind: str) -> Any:
        """Give dnspython's answer, without records if there are none of that kind; `None` if there is no such name."""
        try:
            return await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=not name.endswith("."))
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape):
            # No name that anybody could have.
            return None
        except dns.resolver.NoNameservers as error:
            raise RegistryError(f"{self.name}: no server answers for {name} ({_codes(error)})") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise RegistryError(f"{self.name}: {name}: {error}") from error


def _codes(error: dns.resolver.NoNameservers) -> str:
    told = error.kwargs.get("errors") or []
    return ", ".join(sorted({str(one[3]) for one in told if len(one) > 3})) or "none is there"
