"""What names mean in each namespace: its stored dtab over namerd's namers, evaluated as a linker does it itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from biandou.dtab import EMPTY, NEG, Alt, Dtab, Leaf, NameTree, Path, Union
from biandou.dtab.bound import Addresses, Bound, LocalStatus, Negative
from biandou.dtab.evaluation import Evaluator
from biandou.dtab.explain import Delegation
from biandou.dtab.lint import Served
from biandou.errors import BindingError
from biandou.live import Failed, Live, Ok, Pending, Source, State, Watch
from biandou.namers.all import Namers
from biandou.stores.interface import Store, Versioned

Resolved: TypeAlias = Ok[Addresses] | Failed
"""Where a client name is, or why its namer cannot say."""

_NOWHERE: Final[Live[Resolved]] = Live.ok(Ok(Negative()))
_CONFIGURED: Final = (b"#", b"$")


@dataclass(frozen=True, slots=True)
class Settled:
    """A bound tree all of whose client names had been resolved, with where they were then."""

    tree: NameTree[Bound]
    addresses: Mapping[Path, State[Addresses]]


@dataclass(frozen=True, slots=True)
class _Generation:
    """The namers of one configuration, and how many there were before."""

    number: int
    namers: Namers

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what a path means, told from what it meant to others."""
        found = self.namers.lookup(path)
        return found if self.number == 0 else found.map(lambda tree: tree.map(self._mark))

    def _mark(self, leaf: Path | Bound) -> Path | Bound:
        return leaf if isinstance(leaf, Path) else replace(leaf, generation=self.number)


