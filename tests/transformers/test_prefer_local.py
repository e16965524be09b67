"""`io.biandou.preferLocal`: endpoints of this host or zone first, and others when there are too few."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest

from biandou.config import linker
from biandou.dtab import EMPTY, NEG, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, LocalStatus, Negative, Origin
from biandou.errors import ConfigError
from biandou.linker.assembly import assemble
from biandou.live import Failed, Live, Ok, Pending, Source, State
from biandou.namers.tier_level import Amount, Judgement
from biandou.testing.observing import Observed
from biandou.transformers.prefer_local import PreferLocalTransformer, PreferLocalTransformerKind

Tree = NameTree[Bound]
ID = Path.read("/#/io.l5d.k8s/prod/http/web")
HERE = "/%/io.biandou.preferLocal/zone/z1/#/io.l5d.k8s/prod/http/web"
ELSEWHERE = "/%/io.biandou.preferLocal/elsewhere/#/io.l5d.k8s/prod/http/web"


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.put: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeClock:
        self.put = [(when, callback)]
        return self

    def cancel(self) -> None:
        self.put = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when, callback in tuple(self.put):
            if when <= self.now:
                callback()


def preferring(
    clock: FakeClock, places: tuple[tuple[str, str], ...] = (("zone", "z1"),), **judged: Any
) -> PreferLocalTransformer:
    judgement = Judgement(**{"restore_after": 10.0, **judged})
    return PreferLocalTransformer(Path.read("/%/io.biandou.preferLocal"), list(places), judgement, clock=lambda: clock)


def at(*zones: str) -> AddressSet:
    return AddressSet(tuple(Address(f"10.0.0.{n}", 80, {"zone": zone}) for n, zone in enumerate(zones)), {"a": 1})


def leaf(addresses: Live[Addresses]) -> Leaf[Bound]:
    return Leaf(Bound(ID, addresses, Path.of("rest")))


def shares(state: State[Tree]) -> dict[str, float]:
    assert isinstance(state, Ok), state
    match state.value:
        case Leaf(value):
            return {str(value.id): 1.0}
        case Union(branches):
            return {str(one.id): branch.weight for branch in branches for one in branch.tree.leaves()}
    return {}


def hosts(state: State[Tree]) -> dict[str, list[str]]:
    """Give the endpoints of each client name."""
    assert isinstance(state, Ok)
    found = {}
    for bound in state.value.leaves():
        known = bound.addresses.sample()
        assert isinstance(known, Ok)
        assert isinstance(known.value, AddressSet)
        found[str(bound.id)] = [address.host for address in known.value.addresses]
    return found


def test_those_in_the_zone_take_all_and_the_others_what_they_cannot() -> None:
    clock = FakeClock()
    addresses: Source[Addresses] = Source(Ok(at("z1", "z2", "z1", "")))
    tree = preferring(clock, least=Amount(2), restore=Amount(2)).apply(Live.ok(leaf(addresses)))
    with Observed(tree) as seen:
        assert shares(seen.now) == {HERE: 1.0}
        assert hosts(seen.now) == {HERE: ["10.0.0.0", "10.0.0.2"]}
        addresses.set(at("z1", "z2", "z2"))
        assert hosts(seen.now) == {ELSEWHERE: ["10.0.0.1", "10.0.0.2"]}
        addresses.set(at("z1", "z2", "z1"))
        assert shares(seen.now) == {ELSEWHERE: 1.0}
        clock.sleep(10.0)
        assert shares(seen.now) == {HERE: 1.0}
        assert next(seen.now.value.leaves()).residual == Path.of("rest")  # type: ignore[union-attr]  # it is known
    assert not addresses.observed


def test_with_spill_over_the_zone_takes_what_it_can_carry() -> None:
    addresses: Source[Addresses] = Source(Ok(at("z1", "z1", "z1", "z1", "z2")))
    with Observed(preferring(FakeClock(), spill_over=1.0).apply(Live.ok(leaf(addresses)))) as seen:
        assert shares(seen.now) == {HERE: 1.0}
        addresses.set(at("z1", "z1", "z1", "z2"))
        assert shares(seen.now) == {HERE: 15.0, ELSEWHERE: 5.0}


def test_the_host_comes_before_the_zone() -> None:
    found = AddressSet(
        (Address("10.0.0.1", 1, {"zone": "z1"}), Address("10.0.0.2", 1, {"zone": "z1", "nodeName": "n"}))
    )
    addresses: Source[Addresses] = Source(Ok(found))
    places = (("nodeName", "n"), ("zone", "z1"))
    with Observed(preferring(FakeClock(), places).apply(Live.ok(leaf(addresses)))) as seen:
        assert list(hosts(seen.now).values()) == [["10.0.0.2"]]
        addresses.set(AddressSet(found.addresses[:1]))
        assert hosts(seen.now) == {HERE: ["10.0.0.1"]}


def test_endpoints_that_fail_do_not_count() -> None:
    preferring_ = preferring(FakeClock())
    with Observed(preferring_.apply(Live.ok(leaf(Live.ok(at("z1", "z2")))))) as seen:
        assert shares(seen.now) == {HERE: 1.0}
        preferring_.take_ejected({HERE: 1})
        assert shares(seen.now) == {ELSEWHERE: 1.0}


def test_a_change_of_the_tree_does_not_begin_anew() -> None:
    """A canary's weights change every moment."""
    addresses: Source[Addresses] = Source(Ok(at("z1", "z2")))
    one, other = leaf(addresses), Leaf(Bound(Path.read("/#/other"), Live.ok(at("z1"))))
    trees: Source[Tree] = Source(Ok(Union((Weighted(1.0, one), Weighted(9.0, other)))))
    with Observed(preferring(FakeClock()).apply(trees)) as seen:
        addresses.set(at("z2", "z2"))
        addresses.set(at("z1", "z2"))
        assert list(shares(seen.now)) == [ELSEWHERE, "/%/io.biandou.preferLocal/zone/z1/#/other"]
        trees.set(Union((Weighted(2.0, one), Weighted(8.0, other))))
        assert list(shares(seen.now)) == [ELSEWHERE, "/%/io.biandou.preferLocal/zone/z1/#/other"]
        assert list(shares(seen.now).values()) == [2.0, 8.0]


