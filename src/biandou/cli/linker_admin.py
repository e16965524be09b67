"""A linker's admin: its listening socket and its telemetry from the start, its pages when somebody looks."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biandou.admin.sources import AdminSources, State
from biandou.config.server_tls import server_context
from biandou.dtab import Dtab, Path
from biandou.dtab.explain import Delegation
from biandou.interpreters.local import LocalInterpreter
from biandou.linker.admin_listener import AdminListener, Close
from biandou.linker.identify import Request, identification
from biandou.linker.log import LEVELS
from biandou.linker.process import Parts
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.window import WINDOW_SECONDS

if TYPE_CHECKING:
    # Loaded when somebody looks.
    from biandou.admin.server import AdminServer

SERVER = "biandou.admin.server"


class LinkerAdmin:
    """Listens, and takes snapshots of the metrics from the start of the linker, looked at or not."""

    def __init__(self, parts: Parts, snapshot_seconds: float) -> None:
        self._telemetry = ProcessTelemetry(lambda: parts.door.tally().scopes, snapshot_seconds)
        self._sources = linker_sources(parts, self._telemetry)
        self._server: AdminServer | None = None
        self._admin = admin = parts.config.admin
        self._tls = server_context(admin.tls) if admin.tls is not None else None
        self._address = admin.ip, admin.port
        self._listener = self._listen(*self._address)
        self._identifier: AdminServer | None = None
        port = admin.http_identifier_port
        self._identifying = None if port is None else self._listen(admin.ip, port, identifies=True)
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`."""
        lines = await self._listener.start()
        if self._identifying is not None:
            lines += await self._identifying.start()
        self._telemetry.start()
        return lines

    async def prepare(self, parts: Parts) -> Following:
        """Listen where the new configuration says, without answering yet; raises `OSError`."""
        address = parts.config.admin.ip, parts.config.admin.port
        lines: list[str] = []
        admin = parts.config.admin
        if (admin.tls, admin.http_identifier_port) != (self._admin.tls, self._admin.http_identifier_port):
            lines.append("admin.tls and admin.httpIdentifierPort take effect at the next start")
        listener = None
        if address != self._address and address[1] == self._address[1] != 0:
            lines.append(f"admin.ip takes effect at the next start: port {address[1]} is in use, by this admin server")
        elif address != self._address:
            listener = self._listen(*address)
            lines += await listener.start()
        return Following(self, parts, address, listener, lines)

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        self._telemetry.stop()
        await self._listener.stop()
        if self._identifying is not None:
            await self._identifying.stop()

    def follow(self, parts: Parts, address: tuple[str, int], listener: AdminListener | None) -> None:
        """Show another configuration, by another listener if there is one."""
        self._sources = linker_sources(parts, self._telemetry)
        if listener is not None:
            former, self._listener, self._server = self._listener, listener, None
            self._address = address
            # Not awaited: one of its requests may be what we do this for.
            stopping = asyncio.get_running_loop().create_task(former.stop(), name="former admin")
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
        elif self._server is not None:
            self._server.show(self._sources)
        if self._identifier is not None:
            self._identifier.show(self._sources)

    def _listen(self, ip: str, port: int, *, identifies: bool = False) -> AdminListener:
        async def serve(listener: socket.socket) -> Close:
            module = importlib.import_module(SERVER)
            server: AdminServer = await module.serve(self._sources, listener, self._tls, identifies=identifies)
            # What was loaded while the configuration changed shows the newer one.
            server.show(self._sources)
            if identifies:
                self._identifier = server
            else:
                self._server = server
            return server.close

        scheme = "http" if self._tls is None else "https"
        return AdminListener(ip, port, SERVER, serve, f"{scheme} {'identifier' if identifies else 'admin'}")


@dataclass(frozen=True, slots=True)
class Following:
    """An admin server that is ready to show another configuration."""

    admin: LinkerAdmin
    parts: Parts
    address: tuple[str, int]
    listener: AdminListener | None
    lines: list[str]

    async def __call__(self) -> list[str]:
        """Show it, and give the lines to log."""
        self.admin.follow(self.parts, self.address, self.listener)
        return self.lines

    async def drop(self) -> None:
        """Let it be."""
        if self.listener is not None:
            await self.listener.stop()


def open_admin(parts: Parts, *, snapshot_seconds: float = WINDOW_SECONDS) -> LinkerAdmin:
    """Give the admin server of a linker, not listening yet; latencies are those of the last `snapshot_seconds`."""
    return LinkerAdmin(parts, snapshot_seconds)


def linker_sources(parts: Parts, telemetry: ProcessTelemetry) -> AdminSources:
    """Give what a linker's admin pages show."""
    config = parts.config
    routers = {router.label: router for router in parts.assembled.routers}
    nameless = LocalInterpreter(Live.ok(Dtab()), Namers())

    def delegate(namespace: str | None, dtab: Dtab, path: Path) -> Live[Delegation]:
        if namespace is None:
            return nameless.delegate(dtab, path)
        if namespace not in routers:
            raise NotImplementedError(f"no router is called {namespace}")
        return routers[namespace].delegate(dtab, path)

    def bound_names() -> list[str]:
        found = {str(name) for namer in parts.assembled.namers if hasattr(namer, "names") for name in namer.names()}
        return sorted(found)

    def identified(method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        request = Request(method, target, tuple(headers.items()))
        return {router.name: identification(router.identifier, router.dst_prefix, request) for router in config.routers}

    states: dict[str, State] = {
        str(namer.prefix.drop(1)).removeprefix("/"): namer.state
        for namer in parts.assembled.namers
        if hasattr(namer, "state")
    }
    return AdminSources(
        product="biandou linker",
        telemetry=telemetry,
        stop=parts.stop,
        reload=parts.reload,
        log_levels=LEVELS,
        config=config.written,
        security=config.admin.security,
        prometheus=[kind for kind in config.telemetry if isinstance(kind, PrometheusTelemeter)],
        delegate=delegate,
        bound_names=bound_names,
        clients=parts.door.clients,
        withheld=lambda: parts.door.withheld,
        namer_states=states,
        identify=identified,
        health=lambda: {"names": parts.binder.tickets, "clients": parts.binder.clients},
    )
