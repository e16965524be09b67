"""The linker's process, in the order of its life: start, run, reload, drain, stop (reference/linker.md §1.5)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from biandou.boundary import EngineDoor
from biandou.config.linker import LinkerConfig
from biandou.config.plan import Plan
from biandou.config.planning import plan
from biandou.linker.assembly import Assembled, assemble
from biandou.linker.binder import Binder
from biandou.linker.resources import raise_file_limit
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

    async def stop(self) -> None:
        """Stop listening and close every connection."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an admin server shows of a linker; `stop` ends the linker, its grace in milliseconds or as configured."""

    config: LinkerConfig
    assembled: Assembled
    binder: Binder
    door: EngineDoor
    stop: Callable[[int | None], None]


class Linker:
    """One linker, from its configuration to its end: `run` is its whole life."""

    def __init__(self, config: LinkerConfig, workers: int, open_admin: Callable[[Parts], Admin]) -> None:
        self._config = config
        self._workers = workers
        self._open_admin = open_admin
        self._grace_ms = config.admin.shutdown_grace_ms
        self._stop_wanted = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    async def run(self) -> int:
        """Start, serve until told to stop, drain; gives the exit status. Raises what kept a part from starting."""
        await self.start()
        await self._stop_wanted.wait()
        return await self.stop()

    # ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Bring up the parts, the admin server first; when this returns, requests are served."""
        self._handle_signals()
        _log.info("%d workers, %d files may be open", self._workers, raise_file_limit())
        assembled = assemble(self._config)
        inherited = inherited_sockets(os.environ, os.getpid())
        self._door = EngineDoor(planned := with_inherited(plan(self._config, self._workers), inherited))
        close_inherited(planned)
        self._binder = Binder(assembled.routers, self._door)
        self._admin = self._open_admin(Parts(self._config, assembled, self._binder, self._door, self.ask_to_stop))
        for line in await self._admin.start():
            _log.info("%s", line)
        for server in self._door.start(self._binder.take):
            _log.info("serving %s on %s", server.router, show_address(server.ip, server.port))
        # What start-up has made stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # Names come and go by reference counting: a full collection among thousands of them only holds up an answer.
        gc.set_threshold(50_000, 20, 1000)
        _log.info("initialized")
        _tell_systemd("READY=1")

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop_wanted.is_set():
            _log.warning("Received %s again. Stopping at once ...", number.name)
            self._stop_at_once.set()
        else:
            _log.info("Received %s. Shutting down ...", number.name)
            self._stop_wanted.set()

    # ── Reload ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def reload(self) -> None:
        """Open the access logs anew. A running linker can't take a new configuration yet: it keeps the one it has."""
        if any(router.http_access_log is not None for router in self._config.routers):
            self._door.reopen_logs()
            _log.info("Received SIGHUP. The access logs are opened anew")
        _log.warning("Received SIGHUP. Reloading is not built yet: the configuration stays; restart to change it")

    # ── Drain and stop ───────────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_stop(self, grace_ms: int | None = None) -> None:
        """End the linker as SIGTERM does, within this grace instead of `admin.shutdownGraceMs` if given."""
        if grace_ms is not None:
            self._grace_ms = grace_ms
        _log.info("Asked by admin. Shutting down ...")
        self._stop_wanted.set()

    async def stop(self) -> int:
        """Let running requests finish within the grace, then close everything; gives the exit status."""
        _tell_systemd("STOPPING=1")
        graceful = await self._drain(max(MIN_GRACE_MS, self._grace_ms))
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
