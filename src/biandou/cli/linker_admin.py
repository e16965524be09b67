"""A linker's admin: its listening socket and its telemetry from the start, its pages when somebody looks."""

from __future__ import annotations

import asyncio
import importlib
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from biandou.admin.sources import AdminSources, State
from biandou.clients.kept import registries
from biandou.config.admin import Admin
from biandou.config.router import HttpRouter
from biandou.config.server import SocketOptions
from biandou.dtab import Dtab, Path
from biandou.dtab.explain import Delegation
from biandou.interpreters.interface import StatefulInterpreter
from biandou.interpreters.local import LocalInterpreter
from biandou.linker.admin_listener import ADMIN, AdminListener, Close
from biandou.linker.freshness import freshness
from biandou.linker.identify import Request, identification
from biandou.linker.log import LEVELS
from biandou.linker.process import Parts
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.policies import ServerTls
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.window import WINDOW_SECONDS

if TYPE_CHECKING:
    # Loaded when somebody looks.
    from ssl import SSLContext

    from biandou.admin.server import AdminServer, HttpServer

SERVER: Final = "biandou.admin.server"
IDENTIFIER: Final = "identifier"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one of the servers listens, and how: that of the admin pages, or the one that identifies requests."""

    what: str
    ip: str
    port: int
    options: SocketOptions
    tls: ServerTls | None


def addresses(admin: Admin) -> list[Address]:
    """Give where an admin section wants us to listen."""
    found = [Address(ADMIN, admin.ip, admin.port, admin.socket_options, admin.tls)]
    if admin.http_identifier_port is not None:
        found.append(Address(IDENTIFIER, admin.ip, admin.http_identifier_port, admin.socket_options, admin.tls))
    return found


@dataclass(frozen=True, slots=True)
class Open:
    """A server that listens."""

    address: Address
    listener: AdminListener


class LinkerAdmin:
    """Listens, and ends windows of the metrics from the start of the linker, looked at or not."""

    def __init__(self, parts: Parts, window_seconds: float) -> None:
        self._telemetry = ProcessTelemetry(
            lambda: [*parts.door.last_windows().scopes, *freshness(parts.binder)],
            window_seconds,
            parts.door.end_windows,
        )
        self._sources = linker_sources(parts, self._telemetry)
        self._routers = parts.config.routers
        self._pages: dict[AdminListener, AdminServer] = {}
        self._addresses = addresses(parts.config.admin)
        self._open: dict[str, Open] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`, or `ConfigError` for a certificate."""
        lines: list[str] = []
        for address in self._addresses:
            opened = self.listen(address)
            lines += await opened.listener.start()
            self._open[address.what] = opened
        self._telemetry.start()
        return lines

    async def prepare(self, parts: Parts) -> Following:
        """Listen where the new configuration says, without answering yet; raises `OSError` and `ConfigError`."""
        following = Following(self, parts)
        try:
            for address in addresses(parts.config.admin):
                await following.add(self._open.get(address.what), address)
        except BaseException:
            await following.drop()
            raise
        return following

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        self._telemetry.stop()
        for opened in self._open.values():
            await opened.listener.stop()

    def follow(self, parts: Parts, listening: dict[str, Open]) -> None:
        """Show another configuration, on these servers."""
        self._sources = linker_sources(parts, self._telemetry)
        self._routers = parts.config.routers
        former, self._open = self._open, listening
        for opened in former.values():
            if opened not in listening.values():
                self._pages.pop(opened.listener, None)
                # Not awaited: one of its requests may be what we do this for.
                stopping = asyncio.get_running_loop().create_task(opened.listener.stop(), name="former admin")
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
        for server in self._pages.values():
            server.show(self._sources)

    def listen(self, address: Address) -> Open:
        """Give a server that is not listening yet."""

        async def serve(listener: socket.socket, tls: SSLContext | None) -> Close:
            server: AdminServer = await importlib.import_module(SERVER).serve(self._sources, listener, tls)
            # What was loaded while the configuration changed shows the newer one.
            server.show(self._sources)
            self._pages[opened.listener] = server
            return server.close

        async def serve_identifier(listener: socket.socket, tls: SSLContext | None) -> Close:
            server: HttpServer = await importlib.import_module(SERVER).serve_identifier(self._identify, listener, tls)
            return server.close

        opened = Open(
            address,
            AdminListener(
                address.ip,
                address.port,
                SERVER,
                serve if address.what == ADMIN else serve_identifier,
                options=address.options,
                tls=address.tls,
                what=address.what,
            ),
        )
        return opened

    def _identify(
        self, method: str, uri: str, headers: tuple[tuple[str, str], ...], version: str
    ) -> dict[str, dict[str, str]]:
        request = Request(method, uri, headers, version)
        return {
            router.name: identification(router.identifier, router.dst_prefix, request)
            for router in self._routers
            if isinstance(router, HttpRouter)
        }


class Following:
    """An admin server that gets ready to show another configuration."""

    def __init__(self, admin: LinkerAdmin, parts: Parts) -> None:
        self._admin = admin
        self._parts = parts
        self._lines: list[str] = []
        self._listening: dict[str, Open] = {}
        self._opened: list[AdminListener] = []

    async def add(self, former: Open | None, address: Address) -> None:
        """Listen at an address, if the server that has done so until now does not; raises `OSError`, `ConfigError`."""
        if former is not None and former.address == address:
            former.listener.check_tls()
        elif former is not None and former.address.port == address.port != 0:
            changed = ", ".join(
                f"admin.{key}"
                for key, before, now in (
                    ("ip", former.address.ip, address.ip),
                    ("socketOptions", former.address.options, address.options),
                    ("tls", former.address.tls, address.tls),
                )
                if before != now
            )
            port = f"port {address.port} is in use, by this {address.what} server"
            self._lines.append(f"{changed} takes effect at the next start: {port}")
        else:
            former = self._admin.listen(address)
            self._lines += await former.listener.start()
            self._opened.append(former.listener)
        self._listening[address.what] = former

    async def __call__(self) -> list[str]:
        """Show it, and give the lines to log."""
        self._admin.follow(self._parts, self._listening)
        return self._lines

    async def drop(self) -> None:
        """Let it be."""
        for listener in self._opened:
            await listener.stop()


def open_admin(parts: Parts, *, window_seconds: float = WINDOW_SECONDS) -> LinkerAdmin:
    """Give the admin server of a linker, not listening yet; latencies are those of the last `window_seconds`."""
    return LinkerAdmin(parts, window_seconds)


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
        origins=parts.binder.origins,
        withheld=lambda: parts.door.withheld,
        namer_states=states,
        states={
            "/admin/announcer": parts.announced,
            "/admin/announcer.json": parts.announced,
        }
        | {
            f"/{router.label}/interpreter_state/{interpreter.state_page}.json": interpreter.state
            for router in parts.assembled.routers
            if isinstance(interpreter := router.interpreter, StatefulInterpreter)
        },
        health=partial(_health, parts),
    )


def _health(parts: Parts) -> dict[str, Any]:
    """Give what is known, how old that is by registry (seconds), and where it is kept."""
    health: dict[str, Any] = {"names": parts.binder.tickets, "clients": parts.binder.clients}
    health["registries"] = registries((origin for _, origin in parts.binder.origins()), time.time())
    file = parts.state_file()
    return health if file is None else health | {"stateFile": file}
