from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import NEG, Alt, Dentry, Dtab, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab import evaluation as module
from biandou.dtab.bound import Bound
from biandou.dtab.delegate import Answer, Ask, Outcome, evaluate
from biandou.dtab.evaluation import Evaluator, changed
from biandou.errors import DepthExceeded
from biandou.live import PENDING, Failed, Live, Ok, Source, State, Watch
from tests.dtab.namers import bound
from tests.dtab.strategies import dentries, dtabs, names, trees


class World:
    """A dtab and namers that a test can change, and an evaluator over them."""

    def __init__(self, dtab: str = "") -> None:
        self.base: Source[Dtab] = Source(Ok(Dtab.read(dtab)))
        self.sources: dict[Path, Source[NameTree[Path | Bound]]] = {}
        self.asked: list[str] = []
        self.evaluator = Evaluator(self.base, self.namer)

    def source(self, path: Path) -> Source[NameTree[Path | Bound]]:
        if path not in self.sources:
            tree: NameTree[Path | Bound] = bound(path) if path.segments[:1] == (b"#",) else NEG
            self.sources[path] = Source(Ok(tree))
        return self.sources[path]

    def namer(self, path: Path) -> Live[NameTree[Path | Bound]]:
        self.asked.append(str(path))
        assert not self.source(path).observed, "one observation for each path, whatever the number of names"
        return self.source(path)

    def from_scratch(self, path: Path, local: Dtab) -> State[NameTree[Bound]]:
        base = self.base.state
        if not isinstance(base, Ok):
            return base
        return evaluate(base.value, path, lambda asked: self.source(asked).state, local=local).state

    def bind(self, path: str, local: str = "") -> tuple[list[State[NameTree[Bound]]], Watch]:
        states: list[State[NameTree[Bound]]] = []
        return states, self.evaluator.bind(Path.read(path), Dtab.read(local)).observe(states.append)

    def observed(self) -> set[str]:
        return {str(path) for path, source in self.sources.items() if source.observed}


def leaf(path: str) -> Ok[Leaf[Bound]]:
    return Ok(bound(Path.read(path)))


def test_a_change_of_the_dtab_is_followed() -> None:
    world = World("/svc => /#/a")
    states, watch = world.bind("/svc/web")
    world.base.set(Dtab.read("/svc => /#/b"))
    assert states == [leaf("/#/a/web"), leaf("/#/b/web")]
    assert world.observed() == {"/#/b/web"}
    watch.close()
    assert world.observed() == set()
    assert not world.base.observed
    assert world.evaluator.names == 0


def test_a_change_of_a_namer_is_followed() -> None:
    world = World("/svc => /#/a")
    source = world.source(Path.read("/#/a/web"))
    source.forget()
    states, _watch = world.bind("/svc/web")
    source.set(Leaf(Path.read("/#/b")))
    source.fail(error := ValueError("gone"))
    source.set(NEG)
    assert states == [PENDING, leaf("/#/b"), Failed(error), Ok(NEG)]
    assert world.observed() == {"/#/a/web"}


def test_nothing_is_observed_before_the_first_name_is() -> None:
    world = World("/svc => /#/a")
    world.evaluator.bind(Path.read("/svc/web"))
    assert not world.base.observed
    assert world.asked == []


def test_equal_questions_share_one_evaluation_and_one_lookup() -> None:
    world = World("/svc => /#/a ; /other => /#/a")
    first = world.evaluator.bind(Path.read("/svc/web"))
    assert world.evaluator.bind(Path.read("/svc/web")) is first
    watches = [first.observe(lambda state: None) for _ in range(3)]
    watches.append(world.evaluator.bind(Path.read("/other/web")).observe(lambda state: None))
    assert world.asked == ["/#/a/web"]
    for watch in watches[:-1]:
        watch.close()
    assert world.observed() == {"/#/a/web"}
    watches[-1].close()
    assert world.observed() == set()


def test_a_name_nobody_holds_is_forgotten() -> None:
    world = World("/svc => /#/a")
    states, watch = world.bind("/svc/web")
    watch.close()
    gc.collect()
    assert len(world.evaluator._bound) == 0
    assert states == [leaf("/#/a/web")]


def test_a_local_dtab_overrides_the_base_for_its_name_only() -> None:
    world = World("/svc => /#/a")
    plain, _ = world.bind("/svc/web")
    local, _ = world.bind("/svc/web", "/svc => /#/b")
    world.base.set(Dtab.read("/svc => /#/c"))
    assert plain == [leaf("/#/a/web"), leaf("/#/c/web")]
    assert local == [leaf("/#/b/web")]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    evaluated: list[str] = []

    def count(dtab: Dtab, path: Path, ask: Ask, *, local: Dtab) -> Outcome:
        evaluated.append(str(path))
        return evaluate(dtab, path, ask, local=local)

    monkeypatch.setattr(module, "evaluate", count)
    return evaluated


