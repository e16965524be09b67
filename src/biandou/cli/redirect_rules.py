"""The rules of nftables and iptables that bring connections to a linker, as text; nothing is run here.

Both hold one table, or two chains, of our own, so that taking them out leaves no trace. Under nftables a rule holds
only while a set has an element, which expires by itself: a guard that dies cuts nobody off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

TABLE: Final = "inet biandou"
OUTBOUND: Final = "BIANDOU_OUTBOUND"
INBOUND: Final = "BIANDOU_INBOUND"
HOLD_SECONDS: Final = 6
"""After so long without a sign from the guard the kernel lets connections go their own way."""

Network = IPv4Network | IPv6Network
Ports = tuple[tuple[int, int], ...]
"""Ranges, both ends included."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which connections come to a linker.

    `outbound` and `inbound` are the linker's ports for those that begin here and those that end here; `user` is who the
    linker runs as, whose own connections go their way. Without ports all are meant.
    """

    user: int
    outbound: int | None = None
    inbound: int | None = None
    ports: Ports = ()
    inbound_ports: Ports = ()
    excepted: Ports = ()
    networks: tuple[Network, ...] = ()
    ipv6: bool = False
    guarded: bool = True

    def __post_init__(self) -> None:
        """Raise `ValueError` unless there is something to redirect, and everything has to do with that."""
        if self.outbound is None and self.inbound is None:
            raise ValueError("--outbound or --inbound says which port of the linker takes connections")
        if self.outbound is None and (self.ports or self.networks):
            raise ValueError("--ports and --to say which connections come to the port of --outbound, which is missing")
        if self.inbound is None and self.inbound_ports:
            raise ValueError("--inbound-ports says which connections come to the port of --inbound, which is missing")
        if not self.ipv6 and any(network.version == 6 for network in self.networks):
            raise ValueError("networks of IPv6 need --ipv6")


def read_ports(text: str) -> Ports:
    """Read `80,8000-8100`; raises `ValueError`."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part} is no port and no range of ports, as 80 and 8000-8100 are")
        least, most = int(first), int(last or first)
        if not 1 <= least <= most <= 65535:
            raise ValueError(f"{part} is no port or range of ports between 1 and 65535")
        found.append((least, most))
    if text.strip() and not found:
        raise ValueError(f"{text} is no list of ports, as 80,8000-8100 is")
    return tuple(sorted(found))


def read_networks(text: str) -> tuple[Network, ...]:
    """Read `10.0.0.0/8,192.168.0.0/16`; raises `ValueError`."""
    found = tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    if text.strip() and not found:
        raise ValueError(f"{text} is no list of networks, as 10.0.0.0/8,192.168.0.0/16 is")
    return found


# ── nftables ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def nft_install(rules: Rules) -> str:
    """Give what `nft -f -` takes to put the rules in force, in the place of former ones, all at once."""
    lines = [f"table {TABLE} {{}}", f"delete table {TABLE}", f"table {TABLE} {{"]
    if rules.guarded:
        lines.append("  set held { type inet_proto; flags timeout; }")
    if rules.outbound is not None:
        lines += ["  chain outbound {", "    type nat hook output priority -100; policy accept;"]
        lines += [f"    {line}" for line in _nft_outbound(rules, rules.outbound)]
        lines.append("  }")
    if rules.inbound is not None:
        lines += ["  chain inbound {", "    type nat hook prerouting priority -100; policy accept;"]
        lines += [f"    {line}" for line in _nft_inbound(rules, rules.inbound)]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def nft_hold() -> str:
    """Give what keeps guarded rules in force for a while."""
    return f"flush set {TABLE} held\nadd element {TABLE} held {{ tcp timeout {HOLD_SECONDS}s }}\n"


def nft_release() -> str:
    """Give what lets connections go their own way at once, and leaves the rules."""
    return f"flush set {TABLE} held\n"


def nft_remove() -> str:
    """Give what takes all of it out, whether it is there or not."""
    return f"table {TABLE} {{}}\ndelete table {TABLE}\n"


def _nft_outbound(rules: Rules, port: int) -> Iterator[str]:
    if not rules.ipv6:
        yield "meta nfproto != ipv4 return"
    yield f"meta skuid {rules.user} return"
    yield "fib daddr type local return"
    yield from _nft_excepted(rules)
    what = f"{_nft_held(rules)}tcp dport {_nft_ports(rules.ports)} redirect to :{port}"
    if not rules.networks:
        yield what
    for version, family in ((4, "ip"), (6, "ip6")):
        networks = ", ".join(str(network) for network in rules.networks if network.version == version)
        if networks:
            yield f"{family} daddr {{ {networks} }} {what}"


def _nft_inbound(rules: Rules, port: int) -> Iterator[str]:
    if not rules.ipv6:
        yield "meta nfproto != ipv4 return"
    # The linker's own way to the services of this host.
    yield 'iifname "lo" return'
    yield "fib daddr type != local return"
    yield from _nft_excepted(rules)
    yield f"{_nft_held(rules)}tcp dport {_nft_ports(rules.inbound_ports)} redirect to :{port}"


def _nft_excepted(rules: Rules) -> Iterator[str]:
    if rules.excepted:
        yield f"tcp dport {_nft_ports(rules.excepted)} return"


def _nft_held(rules: Rules) -> str:
    return "meta l4proto @held " if rules.guarded else ""


def _nft_ports(ports: Ports) -> str:
    shown = (str(least) if least == most else f"{least}-{most}" for least, most in ports or ((1, 65535),))
    return f"{{ {', '.join(shown)} }}"


# ── iptables ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def iptables_install(rules: Rules) -> str:
    """Give what `iptables-restore --noflush` takes to fill our chains, which nothing leads to yet."""
    lines = ["*nat", f":{OUTBOUND} - [0:0]", f":{INBOUND} - [0:0]"]
    if rules.outbound is not None:
        lines += [
            f"-A {OUTBOUND} -m owner --uid-owner {rules.user} -j RETURN",
            f"-A {OUTBOUND} -m addrtype --dst-type LOCAL -j RETURN",
            *_iptables_ports(OUTBOUND, rules.excepted, "RETURN"),
        ]
        places = [f" -d {network}" for network in rules.networks if network.version == 4] or [""]
        for place in places:
            lines += _iptables_ports(OUTBOUND + place, rules.ports or ((1, 65535),), _redirect(rules.outbound))
    if rules.inbound is not None:
        lines += [
            f"-A {INBOUND} -i lo -j RETURN",
            f"-A {INBOUND} -m addrtype ! --dst-type LOCAL -j RETURN",
            *_iptables_ports(INBOUND, rules.excepted, "RETURN"),
            *_iptables_ports(INBOUND, rules.inbound_ports or ((1, 65535),), _redirect(rules.inbound)),
        ]
    return "\n".join([*lines, "COMMIT"]) + "\n"


def iptables_jumps() -> tuple[tuple[str, ...], ...]:
    """Give the rules that lead to our chains: chain and rule, for `iptables -t nat -A|-C|-D`."""
    return (("OUTPUT", "-p", "tcp", "-j", OUTBOUND), ("PREROUTING", "-p", "tcp", "-j", INBOUND))


def _iptables_ports(chain: str, ports: Ports, target: str) -> list[str]:
    return [f"-A {chain} -p tcp --dport {least}:{most} -j {target}" for least, most in ports]


def _redirect(port: int) -> str:
    return f"REDIRECT --to-ports {port}"
