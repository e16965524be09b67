"""`default`: binds with the router's dtab and the configured namers, in this process (reference/linker.md §3.8)."""

from __future__ import annotations

from biandou.interpreters.interface import InterpreterKind


class DefaultInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="default"):
    """The interpreter of a router that names none."""
