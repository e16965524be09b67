"""Delegation that stays true: names bound as `Live` values over a dtab and namers that change.

A change of the dtab evaluates again only the names that looked up a path which a changed entry matches; a change of a
namer only those that asked for that path. However many names ask for a path, its namer is observed once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from biandou.dtab.bound import Bound
from biandou.dtab.delegate import NO_DTAB, Answer, Outcome, evaluate
from biandou.dtab.explain import Delegation, Explanation, explain
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, Dtab
from biandou.dtab.tree import NameTree
from biandou.few import Few, with_member, without_member
from biandou.live import PENDING, Failed, Live, Ok, State, Watch

T = TypeVar("T")

Namer = Callable[[Path], Live[NameTree[Path | Bound]]]
"""What is asked for a path that no dentry matches; an exception from it is the answer `Failed`."""


class Evaluator:
    """Binds names through `base` and the namers; nothing is observed while no name is."""

    def __init__(self, base: Live[Dtab], namer: Namer) -> None:
        self._base = base
        self._namer = namer
        self._dtab: State[Dtab] = PENDING
        self._watch: Watch | None = None
        self._bound: WeakValueDictionary[tuple[Path, Dtab], _Name[NameTree[Bound]]] = WeakValueDictionary()
        self._active: dict[_Name[Any], None] = {}
        self._answers: dict[Path, _Answer] = {}
        self._stale: dict[_Name[Any], None] = {}
        self._settling = False

    @property
    def names(self) -> int:
        """How many names are observed now."""
        return len(self._active)

    def bind(self, path: Path, local: Dtab = NO_DTAB) -> Live[NameTree[Bound]]:
        """Give what `path` comes to through the base dtab + `local`; the same question gives the same `Live`."""
        name = self._bound.get((path, local))
        if name is None:
            name = self._bound[path, local] = _Name(self, path, local, evaluate)
        return name

    def explain(self, path: Path, local: Dtab = NO_DTAB) -> Live[Delegation]:
        """Give the whole delegation of `path`, pending until every namer on the way has answered."""
        return _Name(self, path, local, explain)

    def _begin(self, name: _Name[Any]) -> None:
        settling, self._settling = self._settling, True
        try:
            if not self._active:
                self._watch = self._base.observe(self._dtab_changed)
            self._active[name] = None
            self._evaluate(name)
        finally:
            self._settling = settling
        self._settle()

    def _end(self, name: _Name[Any]) -> None:
        self._active.pop(name, None)
        self._stale.pop(name, None)
        asked, name.asked = name.asked, ()
        self._release(name, asked)
        if not self._active and self._watch is not None:
            watch, self._watch = self._watch, None
            watch.close()

    def _dtab_changed(self, state: State[Dtab]) -> None:
        former, self._dtab = self._dtab, state
        if isinstance(former, Ok) and isinstance(state, Ok):
            touched = Dtab(changed(former.value, state.value))
            for name in self._active:
                if any(map(touched.matches, name.paths)):
                    self._stale[name] = None
        else:
            self._stale.update(self._active)
        self._settle()

    def _answer_changed(self, answer: _Answer) -> None:
        for name in tuple(answer.names):
            if name is not answer.opener:
                self._stale[name] = None
        self._settle()

    def _settle(self) -> None:
        """Evaluate what is stale; changes that this leads to are taken in the same round."""
        if self._settling:
            return
        self._settling = True
        failure: Exception | None = None
        try:
            while self._stale:
                name = next(iter(self._stale))
                del self._stale[name]
                try:
                    self._evaluate(name)
                except Exception as error:
                    # An observer's mistake: the other names must still learn of the change.
                    failure = failure or error
        finally:
            self._settling = False
        if failure is not None:
            raise failure

    def _evaluate(self, name: _Name[Any]) -> None:
        former = name.asked
        asked: dict[Path, _Answer] = {}
        if isinstance(self._dtab, Ok):

            def ask(path: Path) -> Answer:
                answer = self._answers.get(path)
                if answer is None:
                    answer = self._answers[path] = _Answer(self, path)
                    answer.open(self._namer, name)
                answer.names = with_member(answer.names, name)
                asked[path] = answer
                return answer.state

            outcome = name.evaluate(self._dtab.value, name.path, ask, local=name.local)
            name.paths = tuple(outcome.paths)
            state = outcome.state
        else:
            name.paths = ()
            state = self._dtab
        if name not in self._active:
            self._release(name, asked.values())
            return
        name.asked = tuple(asked.values())
        # Released last, so that a namer which both evaluations need stays observed.
        self._release(name, [answer for answer in former if answer.path not in asked])
        name.publish(state)

    def _release(self, name: _Name[Any], answers: Iterable[_Answer]) -> None:
        for answer in answers:
            answer.names = without_member(answer.names, name)
            if not answer.names and self._answers.get(answer.path) is answer:
                del self._answers[answer.path]
                answer.close()


class _Answer:
    """A namer's answer for one path, shared by the names that asked."""

    __slots__ = ("_evaluator", "_watch", "names", "opener", "path", "state")

    def __init__(self, evaluator: Evaluator, path: Path) -> None:
        self._evaluator = evaluator
        self.path = path
        self._watch: Watch | None = None
        self.names: Few[_Name[Any]] = ()
        self.opener: _Name[Any] | None = None
        self.state: Answer = PENDING

    def open(self, namer: Namer, opener: _Name[Any]) -> None:
        # The opener sees the state when this returns; told of it as of a change, it would be evaluated twice.
        self.opener = opener
        self.names = (opener,)
        try:
            self._watch = namer(self.path).observe(self._changed)
        except Exception as error:
            self.state = Failed(error)
        finally:
            self.opener = None

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def _changed(self, state: Answer) -> None:
        if state != self.state:
            self.state = state
            self._evaluator._answer_changed(self)