class Names:
    """Binds the names of every namespace of a store."""

    def __init__(self, store: Store, namers: Namers) -> None:
        self._store = store
        self._generation = _Generation(0, namers)
        self._namers = Source(Ok(self._generation))
        self._alone = Evaluator(Live.ok(Dtab()), self._lookup)
        # Kept by the names that are observed: a namespace that nobody asks for costs nothing.
        self._evaluators: WeakValueDictionary[str, Evaluator] = WeakValueDictionary()
        self._trials: WeakValueDictionary[tuple[str, str], Evaluator] = WeakValueDictionary()

    @property
    def served(self) -> Served:
        """Which prefixes the namers answer for."""
        return self._generation.namers.served

    def replan(self, namers: Namers) -> None:
        """Bind by other namers from now on; what both have of one path goes on being followed."""
        self._generation = _Generation(self._generation.number + 1, namers)
        self._namers.set(self._generation)

    def bind(self, namespace: str, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give what `path` comes to through the namespace's dtab + `local`; one that does not exist is empty."""
        return self._evaluator(namespace).bind(path, local)

    def settled(self, namespace: str, local: Dtab, path: Path) -> SettledName:
        """Give the same, each time when all of its client names have been resolved."""
        return SettledName(self.bind(namespace, local, path))

    def tried(self, namespace: str, trial: str, dtab: Dtab, local: Dtab, path: Path) -> SettledName:
        """Give what `path` comes to through `dtab` + `local`; `trial` is the name of this dtab in the namespace."""
        evaluator = self._trials.get((namespace, trial))
        if evaluator is None:
            evaluator = self._trials[namespace, trial] = Evaluator(Live.ok(dtab), self._lookup)
        return SettledName(evaluator.bind(path, local))

    def addresses(self, client: Path) -> Live[Resolved]:
        """Give where a client name is; a failure if it is not a single one.

        What transformers have put in front of it (`/%/…`) is not looked at (reference/naming.md §0.2).
        """
        segments = client.segments
        start = next((index for index, segment in enumerate(segments) if segment in _CONFIGURED), 0)
        path = client.drop(start)

        def follow(tree: NameTree[Bound]) -> Live[Resolved]:
            simple = tree.simplified
            if isinstance(simple, Leaf):
                return remote(simple.value.addresses)
            if simple is NEG or simple is EMPTY:
                return _NOWHERE
            return Live.failed(BindingError(f"{path} is not one client name"))

        return self._alone.bind(path).flat_map(follow)

    def resolve(self, namespace: str, local: Dtab, path: Path) -> Live[Resolved]:
        """Give where one of the client names that `path` comes to is, chosen by weight at each change of the tree."""

        def follow(tree: NameTree[Bound]) -> Live[Resolved]:
            chosen = choose(tree)
            return _NOWHERE if chosen is None else remote(chosen.addresses)

        return self.bind(namespace, local, path).flat_map(follow)

    def delegate(self, namespace: str | None, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through the namespace's dtab + `dtab`; `None` has no dtab."""
        evaluator = self._alone if namespace is None else self._evaluator(namespace)
        return evaluator.explain(path, dtab)

    def _evaluator(self, namespace: str) -> Evaluator:
        evaluator = self._evaluators.get(namespace)
        if evaluator is None:
            stored = self._store.watch(namespace).map(_dtab).stabilize()
            evaluator = self._evaluators[namespace] = Evaluator(stored, self._lookup)
        return evaluator

    def _lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        return self._namers.flat_map(lambda generation: generation.lookup(path))


def _dtab(stored: Versioned | None) -> Dtab:
    return Dtab() if stored is None else stored.dtab


class SettledName(Source[Settled]):
    """A tree that is held back until its client names are resolved."""

    __slots__ = ("_settling", "_tree", "_watch")

    def __init__(self, tree: Live[NameTree[Bound]]) -> None:
        super().__init__()
        self._tree = tree
        self._settling: _Settling | None = None
        self._watch: Watch | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is another tree than the one that is told, whose client names are not all resolved yet."""
        return self._settling is not None and self._settling.waiting and not isinstance(self.state, Pending)

    def _open(self) -> None:
        self._settling = _Settling(self)
        self._watch = self._tree.observe(self._settling.take)

    def _shut(self) -> None:
        settling, self._settling = self._settling, None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        if settling is not None:
            settling.close()


class _Settling:
    """Holds a tree back until its client names are resolved; what their addresses do afterwards is no news here."""

    def __init__(self, source: Source[Settled]) -> None:
        self.waiting = False
        self._source = source
        self._watches: list[Watch] = []
        self._turn = object()

    def take(self, state: State[NameTree[Bound]]) -> None:
        """Take in the tree's next state."""
        former, self._watches = self._watches, []
        self._turn = turn = object()
        self.waiting = not isinstance(state, Failed)
        if isinstance(state, Ok):
            try:
                self._wait(state.value, turn)
            except RecursionError:
                self.waiting = False
                self._source.fail(BindingError("the tree is too deep to show"))
        elif isinstance(state, Pending):
            # A former tree stays: whoever was told it goes on with it.
            if not isinstance(self._source.state, Ok):
                self._source.forget()
        else:
            self._source.fail(state.error)
        for watch in former:
            watch.close()

    def close(self) -> None:
        """Wait for nothing any more."""
        self._turn = object()
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.close()

    def _wait(self, tree: NameTree[Bound], turn: object) -> None:
        states: dict[Path, State[Addresses]] = {}
        leaves = {bound.id: bound for bound in tree.leaves()}
        watches: list[Watch] = []

        def note(client: Path) -> Callable[[State[Addresses]], None]:
            def look(state: State[Addresses]) -> None:
                if self._turn is not turn or isinstance(state, Pending):
                    return
                states[client] = state
                if len(states) == len(leaves):
                    self._turn = object()
                    self.waiting = False
                    self._source.set(Settled(tree, dict(states)))
                    for watch in watches:
                        watch.close()

            return look

        if not leaves:
            self.waiting = False
            self._source.set(Settled(tree, {}))
            return
        for bound in leaves.values():
            watches.append(bound.addresses.observe(note(bound.id)))
        if self._turn is turn:
            self._watches = watches
        else:
            for watch in watches:
                watch.close()


def remote(addresses: Live[Addresses]) -> Live[Resolved]:
    """Give what others may know: a status that an engine answers with itself is nothing to them."""
    return Live.join([addresses]).flat_map(_known)


def _known(states: tuple[State[Addresses], ...]) -> Live[Resolved]:
    match states[0]:
        case Ok(LocalStatus()):
            return _NOWHERE
        case Ok() | Failed() as state:
            return Live.ok(state)
    return Live()


def choose(tree: NameTree[Bound]) -> Bound | None:
    """Give one client name of a bound tree, by the weights of its unions; `None` if there is none."""
    node: NameTree[Bound] = tree.simplified
    while True:
        match node:
            case Leaf(value=Bound() as bound):
                return bound
            case Union(branches) if branches:
                weights = [branch.weight for branch in branches]
                # Weights that are all zero share evenly, as the reference does.
                node = random.choices(branches, weights if any(weights) else None)[0].tree  # noqa: S311 - no secret
            case Alt(trees) if trees:
                node = trees[0]
            case _:
                return None
