"""The identifiers of connections: what one is called that is not looked into."""

from __future__ import annotations

from biandou.identifiers.interface import IdentifierKind


class OriginalDstIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.biandou.originalDst"):
    """Where the connection was on its way to before it was redirected here: `/svc/10.0.0.7/5432`.

    A request may be named by its connection, too.
    """


class SniIdentifier(IdentifierKind, frozen=True, kw_only=True, tag="io.biandou.sni"):
    """The server that a TLS caller asks for, in lower case (RFC 6066 §3): `/svc/db.example.com`."""
