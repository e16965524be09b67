"""A whole configuration, whichever program it is for: read, checked, and kept as it was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from biandou.config.admin import Admin
from biandou.config.read import read_document, read_file
from biandou.config.shown import shown
from biandou.config.typed import Reading
from biandou.config.values import NotAKey
from biandou.kinds import Keys, Kind, Register, kind_name


class Whole(Keys, frozen=True, kw_only=True):
    """What a program is told to do; `written` is what the file said, as JSON values without secrets."""

    written: Annotated[dict[str, Any], NotAKey()] = msgspec.field(default_factory=dict)


ConfigT = TypeVar("ConfigT", bound=Whole)
Check = Callable[[ConfigT, Reading], None]
"""Blames what no single section can know."""


def load_whole(
    path: str | os.PathLike[str], section: type[ConfigT], check: Check[ConfigT], registers: Mapping[str, Register[Any]]
) -> ConfigT:
    """Read a file, or standard input for `-`; raises `ConfigError` with all mistakes."""
    file, data = read_file(path)
    return parse_whole(data, file, section, check, registers)


def parse_whole(
    text: str | bytes, file: str, section: type[ConfigT], check: Check[ConfigT], registers: Mapping[str, Register[Any]]
) -> ConfigT:
    """Read a text with the kinds of `registers`; raises `ConfigError` with all mistakes, which name `file`."""
    document = read_document(text.encode(errors="surrogatepass") if isinstance(text, str) else text, file)
    reading = Reading(file, registers)
    config = reading.read(document, section)
    if config is not None:
        check(config, reading)
    reading.finish()
    if config is None:
        raise AssertionError("a configuration that is not there has a problem that says so")
    return msgspec.structs.replace(config, written=shown(document))


def check_ports(config: Whole, admin: Admin, servers: Iterable[tuple[object, str, int]], reading: Reading) -> None:
    """Blame two that would listen at the same address; `servers` are those besides admin, with their addresses."""
    listeners = [*servers]
    if not reading.troubled(config, "admin"):
        listeners.append((admin, admin.ip, admin.port))
        if admin.http_identifier_port and any(
            (ip, port) == (admin.ip, admin.http_identifier_port) for _, ip, port in listeners
        ):
            message = f"Server conflict on port {admin.http_identifier_port}"
            reading.blame(admin, "httpIdentifierPort", message)
    seen: dict[tuple[str, int], object] = {}
    for listener, ip, port in listeners:
        # Port 0 is another port each time.
        if port != 0 and (ip, port) in seen:
            other = seen[ip, port] if listener is admin else listener
            reading.blame(other, "port", f"Server conflict on port {port}")
        seen[ip, port] = listener


def check_experimental(kind: Kind, room: str, reading: Reading) -> None:
    """Blame a kind that has to be enabled and is not."""
    if getattr(kind, "needs_experimental", False) and getattr(kind, "experimental", None) is not True:
        name = f"/#/{kind_name(type(kind))}" if room == "namer" else kind_name(type(kind))
        reading.blame(
            kind,
            "experimental",
            f"The {name} {room} is experimental and must be explicitly enabled by setting the `experimental' "
            "parameter to `true'.",
        )
