"""`/$/io.biandou.atLeast/<number or share>/<path>`: a name only if it has so many healthy endpoints, else `~`.

So that a dtab can say with `|` what to do when there are too few:
`/svc => /$/io.biandou.atLeast/2/#/east | /#/west`. What is healthy, and for how long it must be, is as for the namer
`io.biandou.failover` with its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.errors import BindingError
from biandou.live import Live, Ok, State
from biandou.namers.interface import Interpret
from biandou.namers.tier_level import Judgement, read_amount
from biandou.namers.tiered import Surroundings, Tier, Tiered

AT_LEAST: Final = Path.of("$", "io.biandou.atLeast")
PATIENCE: Final = 2.0
"""So many seconds a name of which nothing is known is waited for, before the next alternative is tried."""


class AtLeastNamer:
    """All who ask for one name see one decision; `interpret` says what the path behind it comes to."""

    def __init__(self, interpret: Interpret, **surroundings: Any) -> None:
        self.prefix = AT_LEAST
        self._names: WeakValueDictionary[Path, Tiered] = WeakValueDictionary()
        self._ejected: Mapping[str, int] = {}
        self._common = Surroundings(
            interpret=interpret,
            ejected=lambda client: self._ejected.get(str(client), 0),
            patience=PATIENCE,
            **surroundings,
        )

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the tree of the path behind the amount, or a negative one; it changes when its health does."""
        if len(path) < 2:
            return Live.ok(NEG)
        if self._common.opening.names:
            return Live.failed(BindingError(f"{self.prefix} leads back to itself: {self.prefix + path}"))
        name = self._names.get(path)
        if name is None:
            try:
                amount = read_amount(path.segments[0].decode(errors="replace"))
            except ValueError as error:
                return Live.failed(BindingError(f"{self.prefix + path}: {error}"))
            tier = Tier(path.drop(1), Judgement(least=amount, restore=amount))
            name = self._names[path] = _OrNothing(self.prefix + path, Path(), [tier], self._common)
        return name.map(lambda tree: tree.map(lambda bound: bound))

    @property
    def judging(self) -> bool:
        """Whether it has any name in use."""
        return bool(self._names)

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        """Take in how many endpoints of each client name fail requests, as who sends them has found out."""
        if ejected != self._ejected:
            self._ejected = ejected
            for name in list(self._names.values()):
                name.decide()

    def state(self) -> dict[str, Any]:
        """Give what was decided for each name that is in use."""
        return {str(path): name.shown() for path, name in list(self._names.items()) if name.observed}

    def verdict(self, path: Path) -> str | None:
        """Say how a whole name is, `None` if it isn't in use."""
        name = self._names.get(path.drop(len(self.prefix)))
        return name.verdict() if name is not None and name.observed else None


class _OrNothing(Tiered):
    """A name with one tier, which is negative when that is not well."""

    __slots__ = ()

    def _last_resort(self) -> list[int]:
        return [0]

    def _nothing(self) -> State[NameTree[Bound]]:
        # Neither is what can't be asked for: there are alternatives for that.
        return Ok(NEG)
