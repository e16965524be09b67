from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.live import PENDING, Failed, Live, Ok, Source, State, Watch

ERROR = ValueError("the source is down")


class Followed(Source[int]):
    """A source that counts how often it was opened and shut."""

    def __init__(self, value: int | None = None) -> None:
        super().__init__(PENDING, self.follow)
        self.opened = 0
        self.shut = 0
        self.value = value

    def follow(self, source: Source[int]) -> Callable[[], None]:
        self.opened += 1
        if self.value is not None:
            source.set(self.value)

        def unfollow() -> None:
            self.shut += 1

        return unfollow


def watch(live: Live[Any]) -> tuple[list[State[Any]], Watch]:
    seen: list[State[Any]] = []
    return seen, live.observe(seen.append)


def test_an_observer_is_told_the_present_state_and_each_change_once() -> None:
    source: Source[int] = Source()
    seen, _ = watch(source)
    source.set(1)
    source.set(1)
    source.fail(ERROR)
    source.fail(ERROR)
    source.forget()
    assert seen == [PENDING, Ok(1), Failed(ERROR), PENDING]


def test_a_closed_watch_is_told_nothing_more_and_may_be_closed_again() -> None:
    source: Source[int] = Source()
    seen, observation = watch(source)
    observation.close()
    observation.close()
    source.set(1)
    assert seen == [PENDING]
    assert not source.observed


def test_the_source_opens_with_the_first_observer_and_shuts_with_the_last() -> None:
    source = Followed(7)
    first, one = watch(source)
    second, two = watch(source)
    assert (first, second) == ([Ok(7)], [Ok(7)])
    one.close()
    assert (source.opened, source.shut) == (1, 0)
    two.close()
    assert (source.opened, source.shut) == (1, 1)
    assert source.sample() == Ok(7)
    assert (source.opened, source.shut) == (2, 2)


def test_a_source_that_cannot_open_is_left_unobserved() -> None:
    def follow(source: Source[int]) -> Callable[[], None]:
        raise ERROR

    source: Source[int] = Source(PENDING, follow)
    with pytest.raises(ValueError, match="down"):
        watch(source)
    assert not source.observed


def test_an_observer_that_raises_at_once_leaves_nothing_open() -> None:
    source = Followed(7)

    def refuse(state: State[int]) -> None:
        raise ERROR

    with pytest.raises(ValueError, match="down"):
        source.observe(refuse)
    assert not source.observed
    assert (source.opened, source.shut) == (1, 1)


def test_an_observer_that_raises_later_keeps_nothing_from_the_others() -> None:
    source: Source[int] = Source()

    def refuse(state: State[int]) -> None:
        if state == Ok(1):
            raise ERROR

    source.observe(refuse)
    seen, _ = watch(source)
    with pytest.raises(ValueError, match="down"):
        source.set(1)
    assert seen == [PENDING, Ok(1)]


def test_a_change_made_by_an_observer_reaches_everybody_last() -> None:
    source: Source[int] = Source()

    def correct(state: State[int]) -> None:
        if state == Ok(1):
            source.set(2)

    source.observe(correct)
    seen, _ = watch(source)
    source.set(1)
    assert seen == [PENDING, Ok(2)]


def test_an_observer_that_leaves_while_others_are_told_is_not_told() -> None:
    source: Source[int] = Source()
    watches: list[Watch] = []
    source.observe(lambda state: watches[0].close() if watches else None)
    seen, leaving = watch(source)
    watches.append(leaving)
    source.set(1)
    assert seen == [PENDING]


def test_constants_are_known_at_once() -> None:
    assert Live.ok(1).sample() == Ok(1)
    assert Live.failed(ERROR).sample() == Failed(ERROR)
    assert Live[int]().sample() is PENDING
    assert repr(PENDING) == "Pending"


