"""What every interpreter is: configuration that an operator writes, and a function from service names to trees."""

from __future__ import annotations

from typing import Any

from biandou.kinds import Kind


class InterpreterKind(Kind, frozen=True, kw_only=True):
    """The keys that all interpreters have (reference/naming.md §3).

    `transformers` holds transformer kinds, already read.
    """

    experimental: bool | None = None
    transformers: tuple[Any, ...] = ()
