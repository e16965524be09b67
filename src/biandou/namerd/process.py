"""namerd's process, in the order of its life: start, serve, reload, stop (reference/naming.md §4.1). No engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from biandou.config.differences import namerd_differences
from biandou.config.namerd import NamerdConfig
from biandou.config.naming_remarks import namer_remarks
from biandou.config.reloading import Reloading
from biandou.errors import ConfigError
from biandou.namerd.canary_driver import CanaryDriver
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.mesh import MeshApi
from biandou.namerd.known_state import keeper, recall, state_on_disk
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namerd.rollout_driver import RolloutDriver
from biandou.namerd.serving import Serving
from biandou.namers.interface import Namer
from biandou.stores.interface import Store
from biandou.telemeters.registry import Registry
from biandou.transformers.assembly import AssembledNamers, assemble_namers

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

    def follow(self, parts: Parts) -> None:
        """Show another configuration."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an admin server shows of a namerd.

    `stop` ends it, its grace in milliseconds or as configured; `reload` reads the configuration anew, and gives what
    has changed by that.
    """

    config: NamerdConfig
    store: Store
    names: Names
    namers: tuple[Namer, ...]
    bound_names: Callable[[], list[str]]
    stop: Callable[[int | None], None]
    reload: Callable[[], Awaitable[str]]
    state_file: Callable[[], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class _Running:
    """What a reload keeps or replaces."""

    admin: Admin
    store: Store
    names: Names
    serving: Serving


class Namerd:
    """One namerd, from its configuration to its end: `run` is its whole life.

    `load` gives its configuration at a reload, and raises `ConfigError`; `tell` is told `READY=1`, `RELOADING=1` and
    `STOPPING=1`, in systemd's words.
    """

    def __init__(
        self,
        config: NamerdConfig,
        open_admin: Callable[[Parts], Admin],
        tell: Callable[[str], None],
        load: Callable[[], NamerdConfig],
    ) -> None:
        self._config = config
        self._load = load
        self._open_admin = open_admin
        self._tell = tell
        self._namers = assemble_namers(config.namers)
        self._keeper = keeper(config)
        self._running: _Running | None = None
        self._reloading = Reloading(self._replan, tell)
        self._grace_ms = config.admin.shutdown_grace_ms
        self._stop_wanted = asyncio.Event()
        self._stop_at_once = asyncio.Event()
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self.started = False

    async def run(self) -> int:
        """Start, serve until told to stop, stop; gives the exit status. Raises what kept a part from starting."""
        try:
            await self.start()
            self.started = True
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
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        for line in namer_remarks(self._config.namers):
            _log.warning("%s", line)
        recall(await self._keeper.read())
        store = self._config.storage.store()
        names = Names(store, self._namers.all)
        admin = self._open_admin(self._parts(store, names, self._config, self._namers))
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
        api = HttpApi(store, names, lambda: _bound_names(self._namers.configured), reports, linkers)
        serving = Serving(api, MeshApi(store, names, reports, linkers), admin.registry)
        self._closing.append(serving.stop)
        for interface in self._config.interfaces:
            await serving.open(interface)
        self._running = _Running(admin, store, names, serving)
        self._keeper.start()
        self._closing.append(self._keeper.stop)
        _log.info("initialized")
        self._tell("READY=1")

    def _parts(self, store: Store, names: Names, config: NamerdConfig, namers: AssembledNamers) -> Parts:
        bound_names = partial(_bound_names, namers.configured)
        return Parts(
            config, store, names, namers.configured, bound_names, self.ask_to_stop, self.reload, self._keeper.shown
        )

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop_wanted.is_set():
            _log.warning("Received %s again. Stopping at once ...", number.name)
            self._stop_at_once.set()
        else:
            _log.info("Received %s. Shutting down ...", number.name)
            self._stop_wanted.set()

    # ── Reload ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hung_up(self) -> None:
        _log.info("Received SIGHUP. The access logs are opened anew, and the configuration is read again")
        if self._running is not None:
            self._running.serving.reopen_logs()
        self._reloading.ask()

    async def reload(self) -> str:
        """Read the configuration anew and put it in force; gives what has changed.

        Namers and interfaces that both have are kept, with what they watch and who is connected. Raises, and has
        changed nothing: `ConfigError` for a file with mistakes or what needs a restart, `OSError` and `ValueError` for
        what can't be done on this host.
        """
        return await self._reloading.reload()

    async def _replan(self) -> str:
        running = self._running
        if running is None:
            raise ConfigError("namerd has not started yet")
        # In a thread: names are bound meanwhile.
        config = await asyncio.get_running_loop().run_in_executor(None, self._load)
        changes = str(namerd_differences(self._config, config))
        check_replaceable(self._config, config)
        namers = self._namers
        if config.namers != self._config.namers:
            for line in namer_remarks(config.namers):
                _log.warning("%s", line)
            namers = assemble_namers(config.namers, self._namers)
        follow = await running.serving.prepare(config.interfaces)
        # From here on nothing fails.
        if namers is not self._namers:
            running.names.replan(namers.all)
        self._config, self._namers, self._grace_ms = config, namers, config.admin.shutdown_grace_ms
        running.admin.follow(self._parts(running.store, running.names, config, namers))
        await follow()
        await self._keeper.follow(state_on_disk(config))
        return changes

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
        self._reloading.cancel()
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


def check_replaceable(former: NamerdConfig, config: NamerdConfig) -> None:
    """Raise `ConfigError` for what only a restart can change."""
    if former.storage != config.storage:
        raise ConfigError("storage: another store, or other keys of it, need a restart")
    for key in ("ip", "port", "socket_options", "tls"):
        if getattr(former.admin, key) != getattr(config.admin, key):
            raise ConfigError(f"admin: another {_CAMEL.get(key, key)} needs a restart")


_CAMEL: Final = {"socket_options": "socketOptions"}


def _bound_names(namers: tuple[Namer, ...]) -> list[str]:
    return sorted({str(name) for namer in namers if hasattr(namer, "names") for name in namer.names()})
