"""`io.biandou.failover`: which tiers take requests, on changing endpoints and a clock of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.config import linker
from biandou.dtab import EMPTY, FAIL, NEG, Dtab, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, LocalStatus, Negative
from biandou.dtab.evaluation import Evaluator
from biandou.live import Failed, Live, Ok, Pending, Source, State
from biandou.namers.failover import FailoverNamer, FailoverNamerKind, FailoverTier
from biandou.testing.observing import Observed
from biandou.transformers.assembly import assemble_namers

Tree = NameTree[Path | Bound]
WEB = Path.of("web")


class Put:
    """Something put off."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.put: list[Put] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Put:
        self.put.append(Put(when, callback))
        return self.put[-1]

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [put for put in self.put if not put.cancelled and put.when <= end]:
            first = min(due, key=lambda put: put.when)
            self.put.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
        self.now = end

    @property
    def waiting(self) -> int:
        return len([put for put in self.put if not put.cancelled])


class Estate:
    """Registries `/#/a`, `/#/b` and so on: each a tree that changes."""

    def __init__(self, *names: str, **keys: Any) -> None:
        self.clock = FakeClock()
        self.trees: dict[str, Source[Tree]] = {name: Source() for name in names}
        self.addresses: dict[str, Source[Addresses]] = {name: Source() for name in names}
        tiers = tuple(FailoverTier(dst=f"/#/{name}") for name in names)
        kind = FailoverNamerKind(**{"tiers": tiers, "restore_after_ms": 10_000, **keys})
        self.namer = FailoverNamer(kind, Evaluator(Live.ok(Dtab()), self._look_up).bind, clock=lambda: self.clock)

    def _look_up(self, path: Path) -> Live[Tree]:
        return self.trees[path.segments[1].decode()]

    def has(self, name: str, count: int) -> None:
        """Let the registry have so many endpoints of the service."""
        addresses = tuple(Address(f"10.0.0.{index}", 80) for index in range(count))
        self.addresses[name].set(AddressSet(addresses))
        if not isinstance(self.trees[name].state, Ok):
            self.trees[name].set(Leaf(Bound(Path.of("#", name, "web"), self.addresses[name])))

    @contextmanager
    def watched(self) -> Iterator[Observed[Tree]]:
        with Observed(self.namer.lookup(WEB)) as seen:
            yield seen


def parts(state: State[Tree]) -> dict[str, float] | str:
    """Give each tier's weight, or what the state is."""
    if isinstance(state, Pending):
        return "pending"
    if isinstance(state, Failed):
        return str(state.error)
    match state.value:
        case Leaf(value=Bound() as bound):
            return {bound.id.segments[1].decode(): 1.0}
        case Union(branches):
            return {leaf.id.segments[1].decode(): b.weight for b in branches for leaf in b.tree.leaves()}
    return str(state.value)


def test_the_first_tier_that_is_well_takes_all_and_nobody_waits_for_the_others() -> None:
    estate = Estate("a", "b", min_healthy="2")
    with estate.watched() as seen:
        assert parts(seen.now) == "pending"
        estate.has("a", 2)
        assert parts(seen.now) == {"a": 1.0}
        estate.has("b", 9)
        assert len(seen.states) == 2


def test_below_the_least_the_next_tier_takes_all_at_once_and_the_first_comes_back_late() -> None:
    estate = Estate("a", "b", min_healthy="2")
    with estate.watched() as seen:
        estate.has("a", 3)
        estate.has("b", 3)
        estate.has("a", 1)
        assert parts(seen.now) == {"b": 1.0}
        estate.has("a", 3)
        estate.clock.sleep(9.9)
        assert parts(seen.now) == {"b": 1.0}
        estate.clock.sleep(0.2)
        assert parts(seen.now) == {"a": 1.0}
        assert estate.clock.waiting == 0
    assert estate.namer.state() == {}


def test_a_tier_that_comes_and_goes_does_not_flap() -> None:
    estate = Estate("a", "b", min_healthy="2")
    with estate.watched() as seen:
        estate.has("a", 2)
        estate.has("b", 2)
        for _ in range(50):
            estate.has("a", 1)
            estate.clock.sleep(4.0)
            estate.has("a", 2)
            estate.clock.sleep(4.0)
        assert [parts(state) for state in seen.states] == ["pending", {"a": 1.0}, {"b": 1.0}]


