"""namerd's admin: its listening socket and its telemetry from the start, its pages when somebody looks."""

from __future__ import annotations

import importlib
import socket
import time
from typing import TYPE_CHECKING, Any

from biandou.admin.sources import AdminSources, State
from biandou.clients.kept import KEPT, registries
from biandou.dtab import Dtab, Path
from biandou.dtab.explain import Delegation
from biandou.linker.admin_listener import AdminListener, Close
from biandou.linker.log import LEVELS
from biandou.live import Live, Ok
from biandou.namerd.canary_state import is_reserved
from biandou.namerd.process import Parts
from biandou.namerd.shown_storage import storage_page, storage_state
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.registry import Registry
from biandou.telemeters.window import WINDOW_SECONDS

if TYPE_CHECKING:
    # Loaded when somebody looks.
    from ssl import SSLContext

    from biandou.admin.server import AdminServer

SERVER = "biandou.admin.server"


class NamerdAdmin:
    """Listens, and ends windows of the metrics from the start of namerd, looked at or not."""

    def __init__(self, parts: Parts, window_seconds: float) -> None:
        self._telemetry = ProcessTelemetry(list, window_seconds)
        admin = parts.config.admin
        self._sources = namerd_sources(parts, self._telemetry)
        self._server: AdminServer | None = None

        async def serve(listener: socket.socket, tls: SSLContext | None) -> Close:
            server: AdminServer = await importlib.import_module(SERVER).serve(self._sources, listener, tls)
            # What was loaded while the configuration changed shows the newer one.
            server.show(self._sources)
            self._server = server
            return server.close

        self._listener = AdminListener(admin.ip, admin.port, SERVER, serve, options=admin.socket_options, tls=admin.tls)

    @property
    def registry(self) -> Registry:
        """Where namerd counts what it does."""
        return self._telemetry.registry

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`."""
        lines = await self._listener.start()
        self._telemetry.start()
        return lines

    def follow(self, parts: Parts) -> None:
        """Show another configuration."""
        self._sources = namerd_sources(parts, self._telemetry)
        if self._server is not None:
            self._server.show(self._sources)

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        self._telemetry.stop()
        await self._listener.stop()


def open_admin(parts: Parts, *, window_seconds: float = WINDOW_SECONDS) -> NamerdAdmin:
    """Give the admin server of a namerd, not listening yet; latencies are those of the last `window_seconds`."""
    return NamerdAdmin(parts, window_seconds)


def namerd_sources(parts: Parts, telemetry: ProcessTelemetry) -> AdminSources:
    """Give what namerd's admin pages show."""
    config = parts.config

    def delegate(namespace: str | None, dtab: Dtab, path: Path) -> Live[Delegation]:
        # Whatever the namespace: the page evaluates the dtab that it is given (reference/naming.md §11.1).
        return parts.names.delegate(None, dtab, path)

    def namespaces() -> list[str]:
        names = parts.store.namespaces().sample()
        return sorted(name for name in names.value if not is_reserved(name)) if isinstance(names, Ok) else []

    def stored_dtab(namespace: str) -> str | None:
        stored = parts.store.watch(namespace).sample()
        return str(stored.value.dtab) if isinstance(stored, Ok) and stored.value is not None else None

    def health() -> dict[str, Any]:
        health: dict[str, Any] = {"namespaces": len(namespaces()), "storage": parts.store.trouble or "ok"}
        health["registries"] = registries(KEPT.origins(), time.time())
        file = parts.state_file()
        return health if file is None else health | {"stateFile": file}

    states: dict[str, State] = {
        str(namer.prefix.drop(1)).removeprefix("/"): namer.state for namer in parts.namers if hasattr(namer, "state")
    }
    return AdminSources(
        product="biandou namerd",
        telemetry=telemetry,
        stop=parts.stop,
        reload=parts.reload,
        log_levels=LEVELS,
        config=config.written,
        security=config.admin.security,
        prometheus=[kind for kind in config.telemetry if isinstance(kind, PrometheusTelemeter)],
        delegate=delegate,
        bound_names=parts.bound_names,
        namer_states=states,
        states={f"/storage/{storage_page(config.storage)}.json": lambda: storage_state(parts.store, config.storage)},
        health=health,
        namespaces=namespaces,
        stored_dtab=stored_dtab,
    )
