"""What a linker's admin server is made of: its listening socket now, its pages when somebody looks."""

from __future__ import annotations

import importlib
import socket

from biandou.linker.admin_listener import AdminListener, Close
from biandou.linker.process import Parts

SERVER = "biandou.admin.server"


def open_admin(parts: Parts) -> AdminListener:
    """Give the admin server of a linker, not listening yet."""

    async def serve(listener: socket.socket) -> Close:
        close: Close = await importlib.import_module(SERVER).serve_linker(parts, listener)
        return close

    admin = parts.config.admin
    return AdminListener(admin.ip, admin.port, SERVER, serve)
