"""namerd's process, in the order of its life: start, serve, stop (reference/naming.md §4.1). It has no engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from biandou.clients.grpc_log import hush_grpc
from biandou.config.listening import listen, show_address
from biandou.config.namerd import HttpController, InterfaceKind, MeshInterface, NamerdConfig
from biandou.config.server_tls import followed_context
from biandou.errors import ConfigError
from biandou.kinds import kind_name
from biandou.namerd.canary_driver import CanaryDriver
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.interfaces.mesh import MeshApi
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namerd.rollout_driver import RolloutDriver
from biandou.namers.interface import Namer
from biandou.stores.interface import Store
from biandou.telemeters.registry import Registry, ScopeRegistry
from biandou.transformers.assembly import assemble_namers

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
MIN_GRACE_MS: Final = 1000

_log = logging.getLogger(__name__)


class Admin(Protocol):
    """The admin server, as its process sees it."""

    @property
    def registry(self) -> Registry:
        """Where the process counts what it does."""

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`."""

    async def stop(self) -> None:
        """Stop listening and close every connection."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an admin server shows of a namerd; `stop` ends it, its grace in milliseconds or as configured."""

    config: NamerdConfig
    store: Store
    names: Names
    namers: tuple[Namer, ...]
    bound_names: Callable[[], list[str]]
    stop: Callable[[int | None], None]


class Namerd:
    """One namerd, from its configuration to its end: `run` is its whole life.

    `tell` is told `READY=1` and `STOPPING=1`, in systemd's words.
    """

    def __init__(self, config: NamerdConfig, open_admin: Callable[[Parts], Admin], tell: Callable[[str], None]) -> None:
        self._config = config
        self._open_admin = open_admin
        self._tell = tell
        self._grace_ms = config.admin.shutdown_grace_ms
        self._stop_wanted = asyncio.Event()
        self._stop_at_once = asyncio.Event()
        self._closing: list[Callable[[], Awaitable[None]]] = []

    async def run(self) -> int:
        """Start, serve until told to stop, stop; gives the exit status. Raises what kept a part from starting."""
        try:
            await self.start()
            await self._stop_wanted.wait()
        finally:
            status = await self.stop()
        return status

    # ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Bring up the parts, the admin server first; when this returns, every interface serves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, _keep_on)
        namers = assemble_namers(self._config.namers)
        store = self._config.storage.store()
        names = Names(store, namers.all)
        bound_names = _bound_names(namers.configured)
        admin = self._open_admin(Parts(self._config, store, names, namers.configured, bound_names, self.ask_to_stop))
        for line in await admin.start():
            _log.info("%s", line)
        self._closing.append(admin.stop)
        self._closing.append(store.stop)
        await store.start()
        reports = Reports()
        canaries = CanaryDriver(store, names, reports)
        self._closing.append(canaries.stop)
        canaries.start()
        linkers = Linkers()
        rollouts = RolloutDriver(store, linkers.in_force, linkers.outcomes)
        self._closing.append(rollouts.stop)
        rollouts.start()
        api = HttpApi(store, names, bound_names, reports, linkers)
        for interface in self._config.interfaces:
            metrics = admin.registry.scope("interface", kind_name(type(interface)))
            if isinstance(interface, MeshInterface):
                await self._serve_mesh(interface, MeshApi(store, names, reports, linkers), metrics)
            else:
                await self._serve(interface, api, metrics)
        _log.info("initialized")
        self._tell("READY=1")

    async def _serve(self, interface: InterfaceKind, api: HttpApi, metrics: ScopeRegistry) -> None:
        name = kind_name(type(interface))
        if not isinstance(interface, HttpController):
            raise ConfigError(f"{name} cannot be served")
        context = followed_context(interface.tls, f"the interface {name}")[0] if interface.tls is not None else None
        server = HttpServer(api.answer, Doorkeeper(interface.tokens), metrics)
        listener = listen(interface.ip, interface.port, interface.socket_options, f"the interface {name}")
        ip, port = listener.getsockname()[:2]
        self._closing.append(await server.start(listener, context, no_delay=interface.socket_options.no_delay))
        _log.info("serving %s interface on %s", name, show_address(ip, port))

    async def _serve_mesh(self, interface: MeshInterface, api: MeshApi, metrics: ScopeRegistry) -> None:
        hush_grpc()
        # Not above: gRPC's library costs memory and threads, which a namerd without this interface does without.
        from biandou.namerd.interfaces.mesh_server import MeshServer  # noqa: PLC0415

        server = MeshServer(api, metrics)
        reuse_port = interface.socket_options.reuse_port
        port, close = await server.start(interface.ip, interface.port, interface.tls, reuse_port=reuse_port)
        self._closing.append(close)
        _log.info("serving io.l5d.mesh interface on %s", show_address(interface.ip, port))

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop_wanted.is_set():
            _log.warning("Received %s again. Stopping at once ...", number.name)
            self._stop_at_once.set()
        else:
            _log.info("Received %s. Shutting down ...", number.name)
            self._stop_wanted.set()

    # ── Stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_stop(self, grace_ms: int | None = None) -> None:
        """End namerd as SIGTERM does, within this grace instead of `admin.shutdownGraceMs` if given."""
        if grace_ms is not None:
            self._grace_ms = grace_ms
        _log.info("Asked by admin. Shutting down ...")
        self._stop_wanted.set()

    async def stop(self) -> int:
        """End the interfaces, the store and the admin server, in this order; gives the exit status."""
        self._tell("STOPPING=1")
        closing = asyncio.create_task(self._close())
        hurry = asyncio.create_task(self._stop_at_once.wait())
        seconds = max(MIN_GRACE_MS, self._grace_ms) / 1000
        await asyncio.wait((closing, hurry), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if closing.done():
            return EXIT_OK if closing.result() else EXIT_FAILED
        if not self._stop_at_once.is_set():
            _log.error("not everything was closed within the grace of %d ms", self._grace_ms)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        return EXIT_FAILED

    async def _close(self) -> bool:
        """Close what was opened last first; says whether all of it could be closed."""
        well = True
        while self._closing:
            close = self._closing.pop()
            try:
                await close()
            except Exception:
                _log.exception("closing failed")
                well = False
        return well


def _keep_on() -> None:
    _log.warning("Received SIGHUP. Reloading is not built yet: the configuration stays; restart to change it")


def _bound_names(namers: tuple[Namer, ...]) -> Callable[[], list[str]]:
    def give() -> list[str]:
        return sorted({str(name) for namer in namers if hasattr(namer, "names") for name in namer.names()})

    return give
