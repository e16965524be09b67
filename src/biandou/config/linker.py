"""The linker's whole configuration: its sections, and what no single section can know (reference/linker.md §1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from biandou.config.admin import Admin, Usage
from biandou.config.read import read_document, read_file
from biandou.config.router import PROTOCOLS, HttpRouter
from biandou.config.shown import shown
from biandou.config.typed import Reading
from biandou.config.values import NotAKey, Room
from biandou.kinds import Kind, Register, kind_name
from biandou.namers.interface import NamerKind
from biandou.policies import Keys
from biandou.standard import ROOMS


class LinkerConfig(Keys, frozen=True, kw_only=True):
    """What a linker is told to do; `written` is what the file said, as JSON values without secrets."""

    routers: tuple[Annotated[HttpRouter, Room(PROTOCOLS)], ...] = ()
    namers: tuple[Annotated[NamerKind, Room("namers")], ...] = ()
    telemetry: tuple[Annotated[Kind, Room("telemeters")], ...] = ()
    admin: Admin = Admin()
    usage: Usage = Usage()
    written: Annotated[dict[str, Any], NotAKey()] = msgspec.field(default_factory=dict)


def load(path: str | os.PathLike[str]) -> LinkerConfig:
    """Read a file, or standard input for `-`; raises `ConfigError` with all mistakes."""
    file, data = read_file(path)
    return parse(data, file)


def parse(text: str | bytes, file: str = "<text>", registers: Mapping[str, Register[Any]] = ROOMS) -> LinkerConfig:
    """Read a text with the kinds of `registers`; raises `ConfigError` with all mistakes, which name `file`."""
    document = read_document(text.encode(errors="surrogatepass") if isinstance(text, str) else text, file)
    reading = Reading(file, registers)
    config = reading.read(document, LinkerConfig)
    if config is not None:
        _check(config, reading)
    reading.finish()
    if config is None:
        raise AssertionError("a configuration that is not there has a problem that says so")
    return msgspec.structs.replace(config, written=shown(document))


# ── What no single section can know ──────────────────────────────────────────────────────────────────────────────────


def _check(config: LinkerConfig, reading: Reading) -> None:
    if not config.routers and not reading.troubled(config, "routers"):
        reading.blame(config, "routers", "At least one router must be specified in the configuration.")
    for router in config.routers:
        _check_router(router, reading)
    _check_labels(config, reading)
    _check_ports(config, reading)
    for namer in config.namers:
        _check_experimental(namer, "namer", reading)
    for telemeter in config.telemetry:
        _check_experimental(telemeter, "telemeter", reading)


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
    _check_experimental(router.interpreter, "interpreter", reading)


def _check_labels(config: LinkerConfig, reading: Reading) -> None:
    seen: set[str] = set()
    for router in config.routers:
        if router.name in seen:
            reading.blame(router, "label", f"Multiple routers with the label {router.name}")
        seen.add(router.name)


def _check_ports(config: LinkerConfig, reading: Reading) -> None:
    listeners: list[tuple[object, str, int]] = [
        (server, server.ip, server.port) for router in config.routers for server in router.servers
    ]
    if not reading.troubled(config, "admin"):
        listeners.append((config.admin, config.admin.ip, config.admin.port))
    seen: dict[tuple[str, int], object] = {}
    for listener, ip, port in listeners:
        # Port 0 is another port each time.
        if port != 0 and (ip, port) in seen:
            other = seen[ip, port] if listener is config.admin else listener
            reading.blame(other, "port", f"Server conflict on port {port}")
        seen[ip, port] = listener


def _check_experimental(kind: Kind, room: str, reading: Reading) -> None:
    if getattr(kind, "needs_experimental", False) and getattr(kind, "experimental", None) is not True:
        name = f"/#/{kind_name(type(kind))}" if room == "namer" else kind_name(type(kind))
        reading.blame(
            kind,
            "experimental",
            f"The {name} {room} is experimental and must be explicitly enabled by setting the `experimental' "
            "parameter to `true'.",
        )
