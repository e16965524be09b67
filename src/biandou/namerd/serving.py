"""namerd's interfaces while they serve: opened, kept or closed as the configuration says."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from biandou.clients.grpc_log import hush_grpc
from biandou.config.listening import listen, show_address
from biandou.config.namerd import HttpController, InterfaceKind, MeshInterface
from biandou.config.server_tls import followed_context
from biandou.errors import ConfigError
from biandou.kinds import kind_name
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.interfaces.mesh import MeshApi
from biandou.telemeters.registry import Registry, ScopeRegistry

Close = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Open:
    """An interface that listens."""

    written: InterfaceKind
    close: Close
    http: HttpServer | None = None


class Serving:
    """The interfaces of one namerd."""

    def __init__(self, http: HttpApi, mesh: MeshApi, registry: Registry) -> None:
        self._http = http
        self._mesh = mesh
        self._registry = registry
        self._open: list[Open] = []

    async def open(self, interface: InterfaceKind) -> None:
        """Listen; raises `ConfigError`, or `OSError` for an address that can't be had."""
        self._open.append(await self._opened(interface))

    async def stop(self) -> None:
        """Close all of them, the last opened first."""
        while self._open:
            await self._open.pop().close()

    async def prepare(self, interfaces: Sequence[InterfaceKind]) -> Close:
        """Listen where only these do; gives what then closes the others and lets in whom these let in.

        Raises `ConfigError` and `OSError`, and then nothing is different. Interfaces are known by kind and address.
        """
        former = list(self._open)
        kept: list[tuple[Open, InterfaceKind, Doorkeeper | None]] = []
        opened: list[Open] = []
        try:
            for interface in interfaces:
                place = next((one for one in former if _address(one.written) == _address(interface)), None)
                if place is None:
                    opened.append(await self._opened(interface))
                else:
                    _check_replaceable(place.written, interface)
                    former.remove(place)
                    # Always anew: a token may have changed in its file.
                    keeper = Doorkeeper(interface.tokens) if isinstance(interface, HttpController) else None
                    kept.append((place, interface, keeper))
        except BaseException:
            for one in opened:
                await one.close()
            raise

        async def follow() -> None:
            for one, interface, keeper in kept:
                one.written = interface
                if one.http is not None and keeper is not None:
                    one.http.doorkeeper = keeper
            self._open = [one for one, _, _ in kept] + opened
            for one in former:
                name = kind_name(type(one.written))
                _log.info("%s interface on %s is closed", name, show_address(one.written.ip, one.written.port))
                await one.close()

        return follow

    async def _opened(self, interface: InterfaceKind) -> Open:
        metrics = self._registry.scope("interface", kind_name(type(interface)))
        match interface:
            case MeshInterface():
                return Open(interface, await self._serve_mesh(interface, metrics))
            case HttpController():
                server = HttpServer(self._http.answer, Doorkeeper(interface.tokens), metrics)
                return Open(interface, await self._serve_http(interface, server), server)
        raise ConfigError(f"{kind_name(type(interface))} cannot be served")

    async def _serve_http(self, interface: HttpController, server: HttpServer) -> Close:
        name = kind_name(type(interface))
        context = followed_context(interface.tls, f"the interface {name}")[0] if interface.tls is not None else None
        listener = listen(interface.ip, interface.port, interface.socket_options, f"the interface {name}")
        ip, port = listener.getsockname()[:2]
        close = await server.start(listener, context, no_delay=interface.socket_options.no_delay)
        _log.info("serving %s interface on %s", name, show_address(ip, port))
        return close

    async def _serve_mesh(self, interface: MeshInterface, metrics: ScopeRegistry) -> Close:
        hush_grpc()
        # Not above: gRPC's library costs memory and threads, which a namerd without this interface does without.
        from biandou.namerd.interfaces.mesh_server import MeshServer  # noqa: PLC0415

        server = MeshServer(self._mesh, metrics)
        reuse_port = interface.socket_options.reuse_port
        port, close = await server.start(interface.ip, interface.port, interface.tls, reuse_port=reuse_port)
        _log.info("serving io.l5d.mesh interface on %s", show_address(interface.ip, port))
        return close


def _address(interface: InterfaceKind) -> tuple[type, str, int]:
    return type(interface), interface.ip, interface.port


def _check_replaceable(former: InterfaceKind, interface: InterfaceKind) -> None:
    """Raise `ConfigError` for what a socket that is open cannot take on."""
    if isinstance(former, HttpController):
        former = msgspec.structs.replace(former, tokens=())
    if isinstance(interface, HttpController):
        interface = msgspec.structs.replace(interface, tokens=())
    if former != interface:
        place = f"{kind_name(type(interface))} on {show_address(interface.ip, interface.port)}"
        raise ConfigError(f"interfaces: other tls or socketOptions of {place} need a restart, or another port")
