"""The `servers` of a router, and what every socket of ours can be told (reference/linker.md §2.4, §2.5)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from biandou.config.rate_limit import RateLimit
from biandou.config.values import Count, Ip, PathText, Port, PositiveCount, Room
from biandou.identifiers.http import HeaderName
from biandou.policies import Keys, LabelerKind, Milliseconds, RequestRandomLabeler, ServerTls


class SocketOptions(Keys, frozen=True, kw_only=True):
    """Options of listening and connecting sockets; without a timeout a silent connection stays open."""

    no_delay: bool = True
    reuse_addr: bool = True
    reuse_port: bool = False
    read_timeout_ms: Milliseconds | None = None
    write_timeout_ms: Milliseconds | None = None
    keep_alive: bool | None = None
    backlog: PositiveCount | None = None


class Session(Keys, frozen=True, kw_only=True):
    """When a connection is closed: at an age, or after being idle."""

    life_time_ms: Milliseconds | None = None
    idle_time_ms: Milliseconds | None = None


class ForwardedHeader(Keys, frozen=True, kw_only=True):
    """How a `Forwarded` header names both ends of a connection (reference/linker.md §5.6)."""

    by: Annotated[LabelerKind, Room("labelers")] = RequestRandomLabeler()
    # `for` is a word of Python.
    for_: Annotated[LabelerKind, Room("labelers")] = msgspec.field(default=RequestRandomLabeler(), name="for")


class NotHttp(Keys, frozen=True, kw_only=True):
    """Which `router` passes on what does not speak HTTP/1, or says nothing for `silenceMs`."""

    router: Annotated[str, Meta(min_length=1)]
    silence_ms: PositiveCount = 1000


class Server(Keys, frozen=True, kw_only=True):
    """One address on which a router takes connections: the keys that all protocols have."""

    port: Port = 4140
    ip: Ip = "127.0.0.1"
    label: str | None = None
    tls: ServerTls | None = None
    socket_options: SocketOptions = SocketOptions()
    max_concurrent_requests: PositiveCount | None = None
    announce: tuple[PathText, ...] = ()
    server_session: Session = Session()
    head_timeout_ms: PositiveCount = 10_000
    max_connections: PositiveCount = 65_536


class HttpServer(Server, frozen=True, kw_only=True):
    """One address on which a router takes requests; without a port the protocol's own."""

    clear_context: bool = False
    trust: Literal["all", "none"] = "all"
    timeout_ms: Milliseconds | None = None
    add_forwarded_header: ForwardedHeader | None = None
    timestamp_header: HeaderName | None = None
    max_call_depth: Count = 1000
    rate_limit: RateLimit | None = None
    not_http: NotHttp | None = None


class TcpServer(Server, frozen=True, kw_only=True):
    """One address on which a router takes connections; `headTimeoutMs` is how long it waits for a name of TLS."""

    port: Port = 4145
    head_timeout_ms: PositiveCount = 1000
