"""What a linker announces: each server's addresses under its names, from when it listens until it drains.

Nothing here waits for a registry but `prepare` and `withdraw`, and these not for long.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from biandou.announcers.all import matching
from biandou.announcers.interface import Announcer, AnnouncerKind
from biandou.announcers.standing import Announcement
from biandou.boundary import Serving
from biandou.clients.interfaces import local_addresses
from biandou.config.linker import LinkerConfig
from biandou.config.listening import show_address
from biandou.config.router import Router
from biandou.config.server import Server
from biandou.dtab import Path

WITHDRAW_SECONDS: Final = 3.0
"""How long the end of a linker, or a reload, waits for registries."""

HEARD_SECONDS: Final = 0.3
"""Servers go on for so long after they are withdrawn: those who follow the registry hear of it meanwhile."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Announced:
    """An address under a name; `written` is the server's in the configuration, whose port may be 0."""

    kind: AnnouncerKind
    name: Path
    written: tuple[str, int]
    ip: str
    port: int


class Announcements:
    """All announcements of a linker; those that two configurations have in common are not touched by a reload."""

    def __init__(self) -> None:
        self._announcers: dict[AnnouncerKind, Announcer] = {}
        self._running: dict[Announced, tuple[Announcement, dict[str, Any]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._ended = False

    async def prepare(self, config: LinkerConfig) -> None:
        """Get ready for a configuration: withdraw what it does not announce, before its servers stop listening.

        Raises `ConfigError`, and has changed nothing, for an announcer that can't be made.
        """
        for router in config.routers:
            for kind in router.announcers:
                if kind not in self._announcers:
                    self._announcers[kind] = kind.announcer()
        wanted = _written(config)
        gone = [one for one in self._running if (one.kind, one.name, one.written) not in wanted]
        if gone:
            await asyncio.wait([self._leave(one) for one in gone], timeout=WITHDRAW_SECONDS)

    def follow(self, config: LinkerConfig, serving: Sequence[Serving]) -> None:
        """Announce what these servers are to be known as; `serving` has their real addresses, in their order."""
        if self._ended:
            return
        wanted = _wanted(config, serving)
        for gone in [one for one in self._running if one not in wanted]:
            self._leave(gone)
        for one, (router, path) in wanted.items():
            if one not in self._running:
                self._running[one] = self._announced(one, router, path)
        kinds = {kind for router in config.routers for kind in router.announcers}
        self._announcers = {kind: announcer for kind, announcer in self._announcers.items() if kind in kinds}

    async def withdraw(self, hurry: asyncio.Event, grace_ms: int) -> None:
        """Have nobody sent here any more, within half the grace or until `hurry`; nothing is announced afterwards."""
        most = min(WITHDRAW_SECONDS, grace_ms / 2000)
        self._ended = True
        heard = any(one.standing == "registered" for one, _ in self._running.values())
        leaving = {*self._leaving, *(self._leave(one) for one in [*self._running])}
        if not leaving:
            return
        hurried = asyncio.create_task(hurry.wait())
        all_left = asyncio.gather(*leaving, return_exceptions=True)
        await asyncio.wait((all_left, hurried), timeout=most, return_when=asyncio.FIRST_COMPLETED)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        if heard:
            await asyncio.wait((hurried,), timeout=HEARD_SECONDS)
        hurried.cancel()

    def state(self) -> list[dict[str, Any]]:
        """Give every announcement and how it stands, as JSON values."""
        return [{**shown, **announcement.state()} for announcement, shown in self._running.values()]

    def _announced(self, one: Announced, router: str, path: Path) -> tuple[Announcement, dict[str, Any]]:
        announcer = self._announcers[one.kind]
        address = show_address(one.ip, one.port)
        what = f"announcing {address} as {one.name} to {announcer.scheme}"
        _log.info("%s", what)
        shown = {"router": router, "path": str(path), "address": address, "to": announcer.name}
        return Announcement(announcer.registration(one.name, one.ip, one.port), what), shown

    def _leave(self, one: Announced) -> asyncio.Task[None]:
        announcement, shown = self._running.pop(one)
        task = asyncio.get_running_loop().create_task(_withdrawn(announcement, shown), name="former announcement")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


async def _withdrawn(announcement: Announcement, shown: Mapping[str, Any]) -> None:
    try:
        await announcement.withdraw()
    except asyncio.CancelledError:
        _log.warning("%s is announced to %s for a while yet: there was no time", shown["address"], shown["to"])
        raise


def _servers(config: LinkerConfig) -> list[tuple[Router, Server]]:
    return [(router, server) for router in config.routers for server in router.servers]


def _written(config: LinkerConfig) -> set[tuple[AnnouncerKind, Path, tuple[str, int]]]:
    """Give announcer, name and server of everything that a configuration announces."""
    return {
        (kind, name, (server.ip, server.port))
        for router, server in _servers(config)
        for path in server.announce
        for kind, name in matching(router.announcers, path)
    }


def _wanted(config: LinkerConfig, serving: Sequence[Serving]) -> dict[Announced, tuple[str, Path]]:
    """Give what is to be announced, each with router and path; says what can't be."""
    found = {}
    for (router, server), real in zip(_servers(config), serving, strict=True):
        addresses = _addresses(server.ip) if server.announce else []
        for path in server.announce:
            matched = matching(router.announcers, path)
            if not matched:
                _log.warning("no announcer found for %s", path)
            for kind, name in matched:
                for ip in addresses:
                    announced = Announced(kind, name, (server.ip, server.port), ip, real.port)
                    found[announced] = router.name, path
    return found


def _addresses(ip: str) -> list[str]:
    """Give the addresses to connect to: of a server on all, those that another host can mean without a zone."""
    written = ipaddress.ip_address(ip)
    if not written.is_unspecified:
        return [ip]
    try:
        local = [ipaddress.ip_address(one) for one in local_addresses()]
    except OSError as error:
        _log.warning("the addresses of this host can't be read: %s", error)
        return []
    # A server on `::` takes connections of both families.
    found = [
        str(one)
        for one in sorted(local, key=lambda one: (one.version, one.packed))
        if not one.is_loopback and one.version <= written.version and not (one.version == 6 and one.is_link_local)
    ]
    if not found:
        _log.warning("a server on %s is announced, and this host has no address that others can reach", ip)
    return found