def test_a_change_evaluates_only_the_names_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = counted(monkeypatch)
    world = World("/svc => /host ; /host => /#/fs ; /host/b => /#/fs/b2")
    _held = [world.bind(f"/svc/{name}") for name in "abc"]
    assert evaluated == ["/svc/a", "/svc/b", "/svc/c"]
    evaluated.clear()

    world.base.set(Dtab.read("/svc => /host ; /host => /#/fs ; /host/b => /#/fs/b3"))
    assert evaluated == ["/svc/b"]
    evaluated.clear()

    world.source(Path.read("/#/fs/c")).set(NEG)
    assert evaluated == ["/svc/c"]
    evaluated.clear()

    world.base.set(Dtab.read("/other => /#/fs ; /svc => /host ; /host => /#/fs ; /host/b => /#/fs/b3"))
    assert evaluated == []

    world.base.set(Dtab.read("/other => /#/fs ; /svc => /host ; /host => /#/gs ; /host/b => /#/fs/b3"))
    assert evaluated == ["/svc/a", "/svc/b", "/svc/c"]


def test_a_branch_that_was_not_reached_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = counted(monkeypatch)
    world = World("/svc => /#/a | /b ; /b => /#/b")
    _held = world.bind("/svc")
    world.base.set(Dtab.read("/svc => /#/a | /b ; /b => /#/c"))
    assert evaluated == ["/svc"]
    assert world.asked == ["/#/a"]


def test_an_unknown_or_failed_dtab_leaves_every_name_so() -> None:
    world = World("/svc => /#/a")
    world.base.forget()
    states, _watch = world.bind("/svc")
    world.base.fail(error := ValueError("no dtab"))
    world.base.set(Dtab.read("/svc => /#/a"))
    world.base.forget()
    assert states == [PENDING, Failed(error), leaf("/#/a"), PENDING]
    assert world.observed() == set()


def test_a_namer_that_raises_is_a_namer_that_failed() -> None:
    error = ValueError("no such namer")

    def refuse(path: Path) -> Live[NameTree[Path | Bound]]:
        raise error

    evaluator = Evaluator(Source(Ok(Dtab.read("/a => /b & /#/c"))), refuse)
    assert evaluator.bind(Path.of("a")).sample() == Failed(error)
    assert evaluator.names == 0


def test_a_name_too_deep_fails_and_recovers() -> None:
    world = World("/a => /a")
    states, _watch = world.bind("/a")
    assert isinstance(states[0], Failed)
    assert isinstance(states[0].error, DepthExceeded)
    world.base.set(Dtab.read("/a => /#/a"))
    assert states[1:] == [leaf("/#/a")]


def test_explanations_follow_changes_too() -> None:
    world = World("/svc => /#/a")
    source = world.source(Path.read("/#/a"))
    source.forget()
    states: list[Any] = []
    watch = world.evaluator.explain(Path.of("svc")).observe(states.append)
    source.set(NEG)
    assert states[0] is PENDING
    assert str(states[1].value.tree.path) == "/#/a"
    watch.close()
    assert world.observed() == set()


def test_observers_may_bind_close_and_change_while_they_are_told() -> None:
    world = World("/svc => /#/a ; /other => /#/o")
    other, other_watch = world.bind("/other")
    seen: list[State[NameTree[Bound]]] = []
    nested: list[tuple[list[State[NameTree[Bound]]], Watch]] = []

    def meddle(state: State[NameTree[Bound]]) -> None:
        seen.append(state)
        if len(seen) == 2:
            other_watch.close()
            nested.append(world.bind("/new", "/new => /#/b"))
            world.base.set(Dtab.read("/svc => /#/c ; /other => /#/p"))

    watch = world.evaluator.bind(Path.of("svc")).observe(meddle)
    world.base.set(Dtab.read("/svc => /#/b ; /other => /#/q"))
    assert seen == [leaf("/#/a"), leaf("/#/b"), leaf("/#/c")]
    assert nested[0][0] == [leaf("/#/b")]
    assert leaf("/#/p") not in other
    assert world.observed() == {"/#/b", "/#/c"}
    nested[0][1].close()
    watch.close()
    assert world.observed() == set()


def test_a_namer_that_changes_another_while_it_opens_is_taken_in() -> None:
    world = World("/svc => /#/a & /#/b")
    first = world.source(Path.read("/#/a"))
    first.forget()

    def open_second(source: Source[NameTree[Path | Bound]]) -> Any:
        first.set(bound(Path.read("/#/a")))
        source.set(bound(Path.read("/#/b")))
        return lambda: None

    world.sources[Path.read("/#/b")] = Source(PENDING, open_second)
    states, _watch = world.bind("/svc")
    union = Union((Weighted(1.0, bound(Path.read("/#/a"))), Weighted(1.0, bound(Path.read("/#/b")))))
    assert states[-1] == Ok(union)


