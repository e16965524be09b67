"""A linker's admin: its listening socket and its telemetry from the start, its pages when somebody looks."""

from __future__ import annotations

import importlib
import socket

from biandou.admin.sources import AdminSources, State
from biandou.dtab import Dtab, Path
from biandou.dtab.explain import Delegation
from biandou.interpreters.local import LocalInterpreter
from biandou.linker.admin_listener import AdminListener, Close
from biandou.linker.log import LEVELS
from biandou.linker.process import Parts
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.window import WINDOW_SECONDS

SERVER = "biandou.admin.server"


class LinkerAdmin:
    """Listens, and takes snapshots of the metrics from the start of the linker, looked at or not."""

    def __init__(self, parts: Parts, snapshot_seconds: float) -> None:
        self._telemetry = ProcessTelemetry(lambda: parts.door.tally().scopes, snapshot_seconds)
        admin = parts.config.admin
        sources = linker_sources(parts, self._telemetry)

        async def serve(listener: socket.socket) -> Close:
            close: Close = await importlib.import_module(SERVER).serve(sources, listener)
            return close

        self._listener = AdminListener(admin.ip, admin.port, SERVER, serve)

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`."""
        lines = await self._listener.start()
        self._telemetry.start()
        return lines

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        self._telemetry.stop()
        await self._listener.stop()


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

    states: dict[str, State] = {
        str(namer.prefix.drop(1)).removeprefix("/"): namer.state
        for namer in parts.assembled.namers
        if hasattr(namer, "state")
    }
    return AdminSources(
        product="biandou linker",
        telemetry=telemetry,
        stop=parts.stop,
        log_levels=LEVELS,
        config=config.written,
        security=config.admin.security,
        prometheus=[kind for kind in config.telemetry if isinstance(kind, PrometheusTelemeter)],
        delegate=delegate,
        bound_names=bound_names,
        clients=parts.door.clients,
        withheld=lambda: parts.door.withheld,
        namer_states=states,
        health=lambda: {"names": parts.binder.tickets, "clients": parts.binder.clients},
    )
