"""The admin's listening socket: open from the start, while the HTTP server is loaded when somebody first connects.

An HTTP server with its libraries takes more memory than the rest of an idle linker, and a third of a second to load.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

BACKLOG: Final = 128

Close = Callable[[], Awaitable[None]]
Serve = Callable[[socket.socket], Awaitable[Close]]
"""Serves a listening socket, and gives what ends that."""

_log = logging.getLogger(__name__)


class AdminListener:
    """Listens on `ip`:`port`; at the first connection imports `module` in a thread, then calls `serve`.

    `what` it serves is for the log: `http admin`.
    """

    def __init__(self, ip: str, port: int, module: str, serve: Serve, what: str = "http admin") -> None:
        self._ip = ip
        self._port = port
        self._module = module
        self._serve = serve
        self._what = what
        self._socket: socket.socket | None = None
        self._loading: asyncio.Task[Close] | None = None

    async def start(self) -> list[str]:
        """Listen, and give the line to log; raises `OSError`, which names the address."""
        family = socket.AF_INET6 if ":" in self._ip else socket.AF_INET
        try:
            listener = socket.create_server((self._ip, self._port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(f"the admin server can't listen on {self._ip}:{self._port}: {error.strerror}") from error
        listener.setblocking(False)
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener, self._load)
        ip, port = listener.getsockname()[:2]
        return [f"serving {self._what} on {f'[{ip}]' if ':' in ip else ip}:{port}"]

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        listener, self._socket = self._socket, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        if self._loading is not None:
            with contextlib.suppress(Exception):
                close = await self._loading
                await close()
        listener.close()

    def _load(self) -> None:
        """Somebody connects: the connection waits in the kernel until the server is there to take it."""
        listener = self._socket
        if listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._loading = loop.create_task(self._open(listener), name="admin")
        self._loading.add_done_callback(self._loaded)

    async def _open(self, listener: socket.socket) -> Close:
        # In a thread: names are bound meanwhile.
        await asyncio.get_running_loop().run_in_executor(None, importlib.import_module, self._module)
        return await self._serve(listener)

    def _loaded(self, loading: asyncio.Task[Close]) -> None:
        if not loading.cancelled() and (error := loading.exception()) is not None:
            _log.error("the admin server can't be loaded: %s", error, exc_info=error)
            listener, self._socket = self._socket, None
            if listener is not None:
                # Whoever waits is turned away: nobody will ever answer.
                listener.close()
