"""namerd's whole configuration: its sections, and what no single section can know (reference/naming.md §4.1, §5)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from biandou.config.access_log import RollPolicyText, access_log_plan
from biandou.config.admin import Admin
from biandou.config.plan import AccessLogPlan, NeverRoll
from biandou.config.schema import RefusedKey
from biandou.config.server import SocketOptions
from biandou.config.state_file import StateFile
from biandou.config.typed import Reading
from biandou.config.values import Ip, Port, Room
from biandou.config.whole import Whole, check_experimental, check_ports, load_whole, parse_whole
from biandou.kinds import Kind, Register
from biandou.namers.interface import NamerKind
from biandou.policies import Keys, ServerTls
from biandou.standard import ROOMS
from biandou.stores.interface import StoreKind


class InterfaceKind(Kind, frozen=True, kw_only=True):
    """The keys that all interfaces have (reference/naming.md §5); each kind has a port of its own."""

    ip: Ip = "127.0.0.1"
    port: Port
    socket_options: SocketOptions = SocketOptions()
    tls: ServerTls | None = None


class AccessToken(Keys, frozen=True, kw_only=True):
    """Lets in who shows `token`, or what the file `tokenFile` holds; `name` is the author of what it changes."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    token_file: str | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` unless there is one token, and in a file that can be read."""
        if (self.token is None) == (self.token_file is None):
            raise ValueError("one of token and tokenFile is needed")
        try:
            self.secret()
        except OSError as error:
            raise RefusedKey("tokenFile", f"{self.token_file}: {error.strerror}") from error
        except ValueError as error:
            raise RefusedKey("tokenFile", str(error)) from error

    def secret(self) -> str:
        """Give what has to be shown; raises `ValueError`, or `OSError` if the file can't be read."""
        if self.token is not None:
            return self.token
        with open(self.token_file or "", encoding="utf-8") as file:
            secret = file.read(4097).strip()
        if not 0 < len(secret) <= 4096:
            raise ValueError(f"{self.token_file} holds no token of 1 to 4096 characters")
        return secret


class HttpController(InterfaceKind, frozen=True, kw_only=True, tag="io.l5d.httpController"):
    """The HTTP API; with `tokens` nobody gets in without one."""

    port: Port = 4180
    tokens: tuple[AccessToken, ...] = ()


class MeshInterface(InterfaceKind, frozen=True, kw_only=True, tag="io.l5d.mesh"):
    """The gRPC API of linkers whose interpreter is io.l5d.mesh."""

    port: Port = 4321
    h2_access_log: Annotated[str, Meta(min_length=1)] | None = None
    h2_access_log_roll_policy: RollPolicyText = NeverRoll()
    h2_access_log_append: bool = True
    h2_access_log_rotate_count: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = -1

    @property
    def access_log(self) -> AccessLogPlan | None:
        """The file that gets a line for each call."""
        return access_log_plan(
            self.h2_access_log,
            self.h2_access_log_roll_policy,
            self.h2_access_log_append,
            self.h2_access_log_rotate_count,
        )

    def without_access_log(self) -> MeshInterface:
        """Give the rest: all that a socket which is open cannot take on."""
        return msgspec.structs.replace(
            self,
            h2_access_log=None,
            h2_access_log_roll_policy=NeverRoll(),
            h2_access_log_append=True,
            h2_access_log_rotate_count=-1,
        )


INTERFACES: Final[Register[Any]] = Register(
    "interfaces",
    (HttpController, MeshInterface),
    planned=("io.l5d.destination", "io.l5d.thriftNameInterpreter"),
)
"""namerd's interfaces; they lie below none of the rooms that `standard.py` lists, for their keys are a server's."""


class NamerdAdmin(Admin, frozen=True, kw_only=True):
    """namerd's admin server has a port of its own."""

    port: Port = 9991


