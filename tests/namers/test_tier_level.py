"""How much a tier may take: never more than its health allows, and no flapping, whatever health does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.namers.tier_level import (
    FULL,
    MAX_PATIENCE,
    PEAK_SECONDS,
    Amount,
    Judgement,
    TierLevel,
    divide,
    read_amount,
)

AMOUNTS = st.one_of(
    st.integers(1, 12).map(lambda count: Amount(count=count)),
    st.integers(1, 20).map(lambda part: Amount(share=part / 20)),
)
JUDGEMENTS = st.builds(
    Judgement,
    least=AMOUNTS,
    restore=AMOUNTS,
    spill_over=st.none() | st.integers(1, 20).map(lambda part: part / 20),
    restore_after=st.sampled_from([0.0, 1.0, 30.0]),
    expected=st.none() | st.integers(1, 20),
)
STEPS = st.lists(st.tuples(st.floats(0.01, 100.0), st.integers(0, 20), st.integers(0, 5)), min_size=1, max_size=60)


def history(judgement: Judgement, steps: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """Live through changes of health, waking up when due; gives time, level, and what health allows at each moment."""
    level = TierLevel(judgement)
    now, known, healthy = 0.0, 0, 0
    told = []

    def judge() -> None:
        level.judge(known, healthy, now)
        assert level.level is not None
        told.append((now, level.level, level._allowed(healthy)))

    for wait, there, ejected in steps:
        end = now + wait
        while level.due is not None and level.due <= end:
            now = level.due
            judge()
        now, known, healthy = end, there, max(0, there - ejected)
        judge()
    return told


@given(JUDGEMENTS, STEPS)
def test_a_tier_never_takes_more_than_its_health_allows(
    judgement: Judgement, steps: list[tuple[float, int, int]]
) -> None:
    for _, level, allowed in history(judgement, steps):
        assert 0 <= level <= allowed <= FULL


@given(JUDGEMENTS, STEPS)
def test_a_rise_comes_only_after_health_was_better_all_the_while(
    judgement: Judgement, steps: list[tuple[float, int, int]]
) -> None:
    told = history(judgement, steps)
    for index in range(1, len(told)):
        now, level, _ = told[index]
        before = told[index - 1][1]
        if level > before:
            lately = [one for one in told[:index] if one[0] > now - judgement.restore_after]
            assert all(allowed >= level for _, _, allowed in lately)
            assert all(former <= level for _, former, _ in lately)


@given(JUDGEMENTS, STEPS)
def test_two_rises_are_apart_and_so_it_cannot_flap(judgement: Judgement, steps: list[tuple[float, int, int]]) -> None:
    told = history(judgement, steps)
    rises = [told[i][0] for i in range(1, len(told)) if told[i][1] > told[i - 1][1]]
    assert all(later - earlier >= judgement.restore_after for earlier, later in pairwise(rises))


@given(JUDGEMENTS, STEPS, st.integers(0, 20))
def test_what_stays_as_it_is_comes_to_what_its_health_allows(
    judgement: Judgement, steps: list[tuple[float, int, int]], there: int
) -> None:
    calm = [(MAX_PATIENCE * judgement.restore_after + 1.0, there, 0)] * 4
    _, level, allowed = history(judgement, [*steps, *calm])[-1]
    assert level == allowed


def test_below_the_least_it_takes_nothing_and_comes_back_late() -> None:
    level = TierLevel(Judgement(least=Amount(count=2), restore=Amount(count=3), restore_after=10.0))
    assert level.judge(4, 4, 0.0)
    assert level.level == FULL
    assert not level.judge(2, 2, 1.0)
    assert level.judge(1, 1, 2.0)
    assert level.level == 0
    level.judge(2, 2, 3.0)
    assert (level.level, level.due) == (0, None), "two are enough to stay, and three are needed to come back"
    level.judge(3, 3, 4.0)
    assert (level.level, level.due) == (0, 14.0)
    level.judge(2, 2, 9.0)
    assert level.due is None
    level.judge(3, 3, 10.0)
    assert not level.judge(3, 3, 19.9)
    assert level.judge(3, 3, 20.0)
    assert level.level == FULL


def test_it_spills_over_in_proportion() -> None:
    level = TierLevel(Judgement(spill_over=0.7, restore_after=10.0))
    level.judge(10, 10, 0.0)
    for healthy, wanted in ((7, 20), (6, 17), (5, 14), (3, 8), (1, 2)):
        level.judge(10, healthy, 1.0)
        assert level.level == wanted
    level.judge(10, 0, 2.0)
    assert level.level == 0


def test_a_tier_that_falls_again_soon_waits_longer() -> None:
    level = TierLevel(Judgement(restore_after=10.0))
    now = 0.0
    level.judge(1, 1, now)
    waits = []
    for _ in range(6):
        level.judge(0, 0, now)
        level.judge(1, 1, now)
        assert level.due is not None
        waits.append(level.due - now)
        now = level.due
        level.judge(1, 1, now)
        assert level.level == FULL
        now += 1.0
    assert waits == [10.0, 20.0, 40.0, 80.0, 80.0, 80.0]
    now += 1000.0
    level.judge(0, 0, now)
    level.judge(1, 1, now)
    assert level.due == now + 10.0


def test_a_service_that_was_made_smaller_is_whole_again_after_a_while() -> None:
    level = TierLevel(Judgement(least=Amount(share=0.3), restore=Amount(share=0.3), spill_over=0.7, restore_after=0.0))
    level.judge(10, 10, 0.0)
    level.judge(5, 5, 1.0)
    assert level.level == 14
    level.judge(5, 5, PEAK_SECONDS + 1)
    level.judge(5, 5, 2 * PEAK_SECONDS + 1)
    assert level.level == FULL
    level.judge(1, 1, 2 * PEAK_SECONDS + 2)
    assert level.level == 0
    level.judge(1, 1, 9 * PEAK_SECONDS)
    assert level.level == 0, "what is left of a tier that is down is not all there should be"


@pytest.mark.parametrize(
    ("levels", "parts"),
    [([20, 20], [20, 0]), ([14, 20], [14, 6]), ([0, 20], [0, 20]), ([5, 3], [5, 3]), ([0, 0], [0, 0]), ([], [])],
)
def test_each_tier_takes_what_those_before_it_leave(levels: list[int], parts: list[int]) -> None:
    assert divide(levels) == parts


@given(st.lists(st.integers(0, FULL), max_size=5))
def test_everything_is_taken_if_it_may_be(levels: list[int]) -> None:
    assert sum(divide(levels)) == min(FULL, sum(levels))


def test_amounts() -> None:
    assert [read_amount("2").of(10), read_amount("30%").of(10), read_amount("30%").of(0)] == [2, 3, 1]
    assert [str(read_amount("2")), str(read_amount("30%"))] == ["2", "30%"]
    for text in ("", "0", "-1", "1.5", "101%", "%", "x", "0%", "²"):
        with pytest.raises(ValueError, match="endpoints"):
            read_amount(text)
