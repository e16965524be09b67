"""What every identifier is: configuration that an operator writes; the engine or Python runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from biandou.dtab import Path
from biandou.kinds import Kind
from biandou.requests import PluginRequest


class IdentifierKind(Kind, frozen=True, kw_only=True):
    """An identifier; all its keys travel to the engine as the operator wrote them (`config/plan.py`, `identifiers`)."""


Identify = Callable[[PluginRequest], Path | Awaitable[Path | None] | None]
"""Gives the name without the router's prefix, or `None` for the next identifier to be asked.

A plain function runs in a thread, an `async` one on the event loop, which it must not block.
"""


class PythonIdentifierKind(IdentifierKind, frozen=True, kw_only=True):
    """An identifier that Python runs: a third party's."""

    def make(self) -> Identify:
        """Give what runs on each request; called once when the configuration is taken up."""
        raise NotImplementedError