def test_one_observer_that_raises_does_not_keep_the_change_from_the_others() -> None:
    world = World("/a => /#/a ; /b => /#/a")

    def bad(state: State[NameTree[Bound]]) -> None:
        if state != leaf("/#/a"):
            raise RuntimeError("observer's mistake")

    _bad = world.evaluator.bind(Path.of("a")).observe(bad)
    states, _watch = world.bind("/b")
    with pytest.raises(RuntimeError, match="mistake"):
        world.base.set(Dtab.read("/a => /#/c ; /b => /#/c"))
    assert states == [leaf("/#/a"), leaf("/#/c")]


def test_a_moved_entry_counts_as_one_change() -> None:
    one, two, three = (Dentry.read(f"/{name} => /x") for name in "abc")
    assert changed(Dtab([one, two, three]), Dtab([three, one, two])) == [three]
    assert changed(Dtab([one, two]), Dtab([one, two])) == []
    assert changed(Dtab([one, one]), Dtab([one])) == [one]
    assert set(changed(Dtab([one]), Dtab([two]))) == {one, two}


@given(dtabs, dtabs, names)
def test_what_no_changed_entry_matches_goes_where_it_went(before: Dtab, after: Dtab, path: Path) -> None:
    if not Dtab(changed(before, after)).matches(path):
        assert before.lookup(path) == after.lookup(path)


def plain(state: State[NameTree[Bound]]) -> object:
    """Give a state that compares by content: no two errors are equal."""
    return (type(state.error), str(state.error)) if isinstance(state, Failed) else state


answers: st.SearchStrategy[Answer] = st.one_of(
    st.sampled_from([PENDING, Failed(RuntimeError("down")), Ok(NEG)]),
    names.map(lambda path: Ok(bound(path))),
    trees.map(Ok),
)


@st.composite
def edited(draw: st.DrawFn) -> Any:
    """Give a way to edit a dtab: to take one entry out, put one in, or put one elsewhere."""
    dentry, position, other = draw(dentries), draw(st.integers(0, 6)), draw(st.integers(0, 6))
    way = draw(st.sampled_from(["add", "remove", "move", "replace"]))

    def edit(dtab: Dtab) -> Dtab:
        entries = list(dtab)
        if way != "add" and entries:
            taken = entries.pop(position % len(entries))
            if way == "move":
                entries.insert(other, taken)
        if way in ("add", "replace"):
            entries.insert(other, dentry)
        return Dtab(entries)

    return ("edit", edit)


steps = st.one_of(
    edited(),
    edited(),
    dtabs.map(lambda dtab: ("dtab", Ok(dtab))),
    st.sampled_from([PENDING, Failed(RuntimeError("no dtab"))]).map(lambda state: ("dtab", state)),
    st.tuples(st.just("namer"), names, answers),
    st.tuples(st.just("namer"), names, answers),
    st.tuples(st.just("bind"), names, st.one_of(st.just(Dtab()), dtabs)),
    st.tuples(st.just("bind"), names, st.one_of(st.just(Dtab()), dtabs)),
    st.tuples(st.just("close"), st.integers(0, 10)),
)


def say(source: Source[Any], state: State[Any]) -> None:
    if isinstance(state, Ok):
        source.set(state.value)
    elif isinstance(state, Failed):
        source.fail(state.error)
    else:
        source.forget()


@given(dtabs, st.lists(steps, min_size=3, max_size=15))
def test_after_any_changes_every_name_is_where_a_new_evaluation_puts_it(dtab: Dtab, history: list[Any]) -> None:
    world = World()
    world.base.set(dtab)
    held: list[tuple[Path, Dtab, list[State[NameTree[Bound]]], Watch]] = []
    for step in history:
        if step[0] == "edit":
            if isinstance(world.base.state, Ok):
                world.base.set(step[1](world.base.state.value))
        elif step[0] == "dtab":
            say(world.base, step[1])
        elif step[0] == "namer":
            say(world.source(step[1]), step[2])
        elif step[0] == "bind":
            states: list[State[NameTree[Bound]]] = []
            held.append((step[1], step[2], states, world.evaluator.bind(step[1], step[2]).observe(states.append)))
        elif held:
            held.pop(step[1] % len(held))[3].close()
        for path, local, states, _watch in held:
            assert plain(states[-1]) == plain(world.from_scratch(path, local))
    for *_rest, watch in held:
        watch.close()
    assert world.evaluator.names == 0
    assert world.observed() == set()
    assert not world.base.observed


def test_alternatives_wait_for_the_first_branch() -> None:
    world = World("/svc => /#/a | /#/b")
    first = world.source(Path.read("/#/a"))
    first.forget()
    states, _watch = world.bind("/svc")
    assert world.observed() == {"/#/a"}
    first.set(Alt((NEG, NEG)))
    assert states == [PENDING, leaf("/#/b")]
    assert world.observed() == {"/#/a", "/#/b"}
