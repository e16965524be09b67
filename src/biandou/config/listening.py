"""A listening socket of Python's as its keys describe it: the admin server's, an interface's of namerd."""

from __future__ import annotations

import socket

from biandou.config.server import SocketOptions
from biandou.errors import ConfigError

BACKLOG = 1024


def listen(ip: str, port: int, options: SocketOptions, what: str) -> socket.socket:
    """Give a socket that listens; raises `ConfigError`, which names the address and `what` wanted it."""
    listener = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, options.reuse_addr)
        if options.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if options.keep_alive is not None:
            # Connections inherit it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.keep_alive)
        listener.bind((ip, port))
        listener.listen(options.backlog or BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{what} can't listen on {show_address(ip, port)}: {error.strerror}") from error
    return listener


def show_address(ip: str, port: int) -> str:
    """Give `127.0.0.1:4180`, or `[::1]:4180`."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
