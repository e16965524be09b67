"""The linker's whole configuration: its sections, and what no single section can know (reference/linker.md §1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from biandou.config.admin import Admin, Usage
from biandou.config.router import PROTOCOLS, HttpRouter
from biandou.config.typed import Reading
from biandou.config.values import Room
from biandou.config.whole import Whole, check_experimental, check_ports, load_whole, parse_whole
from biandou.kinds import Kind, Register
from biandou.namers.interface import NamerKind
from biandou.standard import ROOMS


class LinkerConfig(Whole, frozen=True, kw_only=True):
    """What a linker is told to do."""

    routers: tuple[Annotated[HttpRouter, Room(PROTOCOLS)], ...] = ()
    namers: tuple[Annotated[NamerKind, Room("namers")], ...] = ()
    telemetry: tuple[Annotated[Kind, Room("telemeters")], ...] = ()
    admin: Admin = Admin()
    usage: Usage = Usage()


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
    servers = ((server, server.ip, server.port) for router in config.routers for server in router.servers)
    check_ports(config, config.admin, servers, reading)
    for namer in config.namers:
        check_experimental(namer, "namer", reading)
    for telemeter in config.telemetry:
        check_experimental(telemeter, "telemeter", reading)


def _check_router(router: HttpRouter, reading: Reading) -> None:
    if not router.servers and not reading.troubled(router, "servers"):
        reading.blame(router, "servers", f"router '{router.name}' has no servers")
    if not router.identifier and not reading.troubled(router, "identifier"):
        reading.blame(router, "identifier", "empty identifier list")
    if not router.streaming_enabled and router.stream_after_content_length_kb is not None:
        reading.blame(
            router,
            "streamAfterContentLengthKB",
            "Conflicting streaming options set. Can't disable streaming and set streamAfterContentLengthKB in "
            f"{router.name}",
        )
    check_experimental(router.interpreter, "interpreter", reading)


def _check_labels(config: LinkerConfig, reading: Reading) -> None:
    seen: set[str] = set()
    for router in config.routers:
        if router.name in seen:
            reading.blame(router, "label", f"Multiple routers with the label {router.name}")
        seen.add(router.name)
