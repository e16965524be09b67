"""The linker's whole configuration: its sections, and what no single section can know (reference/linker.md §1)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from biandou.announcers.all import matching
from biandou.config.admin import Admin, Usage
from biandou.config.router import PROTOCOLS, HttpRouter, Router, TcpRouter
from biandou.config.server import NotHttp
from biandou.config.state_file import StateFile
from biandou.config.typed import Reading
from biandou.config.values import Room
from biandou.config.whole import Whole, check_experimental, check_ports, load_whole, parse_whole
from biandou.kinds import Kind, Register
from biandou.namers.interface import NamerKind
from biandou.standard import ROOMS


class LinkerConfig(Whole, frozen=True, kw_only=True):
    """What a linker is told to do."""

    routers: tuple[Annotated[Router, Room(PROTOCOLS)], ...] = ()
    namers: tuple[Annotated[NamerKind, Room("namers")], ...] = ()
    telemetry: tuple[Annotated[Kind, Room("telemeters")], ...] = ()
    admin: Admin = Admin()
    usage: Usage = Usage()
    state_file: StateFile = StateFile()


def load(path: str | os.PathLike[str]) -> LinkerConfig:
    """Read a file, or standard input for `-`; raises `ConfigError` with all mistakes."""
    return load_whole(path, LinkerConfig, _check, ROOMS)


def parse(text: str | bytes, file: str = "<text>", registers: Mapping[str, Register[Any]] = ROOMS) -> LinkerConfig:
    """Read a text with the kinds of `registers`; raises `ConfigError` with all mistakes, which name `file`."""
    return parse_whole(text, file, LinkerConfig, _check, registers)


# ── What no single section can know ──────────────────────────────────────────────────────────────────────────────────


def _check(config: LinkerConfig, reading: Reading) -> None:
    if not config.routers and not reading.troubled(config, "routers"):
        reading.blame(config, "routers", "At least one router must be specified in the configuration.")
    for router in config.routers:
        _check_router(router, reading)
    _check_labels(config, reading)
    _check_others(config, reading)
    servers = ((server, server.ip, server.port) for router in config.routers for server in router.servers)
    check_ports(config, config.admin, servers, reading)
    for namer in config.namers:
        check_experimental(namer, "namer", reading)
    for telemeter in config.telemetry:
        check_experimental(telemeter, "telemeter", reading)


def _check_router(router: Router, reading: Reading) -> None:
    if not router.servers and not reading.troubled(router, "servers"):
        reading.blame(router, "servers", f"router '{router.name}' has no servers")
    if not router.identifier and not reading.troubled(router, "identifier"):
        reading.blame(router, "identifier", "empty identifier list")
    check_experimental(router.interpreter, "interpreter", reading)
    _check_announced(router, reading)
    if isinstance(router, HttpRouter):
        _check_http(router, reading)


def _check_announced(router: Router, reading: Reading) -> None:
    for server in router.servers:
        for path in server.announce:
            for kind, name in matching(router.announcers, path):
                try:
                    kind.check(name)
                except ValueError as error:
                    reading.blame(server, "announce", f"{path}: {error}")


def _check_http(router: HttpRouter, reading: Reading) -> None:
    if not router.streaming_enabled and router.stream_after_content_length_kb is not None:
        reading.blame(
            router,
            "streamAfterContentLengthKB",
            "Conflicting streaming options set. Can't disable streaming and set streamAfterContentLengthKB in "
            f"{router.name}",
        )
    for server in router.servers:
        if server.not_http is not None and server.tls is not None:
            reading.blame(server, "notHttp", "what a connection speaks can't be seen through TLS")


def _check_others(config: LinkerConfig, reading: Reading) -> None:
    """See to it that connections which do not speak HTTP have a router."""
    of_connections = sorted(router.name for router in config.routers if isinstance(router, TcpRouter))
    for others in _others(config):
        if others.router not in of_connections:
            known = (
                f"the routers of connections are: {', '.join(of_connections)}" if of_connections else "there is none"
            )
            reading.blame(others, "router", f"no router with `protocol: tcp` is called {others.router}; {known}")


def _others(config: LinkerConfig) -> Iterator[NotHttp]:
    for router in config.routers:
        if isinstance(router, HttpRouter):
            for server in router.servers:
                if server.not_http is not None:
                    yield server.not_http


def _check_labels(config: LinkerConfig, reading: Reading) -> None:
    seen: set[str] = set()
    for router in config.routers:
        if router.name in seen:
            reading.blame(router, "label", f"Multiple routers with the label {router.name}")
        seen.add(router.name)
