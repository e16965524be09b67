"""The linker's process, in the order of its life: start, run, reload, drain, stop (reference/linker.md §1.5)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from biandou.boundary import Ask, Asked, EngineDoor, Release
from biandou.config.differences import differences
from biandou.config.linker import LinkerConfig
from biandou.config.plan import Plan
from biandou.config.planning import plan
from biandou.config.reloading import Reloading
from biandou.config.remarks import remarks
from biandou.linker.announcing import Announcements
from biandou.linker.assembly import Assembled, assemble
from biandou.linker.binder import Binder
from biandou.linker.ejections import Ejections
from biandou.linker.knowledge import Knowledge
from biandou.linker.known_state import configurations, keeper, recall, state_on_disk
from biandou.linker.reports import Reports
from biandou.linker.request_plugins import RequestPlugins, make_plugins
from biandou.linker.resources import default_workers, raise_file_limit
from biandou.linker.systemd import InheritedSocket, inherited_sockets, notify, take_matching

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
MIN_GRACE_MS: Final = 1000
DRAIN_MARGIN_SECONDS: Final = 1.0
"""How much longer than the grace the engine may take to say that it has stopped."""

_log = logging.getLogger(__name__)


class Admin(Protocol):
    """The admin server, as its process sees it."""

    async def start(self) -> list[str]:
        """Listen, and give the lines to log; raises `OSError`."""

    async def prepare(self, parts: Parts) -> Follow:
        """Get ready to show another configuration; nothing has changed until the result is called. Raises `OSError`."""

    async def stop(self) -> None:
        """Stop listening and close every connection."""


class Follow(Protocol):
    """What is ready to be shown."""

    async def __call__(self) -> list[str]:
        """Show it, and give the lines to log."""

    async def drop(self) -> None:
        """Let it be."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an admin server shows of a linker; `stop` ends the linker, its grace in milliseconds or as configured.

    `reload` reads the configuration anew, and gives what has changed by that. `state_file` says of that what
    `/admin/health` shows, and `announced` how each announcement stands.
    """

    config: LinkerConfig
    assembled: Assembled
    binder: Binder
    door: EngineDoor
    stop: Callable[[int | None], None]
    reload: Callable[[], Awaitable[str]]
    state_file: Callable[[], dict[str, Any] | None]
    announced: Callable[[], list[dict[str, Any]]]


class Linker:
    """One linker, from its configuration to its end: `run` is its whole life.

    `load` reads the configuration anew, and raises `ConfigError` if it can't be used; it is called in a thread.
    """

    def __init__(
        self,
        config: LinkerConfig,
        workers: int,
        open_admin: Callable[[Parts], Admin],
        load: Callable[[], LinkerConfig],
    ) -> None:
        self._config = config
        self._workers = workers
        self._usual_workers = default_workers()
        self._open_admin = open_admin
        self._load = load
        self._announcements = Announcements()
        self._reloading = Reloading(self._replan, _tell_systemd)
        self._grace_ms = config.admin.shutdown_grace_ms
        self._stop_wanted = asyncio.Event()
        self._stop_at_once = asyncio.Event()
        self.started = False

    async def run(self) -> int:
        """Start, serve until told to stop, drain; gives the exit status. Raises what kept a part from starting."""
        await self.start()
        self.started = True
        await self._stop_wanted.wait()
        return await self.stop()

    # ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Bring up the parts, the admin server first; when this returns, requests are served."""
        self._handle_signals()
        _log.info("%d workers, %d files may be open", self._workers, raise_file_limit())
        for line in remarks(self._config):
            _log.warning("%s", line)
        self._assembled = assemble(self._config)
        await self._announcements.prepare(self._config)
        inherited = inherited_sockets(os.environ, os.getpid())
        self._door = EngineDoor(planned := with_inherited(plan(self._config, self._workers), inherited))
        close_inherited(planned)
        knowledge = Knowledge(configurations(self._config), self._config.state_file)
        self._binder = Binder(self._assembled.routers, self._door, knowledge)
        self._keeper = keeper(self._config, self._binder)
        recall(knowledge, await self._keeper.read())
        self._plugins = RequestPlugins(self._config.routers, self._door)
        self._admin = self._open_admin(self._parts(self._config, self._assembled))
        for line in await self._admin.start():
            _log.info("%s", line)
        self._serving = self._door.start(self._take)
        for server in self._serving:
            _log.info("serving %s on %s", server.router, show_address(server.ip, server.port))
        self._announcements.follow(self._config, self._serving)
        # What start-up has made stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # Names come and go by reference counting: a full collection among thousands of them only holds up an answer.
        gc.set_threshold(50_000, 20, 1000)
        self._reports = Reports(lambda: self._door.tally().scopes, self._assembled.routers)
        self._ejections = Ejections(self._door.clients, self._assembled.minded)
        self._keeper.start()
        _log.info("initialized")
        _tell_systemd("READY=1")

    def _take(self, letter: Asked) -> None:
        if isinstance(letter, Ask | Release):
            self._binder.take(letter)
        else:
            self._plugins.take(letter)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

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
        self._door.reopen_logs()
        self._reloading.ask()

    async def reload(self) -> str:
        """Read the configuration anew and put it in the place of the present one; gives what has changed by that.

        What both have is kept. Raises, and has changed nothing: `ConfigError` for a file with mistakes, `OSError` and
        `ValueError` for what can't be done on this host, a port that is in use for one.
        """
        return await self._reloading.reload()

    async def _replan(self) -> str:
        # In a thread: names are bound meanwhile.
        config = await asyncio.get_running_loop().run_in_executor(None, self._load)
        changes = str(differences(self._config, config))
        assembled = assemble(config, self._assembled)
        plugins = make_plugins(config.routers)
        follow = await self._admin.prepare(self._parts(config, assembled))
        try:
            await self._announcements.prepare(config)
            serving = self._door.replan(plan(config, self._workers))
        except BaseException:
            self._announcements.follow(self._config, self._serving)
            await follow.drop()
            raise
        # From here on nothing fails.
        for line in remarks(config):
            _log.warning("%s", line)
        before, self._serving = self._serving, serving
        self._config, self._assembled, self._grace_ms = config, assembled, config.admin.shutdown_grace_ms
        for server in serving:
            if server not in before:
                _log.info("serving %s on %s", server.router, show_address(server.ip, server.port))
        self._announcements.follow(config, serving)
        self._plugins.replan(plugins)
        self._binder.knowledge.replan(configurations(config), config.state_file)
        await self._binder.replan(assembled.routers)
        assembled.enact()
        self._reports.replan(assembled.routers)
        self._ejections.replan(assembled.minded)
        await self._keeper.follow(state_on_disk(config))
        for line in await follow():
            _log.info("%s", line)
        if default_workers() != self._usual_workers:
            _log.warning(
                "this process may use another number of CPUs than when it started: %d workers go on, "
                "and only a restart changes that",
                self._workers,
            )
        gc.collect()
        return changes

    def _parts(self, config: LinkerConfig, assembled: Assembled) -> Parts:
        shown = self._keeper.shown, self._announcements.state
        return Parts(config, assembled, self._binder, self._door, self.ask_to_stop, self.reload, *shown)

    # ── Drain and stop ───────────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_stop(self, grace_ms: int | None = None) -> None:
        """End the linker as SIGTERM does, within this grace instead of `admin.shutdownGraceMs` if given."""
        if grace_ms is not None:
            self._grace_ms = grace_ms
        _log.info("Asked by admin. Shutting down ...")
        self._stop_wanted.set()

    async def stop(self) -> int:
        """Be announced no more, let running requests finish within the grace, close everything; gives the status."""
        _tell_systemd("STOPPING=1")
        self._reloading.cancel()
        grace_ms, began = max(MIN_GRACE_MS, self._grace_ms), time.monotonic()
        await self._announcements.withdraw(self._stop_at_once, grace_ms)
        taken_ms = int((time.monotonic() - began) * 1000)
        graceful = await self._drain(max(MIN_GRACE_MS, grace_ms - taken_ms))
        self._reports.stop()
        self._ejections.stop()
        await self._keeper.stop()
        self._binder.close()
        await self._admin.stop()
        self._door.close()
        return EXIT_OK if graceful else EXIT_FAILED

    async def _drain(self, grace_ms: int) -> bool:
        """Close the servers and wait for their requests; says whether nobody cut that short."""
        self._door.stop(grace_ms)
        hurry = asyncio.create_task(self._stop_at_once.wait())
        await asyncio.wait(
            (self._door.drained, hurry),
            timeout=grace_ms / 1000 + DRAIN_MARGIN_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurry.cancel()
        if self._stop_at_once.is_set():
            return False
        if not self._door.drained.done():
            _log.error("the engine did not stop within its grace of %d ms", grace_ms)
            return False
        unfinished = self._door.drained.result().unfinished
        if unfinished:
            _log.warning("%d requests were cut off: they outlasted the grace of %d ms", unfinished, grace_ms)
        return True


def with_inherited(plan: Plan, inherited: list[InheritedSocket]) -> Plan:
    """Give the plan with the listening sockets that were passed to us, each to the server of its address and port.

    One that no server wants is closed, and the log says so.
    """
    left = list(inherited)
    routers = [
        msgspec.structs.replace(
            router,
            servers=[
                msgspec.structs.replace(server, fds=take_matching(left, server.ip, server.port))
                for server in router.servers
            ],
        )
        for router in plan.routers
    ]
    for unwanted in left:
        address = show_address(unwanted.ip, unwanted.port)
        _log.warning("no server is configured for the socket on %s that systemd passed: it is closed", address)
        os.close(unwanted.fd)
    return msgspec.structs.replace(plan, routers=routers)


def close_inherited(plan: Plan) -> None:
    """Close our copies of the sockets in a plan that the engine has: it holds its own.

    A socket listens while any copy is open: callers would be left waiting on one that the engine has closed.
    """
    for server in (server for router in plan.routers for server in router.servers):
        for fd in server.fds:
            os.close(fd)


def show_address(ip: str, port: int) -> str:
    """Give `127.0.0.1:4140`, or `[::1]:4140`."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _tell_systemd(state: str) -> None:
    try:
        notify(os.environ, state)
    except OSError as error:
        _log.warning("cannot tell systemd %s: %s", state, error)