def test_it_spills_over_what_the_first_tier_cannot_carry() -> None:
    estate = Estate("a", "b", min_healthy="30%", spill_over="70%")
    with estate.watched() as seen:
        estate.has("a", 10)
        estate.has("b", 10)
        estate.has("a", 7)
        assert parts(seen.now) == {"a": 1.0}
        estate.has("a", 5)
        assert parts(seen.now) == {"a": 14.0, "b": 6.0}
        estate.has("a", 3)
        assert parts(seen.now) == {"a": 8.0, "b": 12.0}
        estate.has("a", 2)
        assert parts(seen.now) == {"b": 1.0}
        estate.has("b", 3)
        assert parts(seen.now) == {"b": 1.0}, "8 twentieths are all that there are"


def test_when_no_tier_is_well_all_that_there_is_is_used() -> None:
    estate = Estate("a", "b", min_healthy="3")
    with estate.watched() as seen:
        estate.has("a", 2)
        estate.has("b", 1)
        assert parts(seen.now) == {"a": 2.0, "b": 1.0}
        estate.has("a", 0)
        assert parts(seen.now) == {"b": 1.0}
        estate.has("b", 3)
        estate.clock.sleep(10.0)
        assert parts(seen.now) == {"b": 1.0}
        assert estate.namer.state()["/web"]["tiers"][1]["mayTake"] == 1.0


def test_a_name_that_no_tier_has_is_negative_and_one_without_endpoints_is_there() -> None:
    estate = Estate("a", "b")
    with estate.watched() as seen:
        estate.trees["a"].set(NEG)
        assert parts(seen.now) == "pending", "b may have it"
        estate.trees["b"].set(NEG)
        assert seen.now == Ok(NEG)
        estate.trees["b"].set(EMPTY)
        assert seen.now == Ok(EMPTY)
        estate.trees["b"].set(FAIL)
        assert seen.now == Ok(FAIL)


def test_a_name_that_is_negative_at_its_registry_goes_to_the_next() -> None:
    estate = Estate("a", "b")
    with estate.watched() as seen:
        estate.has("b", 1)
        estate.has("a", 1)
        estate.addresses["a"].set(Negative())
        assert parts(seen.now) == {"b": 1.0}
        estate.trees["a"].set(NEG)
        assert parts(seen.now) == {"b": 1.0}


def test_a_tier_that_stays_silent_is_waited_for_only_so_long() -> None:
    estate = Estate("a", "b", patience_ms=500)
    with estate.watched() as seen:
        estate.has("b", 1)
        estate.clock.sleep(0.4)
        assert parts(seen.now) == "pending"
        estate.clock.sleep(0.2)
        assert parts(seen.now) == {"b": 1.0}
        estate.has("a", 1)
        assert parts(seen.now) == {"b": 1.0}
        estate.clock.sleep(10.0)
        assert parts(seen.now) == {"a": 1.0}


def test_if_no_tier_can_be_asked_it_is_said_why() -> None:
    estate = Estate("a", "b")
    with estate.watched() as seen:
        estate.trees["a"].fail(OSError("a is away"))
        estate.trees["b"].set(NEG)
        assert parts(seen.now) == "pending"
        estate.clock.sleep(3.0)
        assert parts(seen.now) == "a is away", "a may have it"


def test_if_all_tiers_fail_nobody_waits_and_the_first_that_is_known_is_used() -> None:
    estate = Estate("a", "b")
    with estate.watched() as seen:
        estate.trees["a"].fail(OSError("a is away"))
        estate.trees["b"].fail(OSError("b is away"))
        assert parts(seen.now) == "a is away"
        estate.has("a", 1)
        assert parts(seen.now) == {"a": 1.0}


def test_a_registry_that_fails_later_changes_nothing() -> None:
    estate = Estate("a", "b")
    with estate.watched() as seen:
        estate.has("a", 1)
        estate.has("b", 1)
        estate.trees["a"].fail(OSError("away"))
        estate.addresses["a"].fail(OSError("away"))
        assert parts(seen.now) == {"a": 1.0}
        assert len(seen.states) == 2


