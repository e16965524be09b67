"""Sockets of connections that stay open for long and are silent for long."""

from __future__ import annotations

import socket
from typing import Any, Final

_PROBES: Final = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A peer whose machine is gone is noticed within a minute."""


def lasting_socket(info: tuple[Any, ...]) -> socket.socket:
    """Give a socket for an address as `getaddrinfo` gives it; what is at the other end is probed when it is silent."""
    made = socket.socket(info[0], info[1], info[2])
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in _PROBES:
        made.setsockopt(socket.IPPROTO_TCP, option, seconds)
    return made
