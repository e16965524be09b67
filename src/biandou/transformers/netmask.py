"""Whether two hosts are in one network: what the transformers that look for a neighbour ask."""

from __future__ import annotations

import ipaddress
from typing import Final


class Netmask:
    """An IPv4 mask such as `255.255.255.0`; an IPv6 address is in no network of it, not even its own."""

    def __init__(self, mask: str) -> None:
        self._mask = int(ipaddress.IPv4Address(mask))

    def local(self, one: str, other: str) -> bool:
        """Whether both IP literals are IPv4 and agree where the mask has ones; raises `ValueError` for other texts."""
        first, second = self.network(one), self.network(other)
        return first is not None and first == second

    def network(self, host: str) -> int | None:
        """Give the network of an IP literal, `None` for an IPv6 one; raises `ValueError` for other texts."""
        address = ipaddress.ip_address(host)
        return None if address.version == 6 else int(address) & self._mask


POD_NETWORK: Final = Netmask("255.255.255.0")
"""So wide is the network that the pods of one node of Kubernetes have, and no other pod (reference/naming.md §2)."""
