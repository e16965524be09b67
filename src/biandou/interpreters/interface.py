"""What every interpreter is: configuration that an operator writes, and a function from service names to trees."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.explain import Delegation
from biandou.kinds import Kind
from biandou.live import Live
from biandou.namers.interface import Lookup


class Interpreter(Protocol):
    """Binds service names; knows the router's own dtab."""

    def bind(self, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give what `path` comes to now, `local` being the request's own dtab, which is tried first.

        The tree holds no alternatives any more. Nothing is opened before the result is observed.
        """

    def delegate(self, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through `dtab`, which stands in the place of the router's own.

        Raises `NotImplementedError` if this interpreter cannot show delegations.
        """


@runtime_checkable
class ReportingInterpreter(Protocol):
    """An interpreter that wants to hear what became of what it bound."""

    async def report(self, document: bytes) -> list[Any]:
        """Send a report to whoever binds, and give the JSON of each answer; none if nobody takes it."""


@runtime_checkable
class StatefulInterpreter(Protocol):
    """An interpreter that shows what it follows, on `/<router>/interpreter_state/<state_page>.json`."""

    @property
    def state_page(self) -> str:
        """Give the page's name."""

    def state(self) -> dict[str, Any]:
        """Give JSON values."""


class InterpreterKind(Kind, frozen=True, kw_only=True):
    """The keys that all interpreters have (reference/naming.md §3).

    `transformers` holds transformer kinds, already read; who assembles a router puts them around the interpreter.
    """

    experimental: bool | None = None
    transformers: tuple[Any, ...] = ()

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter of a router whose dtab is `base`."""
        raise NotImplementedError