def test_what_has_no_places_stays_what_it_is() -> None:
    transformer = preferring(FakeClock())
    for tree in (NEG, EMPTY):
        assert transformer.apply(Live.ok(tree)).sample() == Ok(tree)
    for known in (Negative(), LocalStatus(503), AddressSet()):
        found = transformer.apply(Live.ok(leaf(Live.ok(known)))).sample()
        assert isinstance(found, Ok)
        assert [bound.addresses.sample() for bound in found.value.leaves()] == [Ok(known)]
    assert isinstance(transformer.apply(Live.ok(leaf(Live()))).sample(), Pending)
    assert isinstance(transformer.apply(Live.ok(leaf(Live.failed(OSError("away"))))).sample(), Failed)
    assert str(transformer.leaf(Bound(ID, Live())).id) == f"/%/io.biandou.preferLocal{ID}"


def test_the_origin_of_a_set_stays_known() -> None:
    origin = Origin("a registry")
    found = AddressSet(at("z1").addresses, {}, origin)
    state = preferring(FakeClock()).apply(Live.ok(leaf(Live.ok(found)))).sample()
    assert isinstance(state, Ok)
    (bound,) = state.value.leaves()
    known = bound.addresses.sample()
    assert isinstance(known, Ok)
    assert isinstance(known.value, AddressSet)
    assert known.value.origin is origin


async def test_configured_it_is_told_what_the_engine_finds_out(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "web").write_text("127.0.0.1 80\n")
    monkeypatch.setenv("ZONE", "z1")
    text = f"""
namers:
- kind: io.l5d.fs
  rootDir: {tmp_path}
  transformers:
  - kind: io.biandou.preferLocal
    places: [{{key: zone, valueFrom: ZONE}}]
routers:
- protocol: http
  interpreter:
    kind: default
    transformers:
    - kind: io.biandou.preferLocal
      places: [{{key: nodeName, value: n1}}, {{key: zone, valueFrom: ZONE}}]
      minHealthy: 2
      spillOver: 70%
  servers: [{{}}]
"""
    assembled = assemble(linker.parse(text, "test"))
    assert [type(one) for one in assembled.minded].count(PreferLocalTransformer) == 2
    name = assembled.names.all.lookup(Path.read("/#/io.l5d.fs/web"))
    with caplog.at_level(logging.DEBUG, "biandou.namers.tiered"), Observed(name) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok))
    assert isinstance(state, Ok)
    assert [str(bound.id) for bound in state.value.leaves() if isinstance(bound, Bound)] == [
        "/%/io.biandou.preferLocal/elsewhere/#/io.l5d.fs/web"
    ]
    assert caplog.messages == [], "that there is nothing here is nothing strange"
    monkeypatch.delenv("ZONE")
    assert "ZONE" not in os.environ
    with pytest.raises(ConfigError, match="ZONE has no value"):
        assemble(linker.parse(text, "test"))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"places": []},
        {"places": [{"key": "zone"}]},
        {"places": [{"key": "", "value": "a"}]},
        {"places": [{"key": "zone", "value": "a", "valueFrom": "b"}]},
        {"places": [{"key": "zone", "value": "a"}], "minHealthy": "0"},
        {"places": [{"key": "zone", "value": "a"}], "spillOver": "7"},
    ],
)
def test_mistakes_are_refused_when_read(keys: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "io.biandou.preferLocal", **keys}, PreferLocalTransformerKind)
