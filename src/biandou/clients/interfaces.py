"""The IP addresses of this host, as the kernel lists them."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

_SIOCGIFCONF: Final = 0x8912
_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP: Final = 1
_REQUEST: Final = struct.calcsize("16s16s8x")
_MOST: Final = 1024


def local_addresses() -> frozenset[str]:
    """Give every IPv4 and IPv6 address of every interface that is up, as literals; raises `OSError`."""
    return frozenset(_ipv4()) | frozenset(_ipv6())


def _ipv4() -> list[str]:
    buffer = array.array("B", bytes(_REQUEST * _MOST))
    address, room = buffer.buffer_info()
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        answer = fcntl.ioctl(query, _SIOCGIFCONF, struct.pack("iL", room, address))
        (used,) = struct.unpack_from("i", answer)
        for offset in range(0, used, _REQUEST):
            name = buffer[offset : offset + 16].tobytes()
            flags = fcntl.ioctl(query, _SIOCGIFFLAGS, struct.pack("16sH14x", name.rstrip(b"\0").split(b":")[0], 0))
            if struct.unpack_from("16xH", flags)[0] & _IFF_UP:
                found.append(str(ipaddress.IPv4Address(buffer[offset + 20 : offset + 24].tobytes())))
    return found


def _ipv6() -> list[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:
        return []  # a kernel without IPv6
    return [str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in lines]