def test_a_fixed_answer_is_always_well() -> None:
    estate = Estate("a", "b", min_healthy="2")
    with estate.watched() as seen:
        estate.has("a", 1)
        estate.trees["b"].set(Leaf(Bound(Path.of("$", "b"), Live.ok(LocalStatus(503)))))
        assert parts(seen.now) == {"b": 1.0}


def test_shares_within_a_tier_stay_and_count_together() -> None:
    estate = Estate("a", "b", min_healthy="3")
    with estate.watched() as seen:
        two: Live[Addresses] = Live.ok(AddressSet((Address("10.0.0.1", 1), Address("10.0.0.2", 1))))
        old, new = (Bound(Path.of("#", name, "web"), two) for name in ("old", "new"))
        tree: Tree = Union((Weighted(9.0, Leaf(old)), Weighted(1.0, Leaf(new))))
        estate.trees["a"].set(tree)
        assert seen.now == Ok(tree)


def test_what_requests_show_to_fail_is_not_healthy() -> None:
    estate = Estate("a", "b", min_healthy="2")
    with estate.watched() as seen:
        estate.has("a", 3)
        estate.has("b", 3)
        estate.namer.take_ejected({"/#/a/web": 2})
        assert parts(seen.now) == {"b": 1.0}
        estate.namer.take_ejected({})
        estate.clock.sleep(10.0)
        assert parts(seen.now) == {"a": 1.0}


def test_decisions_are_told_in_the_log_and_in_the_state(caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate("a", "b", min_healthy="2")
    with caplog.at_level(logging.WARNING, "biandou"), estate.watched():
        estate.has("a", 2)
        estate.has("b", 2)
        assert caplog.messages == [], "the usual is no news"
        estate.has("a", 1)
        told = "/#/a 0% (1 of 2 healthy, needs 2); /#/b 100% (2 of 2 healthy)"
        assert caplog.messages == [f"/#/io.biandou.failover/web: {told}"]
        assert estate.namer.verdict(Path.read("/#/io.biandou.failover/web")) == told
        estate.has("a", 2)
        estate.clock.sleep(4.0)
        shown = estate.namer.state()["/web"]
        assert shown["changes"] == 1
        assert shown["tiers"][0] == {
            "dst": "/#/a",
            "share": 0.0,
            "mayTake": 0.0,
            "known": 2,
            "healthy": 2,
            "needed": 2,
            "expected": 2,
            "restoresInMs": 6000,
            "error": None,
        }
        estate.clock.sleep(6.0)
        assert len(caplog.messages) == 2
    assert estate.namer.verdict(Path.read("/#/io.biandou.failover/web")) is None


def test_all_who_ask_for_a_name_see_one_decision_and_the_last_closes_it() -> None:
    estate = Estate("a", "b")
    with estate.watched():
        with estate.watched() as other:
            estate.has("a", 1)
            assert parts(other.now) == {"a": 1.0}
        assert estate.trees["a"].observed
        assert len(estate.namer.state()) == 1
    assert not estate.trees["a"].observed
    assert not estate.addresses["a"].observed
    assert estate.clock.waiting == 0


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 6)),
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["gone", "fails", "ejected", "negative"])),
        st.tuples(st.just("sleep"), st.sampled_from([0.1, 1.0, 9.9, 10.0, 60.0])),
    ),
    min_size=1,
    max_size=40,
)


@given(EVENTS, st.sampled_from(["1", "3", "50%"]), st.sampled_from([None, "70%"]))
def test_whatever_happens_requests_have_somewhere_to_go_and_nobody_unwell_is_used_beside_the_well(
    events: list[tuple[str, Any]], least: str, spill_over: str | None
) -> None:
    estate = Estate("a", "b", "c", min_healthy=least, spill_over=spill_over, patience_ms=500)
    ejected: dict[str, int] = {}
    with estate.watched() as seen:
        estate.clock.sleep(1.0)
        for what, how in events:
            match what, how:
                case "sleep", float(seconds):
                    estate.clock.sleep(seconds)
                case name, int(count):
                    estate.has(name, count)
                case name, "gone":
                    estate.trees[name].set(NEG)
                case name, "fails":
                    estate.addresses[name].fail(OSError("away"))
                case name, "negative":
                    estate.addresses[name].set(Negative())
                case name, "ejected":
                    ejected = {**ejected, f"/#/{name}/web": (ejected.get(f"/#/{name}/web", 0) + 1) % 4}
                    estate.namer.take_ejected(ejected)
            tiers = estate.namer.state()["/web"]["tiers"]
            used = [tier for tier in tiers if tier["share"] > 0]
            if any(tier["known"] for tier in tiers):
                assert isinstance(seen.now, Ok)
                assert all(tier["known"] for tier in used), "no request goes where nobody is"
                assert sum(tier["share"] for tier in used) == pytest.approx(1.0)
                assert set(parts(seen.now)) == {tier["dst"].removeprefix("/#/") for tier in used}
            if any(tier["mayTake"] for tier in tiers):
                assert all(tier["mayTake"] and tier["healthy"] >= tier["needed"] for tier in used)
    assert estate.clock.waiting == 0


