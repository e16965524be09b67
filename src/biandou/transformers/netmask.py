"""Whether two hosts are in one network: what the transformers that look for a neighbour ask."""

from __future__ import annotations

import ipaddress


class Netmask:
    """An IPv4 mask such as `255.255.255.0`; an IPv6 address is in no network of it, not even its own."""

    def __init__(self, mask: str) -> None:
        self._mask = int(ipaddress.IPv4Address(mask))

    def local(self, one: str, other: str) -> bool:
        """Whether both IP literals are IPv4 and agree where the mask has ones; raises `ValueError` for other texts."""
        first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
        if first.version == 6 or second.version == 6:
            return False
        return int(first) & self._mask == int(second) & self._mask
