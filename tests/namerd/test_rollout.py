"""A dtab that some linkers try: who is chosen, what it is judged by, and how it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from biandou.dtab import Dtab
from biandou.errors import NamespaceMissing
from biandou.namerd.canary import Counts
from biandou.namerd.outcomes import Outcomes, between
from biandou.namerd.rollout import Phase, Rollout, Terms, abort, apply, choose, judge, tries
from biandou.namerd.rollout_state import RolloutStates, UnreadableRollout, namespaces_with_rollouts
from biandou.stores.in_memory import InMemoryStore
from biandou.stores.interface import Remark

NEW = Dtab.read("/svc=>/$/inet/127.0.0.1/2")
TOKENS = [f"{number:016x}" for number in range(1000)]
BEFORE = Counts(1000, 10)


def rollout(share: float = 0.05, phase: Phase = Phase.TRYING, before: Counts = BEFORE) -> Rollout:
    terms = Terms(share, 60.0, 0.01, 100)
    return Rollout("r1", NEW, b"7", terms, Remark("anna", "why"), phase, since=1000.0, below=9, before=before)


@pytest.mark.parametrize(("share", "linkers", "chosen"), [
    (0.05, 1000, 50), (0.05, 20, 1), (0.05, 3, 1), (0.5, 3, 2), (0.9, 3, 2), (0.9, 2, 1), (0.05, 1, 1), (0.5, 0, 0),
])  # fmt: skip
def test_a_share_of_the_linkers_is_chosen_one_at_least_and_not_all(share: float, linkers: int, chosen: int) -> None:
    found = choose(rollout(share), TOKENS[:linkers])
    assert sum(tries(found, token) for token in TOKENS[:linkers]) == chosen


def test_another_rollout_chooses_others() -> None:
    one, other = choose(rollout(), TOKENS), choose(replace(rollout(), name="r2"), TOKENS)
    assert {token for token in TOKENS if tries(one, token)} != {token for token in TOKENS if tries(other, token)}


def test_it_is_measured_first_then_tried() -> None:
    begun = rollout(phase=Phase.MEASURING)
    assert judge(begun, Counts(50, 1), Counts(), 1009.0) == begun
    tried = judge(begun, Counts(50, 1), Counts(), 1010.0)
    assert (tried.phase, tried.since, tried.before) == (Phase.TRYING, 1010.0, Counts(50, 1))


def test_it_is_withdrawn_when_more_fails_than_before_and_elsewhere() -> None:
    ended = judge(rollout(), Counts(200, 60), Counts(5000, 50), 1001.0)
    assert ended.phase is Phase.WITHDRAWN
    assert ended.reason == ("30% of 200 requests failed where it was tried (before: 1% of 1000; elsewhere: 1% of 5000)")


@pytest.mark.parametrize(
    ("chosen", "others", "before", "why"),
    [
        (Counts(99, 99), Counts(5000, 0), BEFORE, "too few requests to judge"),
        (Counts(200, 60), Counts(5000, 1500), BEFORE, "the others suffer as much"),
        (Counts(200, 60), Counts(5000, 0), Counts(1000, 300), "they suffered as much before"),
        (Counts(200, 3), Counts(5000, 50), BEFORE, "the rise is small"),
        (Counts(100, 4), Counts(5000, 100), Counts(1000, 20), "chance alone brings that"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_goes_on_if(chosen: Counts, others: Counts, before: Counts, why: str) -> None:
    assert why
    assert judge(rollout(before=before), chosen, others, 1001.0).phase is Phase.TRYING


def test_it_goes_to_all_when_its_time_is_over_and_it_was_used_enough() -> None:
    assert judge(rollout(), Counts(200, 0), Counts(), 1059.0).phase is Phase.TRYING
    assert judge(rollout(), Counts(200, 0), Counts(), 1060.0).phase is Phase.APPLYING
    held = judge(rollout(), Counts(3, 0), Counts(), 1060.0)
    assert (held.phase, held.reason) == (Phase.TRYING, "held: 3 of 100 requests to judge by")


def test_what_is_over_or_applied_can_not_be_aborted() -> None:
    assert abort(rollout(), "by anna").phase is Phase.ABORTED
    assert apply(rollout(), "by anna").phase is Phase.APPLYING
    for phase in (Phase.APPLYING, Phase.APPLIED, Phase.WITHDRAWN, Phase.ABORTED):
        with pytest.raises(ValueError, match=r"over|already"):
            abort(rollout(phase=phase), "by anna")


@pytest.mark.parametrize(
    "terms", [(0.0,), (1.0,), (0.1, 0.0), (0.1, 1e9), (0.1, 1.0, -0.1), (0.1, 1.0, 1.1), (0.1, 1.0, 0.1, 0)]
)
def test_terms_that_make_no_trial_are_refused(terms: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"percent|trial|request"):
        Terms(*terms)  # type: ignore[arg-type] # one of the cases has a float too many


# ── In the store ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_rollout_comes_back_from_the_store_as_it_was() -> None:
    store = InMemoryStore({})
    states = RolloutStates(store)
    assert states.now("default").rollout is None
    for phase in Phase:
        saved = await states.change("default", lambda _present, phase=phase: rollout(phase=phase))  # type: ignore[misc]
        assert states.now("default").rollout == saved
    state = store.namespaces().sample()
    assert namespaces_with_rollouts(getattr(state, "value", frozenset()) | {"~rollout~~lease", "x"}) == ["default"]


@pytest.mark.parametrize("text", ["", "/rollout=>/rollout", "/rollout=>/rollout/x", "/a=>/b;/c=>/d", "/rollout=>!"])
async def test_what_is_no_rollout_is_said_to_be_unreadable(text: str) -> None:
    states = RolloutStates(InMemoryStore({"~rollout~default": Dtab.read(text)}))
    with pytest.raises(UnreadableRollout):
        states.now("default")


async def test_what_the_change_refuses_changes_nothing() -> None:
    states = RolloutStates(InMemoryStore({}))

    def act(_present: Rollout | None) -> Rollout:
        raise NamespaceMissing("x")

    with pytest.raises(NamespaceMissing):
        await states.change("default", act)
    assert states.now("default").version is None


# ── What linkers report ──────────────────────────────────────────────────────────────────────────────────────────────


def served(process: str, requests: int, failures: int) -> bytes:
    return b'{"process":"%b","served":{"requests":%d,"failures":%d}}' % (process.encode(), requests, failures)


def test_only_what_comes_in_after_the_first_report_counts_and_nothing_twice() -> None:
    outcomes = Outcomes()
    outcomes.take("default", served("a/http", 5, 5))
    assert not outcomes.wants("default")
    outcomes.want("default")
    for requests, failures in ((100, 10), (100, 10), (150, 11), (3, 0), (5, 1)):
        outcomes.take("default", served("a/http", requests, failures))
    outcomes.take("default", served("a/other", 7, 0))
    outcomes.take("default", served("a/other", 8, 0))
    outcomes.take("default", b'{"process":"b/http"}')
    # The restart in the middle counts nothing, and nothing is negative.
    assert outcomes.sums("default") == {"a": Counts(53, 2)}
    assert between({"a": Counts(50, 1)}, outcomes.sums("default"), "a".__eq__) == Counts(3, 1)
    assert between({}, outcomes.sums("default"), "a".__ne__) == Counts()
    outcomes.leave("default")
    assert outcomes.sums("default") == {}


@pytest.mark.parametrize(
    "document",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"process":1,"served":{"requests":1,"failures":0}}',
        b'{"process":"a","served":1}',
        b'{"process":"a","served":{"requests":1}}',
        b'{"process":"a","served":{"requests":-1,"failures":0}}',
        b'{"process":"a","served":{"requests":1.5,"failures":0}}',
        b'{"process":"a","served":{"requests":true,"failures":0}}',
    ],
)
def test_what_is_no_report_is_refused(document: bytes) -> None:
    outcomes = Outcomes()
    outcomes.want("default")
    with pytest.raises(ValueError, match=r"report|count|Expecting"):
        outcomes.take("default", document)
