"""What an operator says of how a Consul is asked: shared by the namer, the store and the interpreter."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from biandou.clients.registry_access import check_host

Consistency = Literal["default", "stale", "consistent"]
"""Which server may answer a read (Consul's api-docs/features/consistency)."""

Health = Literal["passing", "warning", "critical", "maintenance"]
"""How an instance is: as its worst check."""

ConsulPort = Annotated[int, Meta(ge=1, le=65535)]


def check_access(host: str, token: str | None) -> None:
    """Raise `ValueError` for a host that is none, and, without showing it, for a token that no header can hold."""
    check_host(host)
    if token is not None and not (token and token.isascii() and token.isprintable() and token == token.strip()):
        raise ValueError("token: 1 or more printable ASCII characters, without blanks at its ends")


def reading(consistency: Consistency, dc: str | None = None) -> dict[str, str]:
    """Give the parameters of a read: who may answer it, and in which datacentre."""
    query: dict[str, str] = {} if consistency == "default" else {consistency: "true"}
    return query if dc is None else {**query, "dc": dc}


def check_prefix(prefix: str) -> None:
    """Raise `ValueError` for a `pathPrefix` that no keys can lie below."""
    if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or not prefix.isprintable():
        raise ValueError("pathPrefix begins with a slash and does not end with one")
