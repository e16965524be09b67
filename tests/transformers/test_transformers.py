"""The five transformers, against the reference's values and on live addresses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest

from biandou.clients.interfaces import local_addresses
from biandou.dtab import EMPTY, FAIL, NEG, Dtab, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, LocalStatus, Negative
from biandou.errors import ConfigError
from biandou.interpreters.local import LocalInterpreter
from biandou.live import PENDING, Failed, Live, Ok, Source, State
from biandou.namers.all import Namers
from biandou.transformers.const import ConstTransformerKind
from biandou.transformers.interface import TransformedNamer, TransformerKind
from biandou.transformers.localhost import LocalhostTransformerKind
from biandou.transformers.port import PortTransformerKind
from biandou.transformers.replace import ReplaceTransformerKind
from biandou.transformers.specific_host import SpecificHostTransformerKind

VECTORS = json.loads((FilePath(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]
KINDS: list[type[TransformerKind]] = [
    PortTransformerKind,
    LocalhostTransformerKind,
    SpecificHostTransformerKind,
    ReplaceTransformerKind,
    ConstTransformerKind,
]
ID = Path.read("/#/io.l5d.fs/web")


def interpret(path: Path) -> Live[NameTree[Bound]]:
    return LocalInterpreter(Live.ok(Dtab()), Namers()).bind(Dtab(), path)


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host, int(port))


def transformed(kinds: Sequence[TransformerKind], tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
    for kind in kinds:
        tree = kind.transformer(interpret).apply(tree)
    return tree


def one(addresses: Live[Addresses], client: Path = ID) -> Live[NameTree[Bound]]:
    return Live.ok(Leaf(Bound(client, addresses, Path.of("rest"))))


def leaf(state: State[NameTree[Bound]]) -> Bound:
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    bound: Bound = state.value.value
    return bound


def after(kind: TransformerKind, *found: str) -> State[Addresses]:
    given = AddressSet(tuple(map(address, found)), {"authority": "a"})
    return leaf(transformed([kind], one(Live.ok(given))).sample()).addresses.sample()


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "transformer"], ids=lambda v: v["id"])
def test_endpoints_become_what_the_reference_says(vector: dict[str, Any]) -> None:
    given, expect = vector["input"], vector["expect"]
    by_name = {kind.__struct_config__.tag: kind for kind in KINDS}
    kinds = [msgspec.convert(written, by_name[written["kind"]]) for written in given["transformers"]]
    found = AddressSet(tuple(map(address, given["addrs"])))
    bound = leaf(transformed(kinds, one(Live.ok(found), Path.read(given["id"]))).sample())
    assert str(bound.id) == expect["id"]
    state = bound.addresses.sample()
    if expect["addr"].get("neg"):
        assert state == Ok(Negative())
    else:
        assert isinstance(state, Ok)
        assert isinstance(state.value, AddressSet)
        assert [str(a) for a in state.value.addresses] == expect["addr"]["bound"]


def test_a_port_keeps_what_else_is_known_of_an_address() -> None:
    given = AddressSet((Address("::1", 1, {"endpoint_addr_weight": 2.0}),), {"authority": "a"})
    bound = leaf(transformed([PortTransformerKind(port=5)], one(Live.ok(given))).sample())
    assert bound.addresses.sample() == Ok(
        AddressSet((Address("::1", 5, {"endpoint_addr_weight": 2.0}),), {"authority": "a"})
    )
    assert bound.residual == Path.of("rest")


def test_a_host_filter_keeps_that_host_and_what_is_known_of_the_set() -> None:
    kind = SpecificHostTransformerKind(host="10.0.0.2")
    assert after(kind, "10.0.0.1:1", "10.0.0.2:2") == Ok(AddressSet((Address("10.0.0.2", 2),), {"authority": "a"}))
    assert after(kind) == Ok(Negative())
    assert after(SpecificHostTransformerKind(host="[::1]"), "::1:2") == Ok(
        AddressSet((Address("::1", 2),), {"authority": "a"})
    )


def test_localhost_keeps_the_addresses_of_this_host() -> None:
    assert "127.0.0.1" in local_addresses()
    own = sorted(local_addresses())[0]
    kind = LocalhostTransformerKind()
    assert after(kind, f"{own}:1", "203.0.113.1:2") == Ok(AddressSet((Address(own, 1),), {"authority": "a"}))
    assert after(kind, "203.0.113.1:2") == Ok(Negative())


@pytest.mark.parametrize("kind", [PortTransformerKind(port=1), LocalhostTransformerKind()])
def test_what_is_no_address_passes(kind: TransformerKind) -> None:
    for known in (Negative(), LocalStatus(503)):
        assert leaf(transformed([kind], one(Live.ok(known))).sample()).addresses.sample() == Ok(known)
    failed: State[Addresses] = Failed(OSError("down"))
    assert leaf(transformed([kind], one(Live(failed))).sample()).addresses.sample() == failed
    assert leaf(transformed([kind], one(Live())).sample()).addresses.sample() == PENDING
    for end in (NEG, FAIL, EMPTY):
        assert transformed([kind], Live.ok(end)).sample() == Ok(end)


def test_changes_of_the_source_go_through() -> None:
    source: Source[Addresses] = Source()
    bound = leaf(transformed([PortTransformerKind(port=5)], one(source)).sample())
    seen: list[State[Addresses]] = []
    watch = bound.addresses.observe(seen.append)
    source.set(AddressSet((Address("127.0.0.1", 1),)))
    source.set(AddressSet((Address("127.0.0.1", 2),)))
    source.set(Negative())
    watch.close()
    assert seen == [PENDING, Ok(AddressSet((Address("127.0.0.1", 5),))), Ok(Negative())]
    assert not source.observed


def test_replace_puts_one_name_in_the_place_of_every_leaf() -> None:
    kind = ReplaceTransformerKind(path="/$/inet/127.1/4140/x")
    tree: NameTree[Bound] = Union((Weighted(2.0, Leaf(Bound(ID, Live()))), Weighted(1.0, EMPTY)))
    state = transformed([kind], Live.ok(tree)).sample()
    assert isinstance(state, Ok)
    assert isinstance(state.value, Union)
    replaced, empty = state.value.branches
    assert (replaced.weight, empty.weight, empty.tree) == (2.0, 1.0, EMPTY)
    bound = leaf(Ok(replaced.tree))
    assert (str(bound.id), str(bound.residual)) == ("/%/io.l5d.replace/$/inet/127.1/4140", "/x")
    for end in (NEG, FAIL, EMPTY):
        assert transformed([kind], Live.ok(end)).sample() == Ok(end)


def test_replace_by_a_name_that_is_not_there_is_negative() -> None:
    assert transformed([ReplaceTransformerKind(path="/#/none")], one(Live())).sample() == Ok(NEG)


def test_const_never_looks_the_name_up() -> None:
    source: Source[NameTree[Bound]] = Source()
    tree = transformed([ConstTransformerKind(path="/$/inet/127.1/4140")], source)
    assert str(leaf(tree.sample()).id) == "/%/io.l5d.const/$/inet/127.1/4140"
    watch = tree.observe(lambda _state: None)
    assert not source.observed
    watch.close()


class Names:
    prefix = Path.read("/#/n")

    def __init__(self, tree: NameTree[Path | Bound]) -> None:
        self.tree = tree

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        return Live.ok(self.tree)


def test_a_namer_s_transformers_wrap_in_list_order() -> None:
    made = tuple(
        kind.transformer(interpret) for kind in (PortTransformerKind(port=1), PortTransformerKind(port=2, prefix="/b"))
    )
    state = TransformedNamer(Names(Leaf(Bound(ID, Live()))), made).lookup(Path()).sample()
    assert str(leaf(state).id) == "/%/b/%/io.l5d.port/1/#/io.l5d.fs/web"  # type: ignore[arg-type]  # bound leaves only


@pytest.mark.parametrize("tree", [Leaf(Path.of("x")), Union((Weighted(1.0, Leaf(Path.of("x"))), Weighted(1.0, NEG)))])
def test_a_tree_that_still_holds_paths_passes_a_namer_s_transformers(tree: NameTree[Path | Bound]) -> None:
    namer = TransformedNamer(Names(tree), (PortTransformerKind(port=1).transformer(interpret),))
    assert namer.lookup(Path()).sample() == Ok(tree)
    assert namer.prefix == Names.prefix


def test_a_host_that_cannot_be_resolved_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"cannot resolve no-such-host\.invalid"):
        SpecificHostTransformerKind(host="no-such-host.invalid").transformer(interpret)


@pytest.mark.parametrize(
    "written",
    [
        {"kind": "io.l5d.port"},
        {"kind": "io.l5d.port", "port": 65536},
        {"kind": "io.l5d.port", "port": 1, "prefix": "x"},
        {"kind": "io.l5d.replace", "path": "x"},
        {"kind": "io.l5d.const"},
        {"kind": "io.l5d.specificHost"},
        {"kind": "io.l5d.localhost", "host": "x"},
    ],
)
def test_mistakes_are_refused_when_read(written: dict[str, Any]) -> None:
    by_name = {kind.__struct_config__.tag: kind for kind in KINDS}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(written, by_name[written["kind"]])
