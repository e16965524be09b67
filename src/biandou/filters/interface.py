"""What a request filter is: it passes a request on, changes its headers, or answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from biandou.kinds import Kind
from biandou.requests import PluginRequest


@dataclass(frozen=True, slots=True)
class Pass:
    """The request goes on: without the headers `remove`, and with those of `set` in the place of any that were there.

    `Connection`, `Content-Length`, `Transfer-Encoding`, `Host` and the like can't be changed: a message's boundaries
    stay the engine's, and a request's address its caller's.
    """

    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The filter answers itself; fields and body may hold 1 MiB together."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Filter = Callable[[PluginRequest], Pass | Reply | Awaitable[Pass | Reply]]
"""Runs on each request: a plain function in a thread, an `async` one on the event loop, which it must not block."""


class FilterKind(Kind, frozen=True, kw_only=True):
    """A filter's configuration, which makes what runs."""

    def make(self) -> Filter:
        """Give what runs on each request; called once when the configuration is taken up."""
        raise NotImplementedError
