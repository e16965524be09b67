"""① in Python: what the engine's identifiers make of one request; for `biandou explain` and `httpIdentifierPort`.

The engine identifies every request itself (`engine/src/identify/`); this is the same rules once more, held to it by the
same vectors (reference/linker.md §4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from biandou.dtab import Dtab, DtabSyntaxError, Path
from biandou.identifiers.connection import OriginalDstIdentifier
from biandou.identifiers.http import (
    HeaderIdentifier,
    HeaderTokenIdentifier,
    MethodAndHostIdentifier,
    PathIdentifier,
    StaticIdentifier,
)
from biandou.identifiers.interface import IdentifierKind, PythonIdentifierKind
from biandou.kinds import kind_name


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP/1 request; `uri` is the request target as it was written."""

    method: str = "GET"
    uri: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    version: str = "1.1"
    original: tuple[str, int] | None = None
    """Where its connection was going before it was redirected: an address and a port."""

    def header(self, name: str) -> str | None:
        """Give the first value of a header that is there and not empty."""
        for found, value in self.headers:
            if found.lower() == name.lower():
                return value or None
        return None

    def all(self, name: str) -> list[str]:
        """Give every value of a header."""
        return [value for found, value in self.headers if found.lower() == name.lower()]


@dataclass(frozen=True, slots=True)
class Identified:
    """The service name, and the request as it goes on (`consume` takes segments out of its URI)."""

    name: Path
    request: Request


@dataclass(frozen=True, slots=True)
class Unidentified:
    """No name; `final` when the request is refused without asking the next identifier."""

    reason: str
    final: bool = False


def identify(kinds: Sequence[IdentifierKind], prefix: Path, request: Request) -> Identified | Unidentified:
    """Ask the identifiers in order; the first name wins, and the last reason is the one that is reported."""
    outcome: Identified | Unidentified = Unidentified("no identifier is configured")
    for kind in kinds:
        outcome = identify_by(kind, prefix, request)
        if isinstance(outcome, Identified) or outcome.final:
            break
    return outcome


def identification(kinds: Sequence[IdentifierKind], prefix: Path, request: Request) -> dict[str, str]:
    """Give what `httpIdentifierPort` says of one router: `path` and, if the request has one, `dtab`; or an `error`."""
    outcome = identify(kinds, prefix, request)
    if isinstance(outcome, Unidentified):
        return {"error": outcome.reason}
    try:
        local = request_dtab(request)
    except DtabSyntaxError as error:
        return {"error": str(error)}
    return {"path": str(outcome.name)} | ({"dtab": str(local)} if len(local) else {})


def request_dtab(request: Request) -> Dtab:
    """Give a request's own dtab; raises `DtabSyntaxError`. What `l5d-dtab` says goes before `l5d-ctx-dtab`."""
    local = Dtab()
    for header in ("l5d-ctx-dtab", "l5d-dtab"):
        for text in request.all(header):
            local += Dtab.read(text)
    return local


def identify_by(kind: IdentifierKind, prefix: Path, request: Request) -> Identified | Unidentified:
    """Ask one identifier; `prefix` is the router's `dstPrefix`."""
    try:
        match kind:
            case HeaderTokenIdentifier(header=header):
                value = request.header(header)
                return _absent(header) if value is None else Identified(prefix + Path.of(_bytes(value)), request)
            case HeaderIdentifier(header=header):
                value = request.header(header)
                return _absent(header) if value is None else Identified(prefix + Path.read(value), request)
            case MethodAndHostIdentifier(http_uri_in_dst=with_uri):
                return _method_and_host(prefix, request, with_uri=with_uri)
            case PathIdentifier(segments=count, consume=consume):
                return _path(prefix, request, count, consume=consume)
            case StaticIdentifier(path=path):
                return Identified(prefix + Path.read(f"/{path.lstrip('/')}"), request)
            case OriginalDstIdentifier():
                if request.original is None:
                    return Unidentified("the connection was not redirected here")
                ip, port = request.original
                return Identified(prefix + Path.of(ip, str(port)), request)
            case PythonIdentifierKind():
                # It may block, or do what only a real request should: it is not tried out unasked.
                return Unidentified(f"{kind_name(type(kind))} is a plugin, and was not run", final=True)
    except ValueError as error:
        return Unidentified(str(error), final=True)
    return Unidentified(f"{type(kind).__name__} runs in the engine alone and cannot be explained", final=True)


def _absent(header: str) -> Unidentified:
    return Unidentified(f"{header} header is absent")


def _method_and_host(prefix: Path, request: Request, *, with_uri: bool) -> Identified | Unidentified:
    if request.version == "1.1":
        host = request.header("Host")
        if host is None:
            return Unidentified("HTTP/1.1 request missing hostname")
        name = Path.of("1.1", request.method, _bytes(host.lower()))
    elif request.version == "1.0":
        name = Path.of("1.0", request.method)
    else:
        return Unidentified(f"Unknown HTTP version HTTP/{request.version}")
    if with_uri:
        name += Path.read(_path_of(request.uri))
    return Identified(prefix + name, request)


def _path(prefix: Path, request: Request, count: int, *, consume: bool) -> Identified | Unidentified:
    path = _path_of(request.uri)
    parts = path.removeprefix("/").split("/")
    while parts and not parts[-1]:
        parts.pop()
    if len(parts) < count:
        return Unidentified("not enough segments in path")
    name = prefix + Path.of(*map(_bytes, parts[:count]))
    if not consume:
        return Identified(name, request)
    rest = path.removeprefix("/").split("/", count)[count:]
    query = request.uri[len(request.uri.partition("?")[0]) :]
    return Identified(name, replace(request, uri="/" + "".join(rest) + query))


def _path_of(uri: str) -> str:
    """Give the path of a request target; an absolute form (`http://host/a`) has its own."""
    before, _, _ = uri.partition("?")
    scheme, separator, rest = before.partition("://")
    if separator and "/" not in scheme:
        return "/" + rest.partition("/")[2]
    return before


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
