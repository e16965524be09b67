"""The state machine of a canary release, on times and counts that are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import Dtab, NameTree, Path
from biandou.namerd.canary import (
    Canary,
    Counts,
    Plan,
    Status,
    abort,
    begin,
    changed,
    dtab_at,
    foreign,
    judge,
    pause,
    promote,
    resume,
)

WEB = Path.read("/svc/web")
OLD, NEW = NameTree.read("/host/web-1"), NameTree.read("/host/web-2")
BEFORE = Dtab.read("/svc=>/host ; /svc/web=>/host/web-1 ; /svc/web/deep=>/x ; /host=>/#/io.l5d.fs")
GOOD = Counts(100, 0, 10.0)


def plan(**keys: object) -> Plan:
    return Plan(WEB, OLD, NEW, **{"min_requests": 20, **keys})  # type: ignore[arg-type]  # the keys are the test's own


def at_first_step(**keys: object) -> Canary:
    return changed(begin(plan(**keys), BEFORE, 0.0), 0.0)


def test_good_counts_take_every_step_at_its_interval_and_promote() -> None:
    canary = at_first_step()
    seen = []
    now = 0.0
    while canary.status is Status.RUNNING:
        seen.append(canary.weight)
        assert judge(canary, GOOD, GOOD, now + 29.9).wanted == canary.weight, "not before the interval is over"
        now += 30
        canary = changed(judge(canary, GOOD, GOOD, now), now)
    assert seen == [1, 5, 25, 50, 100]
    assert (canary.status, canary.weight) == (Status.PROMOTED, 100)


def test_errors_roll_it_back_before_the_interval_is_over_and_say_how_many() -> None:
    canary = judge(at_first_step(), GOOD, Counts(50, 5, 10.0), 1.0)
    assert (canary.status, canary.wanted) == (Status.ROLLED_BACK, 0)
    assert canary.reason == "10% of 50 requests failed, more than 1% (before: 0% of 100)"


def test_a_slow_version_is_rolled_back_when_the_interval_is_over() -> None:
    slow = Counts(100, 0, 12.1)
    assert judge(at_first_step(), GOOD, slow, 1.0).status is Status.RUNNING
    canary = judge(at_first_step(), GOOD, slow, 30.0)
    assert canary.status is Status.ROLLED_BACK
    assert canary.reason == "the 99th percentile is 12.1 ms against 10 ms, 1.21 times and more than 1.2 times"
    assert judge(at_first_step(max_p99_ratio=None), GOOD, slow, 30.0).wanted == 5


def test_too_few_requests_hold_the_step_and_say_so() -> None:
    canary = judge(at_first_step(), GOOD, Counts(19, 19), 1000.0)
    assert (canary.status, canary.wanted) == (Status.RUNNING, 1)
    assert canary.reason == "step 1 of 5 is held: 19 of 20 requests to judge by"


def test_what_is_not_in_the_dtab_yet_is_not_judged() -> None:
    canary = begin(plan(), BEFORE, 0.0)
    assert judge(canary, GOOD, Counts(100, 100), 60.0) == canary


def test_the_dtab_changes_in_the_entry_of_the_path_only() -> None:
    canary = begin(plan(), BEFORE, 0.0)
    rest = "/svc/web/deep=>/x;/host=>/#/io.l5d.fs"
    for weight, entry in ((5, "95.0 * /host/web-1 & 5.0 * /host/web-2"), (100, "/host/web-2")):
        wanted = Dtab.read(f"/svc=>/host;/svc/web=>{entry};{rest}")
        assert dtab_at(canary, weight) == wanted
        assert Dtab.read(str(dtab_at(canary, weight))) == wanted
    assert dtab_at(canary, 0) is BEFORE


def test_without_an_entry_for_the_path_there_is_a_new_last_one() -> None:
    canary = begin(plan(), Dtab.read("/svc=>/host"), 0.0)
    assert dtab_at(canary, 100) == Dtab.read("/svc=>/host;/svc/web=>/host/web-2")


def test_a_paused_one_is_not_judged_and_begins_its_step_anew_when_resumed() -> None:
    paused = pause(at_first_step(), "by ann")
    assert judge(paused, GOOD, Counts(100, 100), 60.0) == paused
    again = resume(paused, 60.0)
    assert judge(again, GOOD, GOOD, 89.9).wanted == 1
    assert judge(again, GOOD, GOOD, 90.0).wanted == 5


def test_abort_and_promote_end_it_for_good() -> None:
    for over, weight in ((abort(at_first_step(), "by ann"), 0), (promote(at_first_step(), "by ann"), 100)):
        assert over.wanted == weight
        for act in (abort, promote, pause):
            with pytest.raises(ValueError, match="is over"):
                act(over, "again")


def test_a_dtab_that_somebody_changed_is_left_alone() -> None:
    canary = foreign(judge(at_first_step(), GOOD, GOOD, 30.0))
    assert (canary.status, canary.wanted, canary.weight) == (Status.PAUSED, 1, 1)


@pytest.mark.parametrize(
    "keys", [{"steps": ()}, {"steps": (5, 1, 100)}, {"steps": (0, 100)}, {"steps": (50,)}, {"steps": (101,)},
             {"interval": 0.0}, {"interval": float("nan")}, {"max_error_rate": 1.1}, {"max_p99_ratio": 0.0},
             {"min_requests": 0}]
)  # fmt: skip
def test_a_plan_without_sense_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        plan(**keys)


counts = st.builds(
    lambda requests, share, p99: Counts(requests, int(requests * share), p99),
    st.integers(0, 1000),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e6),
)


@given(st.lists(st.tuples(st.floats(0, 100), counts, counts), max_size=40))
def test_whatever_is_counted_a_weight_is_a_step_and_errors_never_move_on(
    ticks: list[tuple[float, Counts, Counts]],
) -> None:
    canary, now = at_first_step(), 0.0
    for seconds, old, new in ticks:
        now += seconds
        following = judge(canary, old, new, now)
        if following.step > canary.step or (following.status is Status.PROMOTED and not canary.status.over):
            assert new.requests >= 20
            assert new.failures <= new.requests * 0.01
            assert following.step <= canary.step + 1
        if following.status is Status.ROLLED_BACK:
            assert following.wanted == 0
            assert following.reason
        else:
            assert following.wanted == following.percent
        assert following == canary or not canary.status.over
        canary = changed(following, now) if following.wanted != following.weight else following