# ── Configured ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tier_may_have_keys_of_its_own() -> None:
    config = linker.parse(
        """
namers:
- kind: io.biandou.failover
  tiers:
  - {dst: /#/a, minHealthy: 30%, restoreHealthy: 50%, expected: 10, spillOver: 80%}
  - dst: /#/b
  minHealthy: 2
routers:
- protocol: http
  servers: [{}]
""",
        "test",
    )
    kind = config.namers[0]
    assert isinstance(kind, FailoverNamerKind)
    first, second = (kind.judgement(tier) for tier in kind.tiers)
    assert (first.least.of(10), first.restore.of(10), first.spill_over, first.expected) == (3, 5, 0.8, 10)
    assert (second.least.of(10), second.restore.of(10), second.spill_over, second.restore_after) == (2, 2, None, 30.0)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"tiers": []},
        {"tiers": [{"dst": "/svc/a"}]},
        {"tiers": [{"dst": "x"}]},
        {"tiers": [{"dst": "/#/io.biandou.failover/a"}]},
        {"tiers": [{"dst": "/#/a", "minHealthy": "0"}]},
        {"tiers": [{"dst": "/#/a"}], "minHealthy": "120%"},
        {"tiers": [{"dst": "/#/a"}], "spillOver": "2"},
        {"tiers": [{"dst": "/#/a"}], "restoreAfterMs": -1},
        {"tiers": [{"dst": "/#/a", "expected": 0}]},
    ],
)
def test_mistakes_are_refused_when_read(keys: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "io.biandou.failover", **keys}, FailoverNamerKind)


async def test_tiers_that_lead_back_to_the_namer_are_a_failure() -> None:
    kinds = linker.parse(
        """
namers:
- kind: io.l5d.rewrite
  prefix: /back
  pattern: /{rest}
  name: /#/io.biandou.failover/again/{rest}
- kind: io.biandou.failover
  patienceMs: 10
  tiers:
  - dst: /#/back
routers:
- protocol: http
  servers: [{}]
""",
        "test",
    ).namers
    with Observed(assemble_namers(kinds).all.lookup(Path.read("/#/io.biandou.failover/web"))) as seen:
        state = await seen.until(lambda state: isinstance(state, Failed))
    assert isinstance(state, Failed)
    assert "leads back to it" in str(state.error)


async def test_tiers_are_bound_by_the_other_namers_with_their_transformers(tmp_path: Any) -> None:
    (tmp_path / "web").write_text("127.0.0.1 80\n")
    kinds = linker.parse(
        f"""
namers:
- kind: io.l5d.fs
  rootDir: {tmp_path}
  transformers:
  - {{kind: io.l5d.port, port: 5}}
- kind: io.biandou.failover
  tiers:
  - dst: /#/none
  - dst: /#/io.l5d.fs
routers:
- protocol: http
  servers: [{{}}]
""",
        "test",
    ).namers
    first = assemble_namers(kinds)
    for names in (first, assemble_namers(kinds, first)):
        with Observed(names.all.lookup(Path.read("/#/io.biandou.failover/web/x"))) as seen:
            state = await seen.until(lambda state: isinstance(state, Ok))
            assert isinstance(state, Ok)
            assert isinstance(state.value, Leaf)
            assert isinstance(state.value.value, Bound)
            assert str(state.value.value.id) == "/%/io.l5d.port/5/#/io.l5d.fs/web"
            assert str(state.value.value.residual) == "/x"
