"""namerd's interfaces while they serve: opened, kept or closed as the configuration says."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from biandou.clients.grpc_log import hush_grpc
from biandou.config.listening import listen, show_address
from biandou.config.namerd import HttpController, InterfaceKind, MeshInterface
from biandou.config.server_tls import followed_context
from biandou.errors import ConfigError
from biandou.kinds import kind_name
from biandou.namerd.access_log.writer import AccessLog
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.interfaces.mesh import MeshApi
from biandou.telemeters.registry import Registry, ScopeRegistry

if TYPE_CHECKING:
    from biandou.namerd.interfaces.mesh_server import MeshServer

Close = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Open:
    """An interface that listens."""

    written: InterfaceKind
    close: Close
    http: HttpServer | None = None
    mesh: MeshServer | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An interface that goes on, and what it goes on with."""

    place: Open
    written: InterfaceKind
    keeper: Doorkeeper | None
    access_log: AccessLog | None

    async def follow(self) -> None:
        """Let in whom these keys let in, and log where they say."""
        one = self.place
        one.written = self.written
        if one.http is not None and self.keeper is not None:
            one.http.doorkeeper = self.keeper
        if one.mesh is not None:
            former, one.mesh.access_log = one.mesh.access_log, self.access_log
            if former is not None:
                if former is self.access_log:
                    former.reopen()
                else:
                    await former.close()

    async def drop(self) -> None:
        """Let it be as it was."""
        present = None if self.place.mesh is None else self.place.mesh.access_log
        if self.access_log is not None and self.access_log is not present:
            await self.access_log.close()


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
        kept: list[Kept] = []
        opened: list[Open] = []
        try:
            for interface in interfaces:
                place = next((one for one in former if _address(one.written) == _address(interface)), None)
                if place is None:
                    opened.append(await self._opened(interface))
                else:
                    _check_replaceable(place.written, interface)
                    former.remove(place)
                    kept.append(await self._kept(place, interface))
        except BaseException:
            for unused in kept:
                await unused.drop()
            for one in opened:
                await one.close()
            raise

        async def follow() -> None:
            for goes_on in kept:
                await goes_on.follow()
            self._open = [goes_on.place for goes_on in kept] + opened
            for one in former:
                name = kind_name(type(one.written))
                _log.info("%s interface on %s is closed", name, show_address(one.written.ip, one.written.port))
                await one.close()

        return follow

    def reopen_logs(self) -> None:
        """Open the access logs anew by their names: they may have been moved away."""
        for one in self._open:
            if one.mesh is not None and one.mesh.access_log is not None:
                one.mesh.access_log.reopen()

    async def _kept(self, place: Open, interface: InterfaceKind) -> Kept:
        # Always anew: a token may have changed in its file.
        keeper = Doorkeeper(interface.tokens) if isinstance(interface, HttpController) else None
        log = None if place.mesh is None else place.mesh.access_log
        if isinstance(interface, MeshInterface) and interface.access_log != (log and log.plan):
            log = await self._access_log(interface, log)
        return Kept(place, interface, keeper, log)

    async def _access_log(self, interface: MeshInterface, former: AccessLog | None = None) -> AccessLog | None:
        plan = interface.access_log
        if plan is None:
            return None
        dropped = self._registry.scope("interface", kind_name(type(interface)), "access_log").counter("dropped")
        return await AccessLog.open(plan, dropped, former)

    async def _opened(self, interface: InterfaceKind) -> Open:
        metrics = self._registry.scope("interface", kind_name(type(interface)))
        match interface:
            case MeshInterface():
                return await self._serve_mesh(interface, metrics)
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

    async def _serve_mesh(self, interface: MeshInterface, metrics: ScopeRegistry) -> Open:
        hush_grpc()
        # Not above: gRPC's library costs memory and threads, which a namerd without this interface does without.
        from biandou.namerd.interfaces.mesh_server import MeshServer  # noqa: PLC0415

        server = MeshServer(self._mesh, metrics, await self._access_log(interface))
        reuse_port = interface.socket_options.reuse_port
        try:
            port, end = await server.start(interface.ip, interface.port, interface.tls, reuse_port=reuse_port)
        except BaseException:
            if server.access_log is not None:
                await server.access_log.close()
            raise
        _log.info("serving io.l5d.mesh interface on %s", show_address(interface.ip, port))

        async def close() -> None:
            await end()
            if server.access_log is not None:
                await server.access_log.close()

        return Open(interface, close, mesh=server)


def _address(interface: InterfaceKind) -> tuple[type, str, int]:
    return type(interface), interface.ip, interface.port


def _check_replaceable(former: InterfaceKind, interface: InterfaceKind) -> None:
    """Raise `ConfigError` for what a socket that is open cannot take on."""
    if isinstance(former, HttpController):
        former = msgspec.structs.replace(former, tokens=())
    if isinstance(interface, HttpController):
        interface = msgspec.structs.replace(interface, tokens=())
    if isinstance(former, MeshInterface) and isinstance(interface, MeshInterface):
        former, interface = former.without_access_log(), interface.without_access_log()
    if former != interface:
        place = f"{kind_name(type(interface))} on {show_address(interface.ip, interface.port)}"
        raise ConfigError(f"interfaces: other tls or socketOptions of {place} need a restart, or another port")
