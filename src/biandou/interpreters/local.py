"""`default`: binds with the router's dtab and the configured namers, in this process (reference/linker.md §3.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.evaluation import Evaluator
from biandou.dtab.explain import Delegation
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.live import Live
from biandou.namers.interface import Lookup


class DefaultInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="default"):
    """The interpreter of a router that names none."""

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter."""
        return LocalInterpreter(base, namers)


class StoredInterpreter:
    """As `LocalInterpreter`, with a dtab from elsewhere that is shown on `state_page` by `state`."""

    def __init__(self, base: Live[Dtab], namers: Lookup, state_page: str, state: Callable[[], dict[str, Any]]) -> None:
        self.state_page = state_page
        self.state = state
        binding = LocalInterpreter(base, namers)
        self.bind, self.delegate = binding.bind, binding.delegate


class LocalInterpreter:
    """A dtab that may change, over namers of this process."""

    def __init__(self, base: Live[Dtab], namers: Lookup) -> None:
        self._evaluator = Evaluator(base, namers.lookup)
        self._delegator = Evaluator(Live.ok(Dtab()), namers.lookup)

    def bind(self, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give what `path` comes to through the router's dtab and `local`."""
        return self._evaluator.bind(path, local)

    def delegate(self, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through `dtab` alone."""
        return self._delegator.explain(path, dtab)
