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
from typing import TYPE_CHECKING, Final

from biandou.config.listening import listen, show_address
from biandou.config.server import SocketOptions
from biandou.errors import ConfigError
from biandou.policies import ServerTls

if TYPE_CHECKING:
    # Loaded where TLS is wanted.
    from ssl import SSLContext

    from biandou.config.followed_files import FollowedFiles

Close = Callable[[], Awaitable[None]]
Serve = Callable[[socket.socket, "SSLContext | None"], Awaitable[Close]]
"""Serves a listening socket, by TLS if there is what that needs, and gives what ends it."""

ADMIN: Final = "admin"

_log = logging.getLogger(__name__)


class AdminListener:
    """Listens on `ip`:`port`; at the first connection imports `module` in a thread, then calls `serve`.

    `what` is what it is called in the log.
    """

    def __init__(
        self,
        ip: str,
        port: int,
        module: str,
        serve: Serve,
        *,
        options: SocketOptions = SocketOptions(),  # noqa: B008 - frozen
        tls: ServerTls | None = None,
        what: str = ADMIN,
    ) -> None:
        self._ip = ip
        self._port = port
        self._module = module
        self._serve = serve
        self._options = options
        self._tls = tls
        self._what = what
        self._context: SSLContext | None = None
        self._files: FollowedFiles[SSLContext] | None = None
        self._socket: socket.socket | None = None
        self._loading: asyncio.Task[Close] | None = None

    async def start(self) -> list[str]:
        """Listen, and give the line to log; raises `OSError`, which names the address, `ConfigError` for TLS files."""
        self._context = self._read_tls()
        try:
            listener = listen(self._ip, self._port, self._options, f"the {self._what} server")
        except ConfigError as error:
            raise OSError(str(error)) from error
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener, self._load)
        ip, port = listener.getsockname()[:2]
        scheme = "http" if self._tls is None else "https"
        return [f"serving {scheme} {self._what} on {show_address(ip, port)}"]

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

    def check_tls(self) -> None:
        """Have new connections go by the certificate's files as they are now; raises `ConfigError`."""
        if self._tls is not None and self._files is not None:
            from biandou.config.server_tls import server_context  # noqa: PLC0415 - loaded already

            server_context(self._tls)
            self._files.get(at_once=True)

    def _read_tls(self) -> SSLContext | None:
        if self._tls is None:
            return None
        from biandou.config.server_tls import followed_context  # noqa: PLC0415 - loads OpenSSL

        context, self._files = followed_context(self._tls, f"the {self._what} server")
        return context

    def _load(self) -> None:
        """Somebody connects: the connection waits in the kernel until the server is there to take it."""
        listener = self._socket
        if listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._loading = loop.create_task(self._open(listener), name=self._what)
        self._loading.add_done_callback(self._loaded)

    async def _open(self, listener: socket.socket) -> Close:
        # In a thread: names are bound meanwhile.
        await asyncio.get_running_loop().run_in_executor(None, importlib.import_module, self._module)
        return await self._serve(listener, self._context)

    def _loaded(self, loading: asyncio.Task[Close]) -> None:
        if not loading.cancelled() and (error := loading.exception()) is not None:
            _log.error("the %s server can't be loaded: %s", self._what, error, exc_info=error)
            listener, self._socket = self._socket, None
            if listener is not None:
                # Whoever waits is turned away: nobody will ever answer.
                listener.close()