class _Name(Live[T], Generic[T]):
    """One name, and what its last evaluation looked at."""

    __slots__ = ("_evaluator", "asked", "evaluate", "local", "path", "paths")

    def __init__(
        self, evaluator: Evaluator, path: Path, local: Dtab, evaluate: Callable[..., Outcome | Explanation]
    ) -> None:
        super().__init__()
        self._evaluator = evaluator
        self.path = path
        self.local = local
        self.evaluate = evaluate
        self.paths: tuple[Path, ...] = ()
        self.asked: tuple[_Answer, ...] = ()

    def publish(self, state: State[T]) -> None:
        self._publish(state)

    def _open(self) -> None:
        self._evaluator._begin(self)

    def _shut(self) -> None:
        self._evaluator._end(self)


def changed(before: Dtab, after: Dtab) -> list[Dentry]:
    """Give the entries that were added, removed or moved: what matches none of them, goes where it went.

    What stays is a longest run of entries that are in both tables in the same order, so one moved entry counts as one.
    """
    places: defaultdict[Dentry, list[int]] = defaultdict(list)
    for position in range(len(after) - 1, -1, -1):
        places[after.dentries[position]].append(position)
    gone: list[Dentry] = []
    paired: list[int] = []
    for dentry in before:
        positions = places.get(dentry)
        if positions:
            paired.append(positions.pop())
        else:
            gone.append(dentry)
    kept = _longest_rise(paired)
    return gone + [dentry for position, dentry in enumerate(after) if position not in kept]


def _longest_rise(numbers: list[int]) -> set[int]:
    """Give the members of a longest rising subsequence of distinct `numbers`."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        place = bisect_left(tails, number)
        before.append(ends[place - 1] if place else -1)
        if place == len(tails):
            tails.append(number)
            ends.append(index)
        else:
            tails[place] = number
            ends[place] = index
    rise: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        rise.add(numbers[index])
        index = before[index]
    return rise
