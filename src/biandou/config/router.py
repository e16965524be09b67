"""The `routers`: HTTP/1, connections, and protocols that are not built yet (reference/linker.md §2.1 to §2.3)."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from biandou.announcers.interface import AnnouncerKind
from biandou.classifiers.interface import PythonClassifierKind
from biandou.config.access_log import RollPolicyText
from biandou.config.client import GlobalClient, StaticClient
from biandou.config.plan import NeverRoll
from biandou.config.server import HttpServer, Server, TcpServer
from biandou.config.service import GlobalService, StaticService
from biandou.config.values import (
    Count,
    DtabText,
    Kilobytes,
    OneOrMany,
    PathText,
    PositiveCount,
    Room,
)
from biandou.dtab import Dtab, Path
from biandou.filters.interface import FilterKind
from biandou.identifiers.connection import OriginalDstIdentifier
from biandou.identifiers.http import HeaderTokenIdentifier
from biandou.identifiers.interface import IdentifierKind, PythonIdentifierKind
from biandou.interpreters.interface import InterpreterKind
from biandou.interpreters.local import DefaultInterpreterKind
from biandou.kinds import Register
from biandou.policies import DefaultTracePropagator, Keys, Milliseconds, TracePropagatorKind

_GLOBAL: Final = "io.l5d.global"
_SERVICES: Final[Register[Any]] = Register("services", (GlobalService, StaticService))
_CLIENTS: Final[Register[Any]] = Register("clients", (GlobalClient, StaticClient))


Label = Annotated[str, Meta(min_length=1, max_length=255)]


class BindingCache(Keys, frozen=True, kw_only=True):
    """How many names a router keeps, and for how long when nobody asks for them."""

    paths: PositiveCount = 1000
    trees: PositiveCount = 1000
    bounds: PositiveCount = 1000
    clients: PositiveCount = 1000
    idle_ttl_secs: PositiveCount = 600


class Plugins(Keys, frozen=True, kw_only=True):
    """What holds for the filters and identifiers that Python runs: the time of all for a request, and who may wait."""

    timeout_ms: Annotated[int, Meta(ge=1, le=600_000)] = 1000
    max_waiting: Annotated[int, Meta(ge=1, le=100_000)] = 256


class Router(Keys, frozen=True, kw_only=True, tag_field="protocol"):
    """The keys that the routers of all protocols have."""

    label: Label | None = None
    dtab: DtabText = Dtab()
    dst_prefix: PathText = Path.of("svc")
    service: Annotated[GlobalService | StaticService, Room(_SERVICES, _GLOBAL)] = GlobalService()
    client: Annotated[GlobalClient | StaticClient, Room(_CLIENTS, _GLOBAL)] = GlobalClient()
    interpreter: Annotated[InterpreterKind, Room("interpreters")] = DefaultInterpreterKind()
    announcers: tuple[Annotated[AnnouncerKind, Room("announcers")], ...] = ()
    binding_timeout_ms: Milliseconds = 10_000
    binding_cache: BindingCache = BindingCache()
    originator: bool = False
    experimental: bool = False
    servers: tuple[Server, ...] = ()
    identifier: tuple[IdentifierKind, ...] = ()

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return str(type(self).__struct_config__.tag)

    @property
    def name(self) -> str:
        """The label, which is the protocol's name if none is written."""
        return self.label or self.protocol


class HttpRouter(Router, frozen=True, kw_only=True, tag="http"):
    """A router of HTTP/1.1 requests."""

    servers: tuple[HttpServer, ...] = ()
    identifier: Annotated[tuple[Annotated[IdentifierKind, Room("identifiers")], ...], OneOrMany()] = (
        HeaderTokenIdentifier(),
    )
    filters: tuple[Annotated[FilterKind, Room("filters")], ...] = ()
    plugins: Plugins = Plugins()
    http_access_log: Annotated[str, Meta(min_length=1)] | None = None
    http_access_log_roll_policy: RollPolicyText = NeverRoll()
    http_access_log_append: bool = True
    http_access_log_rotate_count: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = -1
    stream_after_content_length_kb: Count | None = msgspec.field(default=None, name="streamAfterContentLengthKB")
    max_headers_kb: Kilobytes = msgspec.field(default=8, name="maxHeadersKB")
    max_initial_line_kb: Kilobytes = msgspec.field(default=4, name="maxInitialLineKB")
    max_header_count: Annotated[int, Meta(ge=1, le=65_536)] = 128
    max_err_response_kb: Kilobytes = msgspec.field(default=5120, name="maxErrResponseKB")
    streaming_enabled: bool = True
    compression_level: Annotated[int, Meta(ge=-1, le=9)] = -1
    trace_propagator: Annotated[TracePropagatorKind, Room("trace propagators")] = DefaultTracePropagator()

    @property
    def shows_requests(self) -> bool:
        """Whether each request is shown to Python."""
        return bool(self.filters) or any(isinstance(kind, PythonIdentifierKind) for kind in self.identifier)

    @property
    def python_classifiers(self) -> list[PythonClassifierKind]:
        """The classifiers of its services that Python runs."""
        kinds = [keys.response_classifier for keys in self.service.entries]
        return [kind for kind in kinds if isinstance(kind, PythonClassifierKind)]

    @property
    def has_python_plugins(self) -> bool:
        """Whether requests or responses are shown to Python."""
        return self.shows_requests or bool(self.python_classifiers)


class TcpRouter(Router, frozen=True, kw_only=True, tag="tcp"):
    """A router of connections, which are passed on as they are."""

    servers: tuple[TcpServer, ...] = ()
    identifier: Annotated[tuple[Annotated[IdentifierKind, Room("connection identifiers")], ...], OneOrMany()] = (
        OriginalDstIdentifier(),
    )


PROTOCOLS: Final[Register[Any]] = Register(
    "protocols", (HttpRouter, TcpRouter), planned=("h2", "mux", "thrift", "thriftmux")
)
"""The routers by protocol."""