class NamerdConfig(Whole, frozen=True, kw_only=True):
    """What a namerd is told to do."""

    storage: Annotated[StoreKind, Room("stores")]
    interfaces: tuple[Annotated[InterfaceKind, Room(INTERFACES)], ...] = ()
    namers: tuple[Annotated[NamerKind, Room("namers")], ...] = ()
    telemetry: tuple[Annotated[Kind, Room("telemeters")], ...] = ()
    admin: NamerdAdmin = NamerdAdmin()
    state_file: StateFile = StateFile()


WITHOUT_FILE: Final = """\
storage:
  kind: io.biandou.sqlite
interfaces:
- kind: io.l5d.httpController
- kind: io.l5d.mesh
"""
"""What a namerd does that is given no file."""


def load(path: str | os.PathLike[str]) -> NamerdConfig:
    """Read a file, or standard input for `-`; raises `ConfigError` with all mistakes."""
    return load_whole(path, NamerdConfig, _check, ROOMS)


def parse(text: str | bytes, file: str = "<text>", registers: Mapping[str, Register[Any]] = ROOMS) -> NamerdConfig:
    """Read a text with the kinds of `registers`; raises `ConfigError` with all mistakes, which name `file`."""
    return parse_whole(text, file, NamerdConfig, _check, registers)


# ── What no single section can know ──────────────────────────────────────────────────────────────────────────────────


def _check(config: NamerdConfig, reading: Reading) -> None:
    if not config.interfaces and not reading.troubled(config, "interfaces"):
        reading.blame(config, "interfaces", "One or more interfaces must be specified.")
    for interface in config.interfaces:
        _check_interface(interface, reading)
    check_ports(config, config.admin, ((kind, kind.ip, kind.port) for kind in config.interfaces), reading)
    _check_prefixes(config.namers, reading)
    # Namers are not looked at: the reference's namerd takes them with and without the key.
    check_experimental(config.storage, "storage", reading)
    for telemeter in config.telemetry:
        check_experimental(telemeter, "telemeter", reading)


def _check_interface(interface: InterfaceKind, reading: Reading) -> None:
    options = interface.socket_options
    for key, value in (("readTimeoutMs", options.read_timeout_ms), ("writeTimeoutMs", options.write_timeout_ms)):
        if value is not None and not reading.troubled(interface, "socketOptions"):
            reading.blame(options, key, f"`{key}` is known but not built yet")
    if isinstance(interface, MeshInterface):
        _check_mesh(interface, reading)


def _check_mesh(interface: MeshInterface, reading: Reading) -> None:
    """Blame what gRPC's library, which opens the socket and speaks TLS by itself, cannot be told."""
    options, tls = interface.socket_options, interface.tls
    chosen: list[tuple[object, str, bool]] = []
    if not reading.troubled(interface, "socketOptions"):
        chosen += [
            (options, "noDelay", not options.no_delay),
            (options, "keepAlive", options.keep_alive is not None),
            (options, "backlog", options.backlog is not None),
        ]
    if tls is not None and not reading.troubled(interface, "tls"):
        chosen += [(tls, "ciphers", bool(tls.ciphers)), (tls, "protocols", bool(tls.protocols))]
    for part, key, is_chosen in chosen:
        if is_chosen:
            reading.blame(part, key, f"`{key}` cannot be chosen for io.l5d.mesh")


def _check_prefixes(namers: tuple[NamerKind, ...], reading: Reading) -> None:
    for index, namer in enumerate(namers):
        prefix = namer.full_prefix.drop(1)
        if len(prefix) == 0:
            reading.blame(namer, "prefix", "Namers must not have an empty prefix")
            continue
        for other in namers[:index]:
            taken = other.full_prefix.drop(1)
            if len(taken) and (prefix.starts_with(taken) or taken.starts_with(prefix)):
                reading.blame(namer, "prefix", f"Namers must not have overlapping prefixes: {taken} and {prefix}")
                break