def test_map_gives_the_function_of_each_value() -> None:
    source: Source[int] = Source()
    seen, observation = watch(source.map(lambda value: 10 // value))
    for value in (1, 5, 0):
        source.set(value)
    source.forget()
    assert seen[:3] == [PENDING, Ok(10), Ok(2)]
    assert isinstance(seen[3], Failed)
    assert isinstance(seen[3].error, ZeroDivisionError)
    assert seen[4] is PENDING
    observation.close()
    assert not source.observed


def test_an_observers_error_is_not_taken_for_the_functions() -> None:
    source: Source[int] = Source()
    mapped = source.map(lambda value: value)

    def refuse(state: State[int]) -> None:
        if state == Ok(1):
            raise ERROR

    mapped.observe(refuse)
    seen, _ = watch(mapped)
    with pytest.raises(ValueError, match="down"):
        source.set(1)
    assert seen == [PENDING, Ok(1)]


def test_flat_map_follows_the_live_of_the_latest_value() -> None:
    outer: Source[int] = Source()
    inners: list[Source[str]] = [Source(Ok("a")), Source(Ok("b"))]
    seen, observation = watch(outer.flat_map(lambda index: inners[index]))
    outer.set(0)
    inners[0].set("aa")
    outer.set(1)
    inners[0].set("unseen")
    inners[1].fail(ERROR)
    outer.forget()
    assert seen == [PENDING, Ok("a"), Ok("aa"), Ok("b"), Failed(ERROR), PENDING]
    assert not any(inner.observed for inner in inners)
    outer.set(0)
    observation.close()
    assert not outer.observed
    assert not any(inner.observed for inner in inners)


def test_flat_map_keeps_open_what_two_values_share() -> None:
    outer: Source[int] = Source(Ok(1))
    inner = Followed(7)
    _, observation = watch(outer.flat_map(lambda index: inner))
    outer.set(2)
    assert (inner.opened, inner.shut) == (1, 0)
    observation.close()
    assert (inner.opened, inner.shut) == (1, 1)


def test_flat_map_fails_with_its_function() -> None:
    def refuse(value: int) -> Live[int]:
        raise ERROR

    outer: Source[int] = Source(Ok(1))
    assert outer.flat_map(refuse).sample() == Failed(ERROR)


def test_flat_map_closes_an_inner_value_that_ends_the_observation() -> None:
    outer: Source[int] = Source()
    inner: Source[int] = Source(Ok(7))
    observations: list[Watch] = []

    def leave(state: State[int]) -> None:
        if state == Ok(7):
            observations[0].close()

    observations.append(outer.flat_map(lambda index: inner).observe(leave))
    outer.set(1)
    assert not inner.observed
    assert not outer.observed


def test_flat_map_ends_at_the_newest_value_when_an_observer_changes_it() -> None:
    outer: Source[int] = Source(Ok(0))
    inners: list[Source[str]] = [Source(Ok(name)) for name in "abc"]
    flat = outer.flat_map(lambda index: inners[index])

    def hurry(state: State[str]) -> None:
        if state == Ok("b"):
            outer.set(2)

    observation = flat.observe(hurry)
    seen, other = watch(flat)
    outer.set(1)
    assert seen == [Ok("a"), Ok("c")]
    assert [inner.observed for inner in inners] == [False, False, True]
    inners[1].set("late")
    assert seen[-1] == Ok("c")
    observation.close()
    other.close()
    assert not outer.observed
    assert not any(inner.observed for inner in inners)


def test_stabilize_keeps_the_last_good_value() -> None:
    source: Source[int] = Source()
    seen, _ = watch(source.stabilize())
    source.fail(ERROR)
    source.set(1)
    source.fail(ERROR)
    source.forget()
    source.set(2)
    assert seen == [PENDING, Failed(ERROR), Ok(1), Ok(2)]


def test_join_gives_the_states_of_all_parts() -> None:
    parts: list[Source[int]] = [Source(), Source(Ok(2))]
    seen, observation = watch(Live.join(parts))
    parts[0].fail(ERROR)
    parts[1].forget()
    assert seen == [Ok((PENDING, Ok(2))), Ok((Failed(ERROR), Ok(2))), Ok((Failed(ERROR), PENDING))]
    observation.close()
    assert not any(part.observed for part in parts)
    assert Live.join(()).sample() == Ok(())


def test_join_leaves_nothing_open_when_a_part_cannot_open() -> None:
    def follow(source: Source[int]) -> Callable[[], None]:
        raise ERROR

    good: Source[int] = Source(Ok(1))
    with pytest.raises(ValueError, match="down"):
        watch(Live.join((good, Source(PENDING, follow))))
    assert not good.observed


def test_a_derived_value_is_fresh_when_it_is_observed_again() -> None:
    source: Source[int] = Source(Ok(1))
    lives: list[Live[Any]] = [
        source.map(str),
        source.flat_map(lambda value: Live.ok(str(value))),
        Live.join((source.map(str),)).map(lambda states: states[0].value if isinstance(states[0], Ok) else ""),
    ]
    for live in lives:
        source.set(1)
        assert live.sample() == Ok("1")
        source.set(2)
        seen, observation = watch(live)
        assert seen == [Ok("2")]
        observation.close()


values = st.one_of(st.none(), st.just(ERROR), st.integers(0, 2))


@given(st.lists(st.tuples(st.integers(0, 2), values), max_size=20))
def test_a_chain_ends_where_its_sources_are(history: list[tuple[int, Any]]) -> None:
    """After any changes a chain shows what a new observer of it would see, and at the end all is shut."""
    sources: list[Source[int]] = [Source(), Source(), Source()]

    def chain() -> Live[Any]:
        chosen = sources[0].flat_map(lambda index: sources[index].map(lambda value: value + 1))
        return Live.join((chosen, sources[1].stabilize())).map(lambda states: states[0])

    seen, observation = watch(chain())
    for index, value in history:
        if value is None:
            sources[index].forget()
        elif isinstance(value, Exception):
            sources[index].fail(value)
        else:
            sources[index].set(value)
        assert seen[-1] == chain().sample()
        assert all(one != other for one, other in pairwise(seen))
    observation.close()
    assert not any(source.observed for source in sources)
