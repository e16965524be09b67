"""The identifiers of HTTP/1 routers (reference/linker.md §4.1)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.dtab import Path
from biandou.identifiers.interface import IdentifierKind

HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$", description="the name of a header")]
"""The name of a header: a token of RFC 9110 §5.6.2."""


class HeaderTokenIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.l5d.header.token"):
    """The value of `header` as one segment: `/svc/web:8080`."""

    header: HeaderName = "Host"


class HeaderIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.l5d.header"):
    """The value of `header` read as a path: `/svc/a/b`."""

    header: HeaderName = "l5d-name"


class MethodAndHostIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.l5d.methodAndHost"):
    """Version, method and lower-cased host, `/svc/1.1/GET/web`; the URI's path behind it if `httpUriInDst`."""

    http_uri_in_dst: bool = False


class PathIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.l5d.path"):
    """The first `segments` segments of the URI's path; `consume` takes them out of the request."""

    segments: Annotated[int, Meta(ge=0, le=1000)] = 1
    consume: bool = False


class StaticIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.l5d.static"):
    """The same `path` for every request; `web` and `/web` mean the same."""

    path: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `path` is a path."""
        Path.read(f"/{self.path.lstrip('/')}")
