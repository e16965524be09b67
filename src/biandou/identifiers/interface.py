"""What every identifier is: configuration that an operator writes; the engine runs it on each request."""

from __future__ import annotations

from biandou.kinds import Kind


class IdentifierKind(Kind, frozen=True, kw_only=True):
    """An identifier; all its keys travel to the engine as the operator wrote them (`config/plan.py`, `identifiers`)."""
