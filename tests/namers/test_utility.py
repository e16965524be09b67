"""The `/$/…` namers against values computed with the original implementation."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any

import pytest

from biandou.clients.dns import Resolver
from biandou.dtab import EMPTY, FAIL, NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, LocalStatus
from biandou.errors import BindingError
from biandou.live import Failed, Live, Ok, Source, State
from biandou.namers.all import Namers
from biandou.namers.system import SystemNamer

VECTORS = json.loads((FilePath(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]


def known(path: str) -> NameTree[Path | Bound]:
    state = Namers().lookup(Path.read(path)).sample()
    assert isinstance(state, Ok), state
    return state.value


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "utility_namer"], ids=lambda v: v["id"])
async def test_names_mean_what_the_reference_says(vector: dict[str, Any]) -> None:
    tree, expect = known(vector["input"]), vector["expect"]
    if "path" in expect:
        assert tree == Leaf(Path.read(expect["path"]))
    elif "bound" in expect:
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        assert str(tree.value.id) == expect["bound"]["id"]
        assert str(tree.value.residual) == expect["bound"]["residual"]
    else:
        assert tree is {"neg": NEG, "fail": FAIL, "empty": EMPTY}[next(iter(expect))]


def test_nil_is_empty_and_fail_fails_whatever_follows() -> None:
    assert known("/$/nil/a") is EMPTY
    assert known("/$/fail/a") is FAIL


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/$/io.buoyant.http.anyMethodPfx/foo/GET/x", "/foo/x"),
        ("/$/io.buoyant.http.anyHostPfx/foo/h/x", "/foo/x"),
        ("/$/io.buoyant.http.anyHost", "~"),
        (r"/$/io.buoyant.http.anyHost/a\x0a", "~"),
        ("/$/io.buoyant.http.anyMethod/get", "~"),
        ("/$/io.buoyant.http.subdomainOf/a.b", "~"),
        ("/$/io.buoyant.http.subdomainOfPfx/a.b", "~"),
        ("/$/io.buoyant.http.domainToPath/...", "~"),
        ("/$/io.buoyant.http.domainToPathPfx", "~"),
        ("/$/io.buoyant.hostportPfx/ia/a:b:c", "~"),
        ("/$/io.buoyant.hostportPfx/ia/:80", "~"),
        ("/$/io.buoyant.hostportPfx/ia/h:HTTP", "~"),
        ("/$/io.buoyant.hostportPfx/ia", "~"),
        ("/$", "~"),
        ("/", "~"),
    ],
)
def test_what_has_another_form_is_negative(path: str, expected: str) -> None:
    assert str(known(path)) == expected


@pytest.mark.parametrize(("code", "there"), [("100", True), ("599", True), ("99", False), ("600", False), ("x", False)])
def test_a_status_is_answered_by_the_engine_itself(code: str, there: bool) -> None:
    tree = known(f"/$/io.buoyant.http.status/{code}/rest")
    if not there:
        assert tree is NEG
        return
    assert isinstance(tree, Leaf)
    assert isinstance(tree.value, Bound)
    assert tree.value.addresses.sample() == Ok(LocalStatus(int(code)))
    assert str(tree.value.id) == f"/$/io.buoyant.http.status/{code}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/$/inet/127.1/notaport", "Unknown namer: inet for path: /$/inet/127.1/notaport"),
        ("/$/inet", "Unknown namer: inet for path: /$/inet"),
        ("/$/com.example.Own/x", "Unknown namer: com.example.Own for path: /$/com.example.Own/x"),
        ("/$/inet/127.1/65536", "port out of range: 65536"),
        ("/$/inet/127.1/-1", "port out of range: -1"),
    ],
)
def test_a_name_that_no_namer_answers_for_fails(path: str, message: str) -> None:
    state = Namers().lookup(Path.read(path)).sample()
    assert isinstance(state, Failed)
    assert isinstance(state.error, BindingError)
    assert str(state.error) == message


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/$/inet/127.1/80", "127.0.0.1:80"),
        ("/$/inet/10.0.0.1/80/x", "10.0.0.1:80"),
        ("/$/inet/8080", "127.0.0.1:8080"),
        ("/$/inet/localhost/80", "127.0.0.1:80"),
        ("/$/inet/::1/80", "[::1]:80"),
        (r"/$/inet/\x5b\x3a\x3a\x31\x5d/80", "[::1]:80"),
        ("/$/fixedinet/127.1/80", "127.0.0.1:80"),
        ("/$/io.buoyant.rinet/80/127.1", "127.0.0.1:80"),
        (r"/$/io.buoyant.rinet/\x2a/127.1", "127.0.0.1:0"),
    ],
)
def test_ip_literals_are_known_at_once(path: str, address: str) -> None:
    tree = known(path)
    assert isinstance(tree, Leaf)
    assert isinstance(tree.value, Bound)
    state = tree.value.addresses.sample()
    assert isinstance(state, Ok)
    assert isinstance(state.value, AddressSet)
    assert [str(found) for found in state.value.addresses] == [address]


def test_rinet_with_a_bad_port_is_a_leaf_that_failed() -> None:
    tree = known("/$/io.buoyant.rinet/http/127.1")
    assert isinstance(tree, Leaf)
    assert isinstance(tree.value, Bound)
    assert isinstance(tree.value.addresses.sample(), Failed)


class Fixed:
    """A namer with one answer per first segment."""

    def __init__(self, prefix: str, **names: NameTree[Path | Bound]) -> None:
        self.prefix = Path.read(prefix)
        self.names = names

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        return Live.ok(self.names.get(path.segments[0].decode(), NEG))


def test_the_last_configured_namer_is_asked_first_and_a_negative_answer_goes_on() -> None:
    first, second = Leaf(Path.of("first")), Leaf(Path.of("second"))
    namers = Namers([Fixed("/#/a", x=first, y=first), Fixed("/#/a", x=second), Fixed("/#", a=FAIL, b=first)])
    assert namers.lookup(Path.read("/#/a/x")).sample() == Ok(FAIL), "the one with the shorter prefix stands last"
    namers = Namers(namers.configured[:2])
    assert namers.lookup(Path.read("/#/a/x")).sample() == Ok(second)
    assert namers.lookup(Path.read("/#/a/y")).sample() == Ok(first)
    assert namers.lookup(Path.read("/#/a/z")).sample() == Ok(NEG)
    assert namers.lookup(Path.read("/#/b/z")).sample() == Ok(NEG)


class Directory:
    """A namer whose one name comes and goes."""

    def __init__(self, *ports: int) -> None:
        self.prefix = Path.read("/#/a")
        self.there: Source[bool] = Source(Ok(True))
        self.addresses: Source[Addresses] = Source(Ok(AddressSet(tuple(Address("127.0.0.1", port) for port in ports))))

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        bound: NameTree[Path | Bound] = Leaf(Bound(self.prefix + path.take(1), self.addresses, path.drop(1)))
        return self.there.map(lambda there: bound if there else NEG)


def test_a_name_that_two_namers_give_follows_the_one_that_gives_it_now() -> None:
    first, last = Directory(81), Directory(82)
    trees: list[State[NameTree[Path | Bound]]] = []
    watch = Namers([first, last]).lookup(Path.read("/#/a/x")).observe(trees.append)
    tree = trees[-1]
    assert isinstance(tree, Ok)
    (bound,) = tree.value.leaves()
    assert isinstance(bound, Bound)
    seen: list[State[Addresses]] = []
    inner = bound.addresses.observe(seen.append)
    last.there.set(False)
    assert seen[-1] == Ok(AddressSet((Address("127.0.0.1", 81),)))
    first.addresses.set(AddressSet((Address("127.0.0.1", 83),)))
    assert seen[-1] == Ok(AddressSet((Address("127.0.0.1", 83),)))
    last.there.set(True)
    assert seen[-1] == Ok(AddressSet((Address("127.0.0.1", 82),)))
    watch.close()
    inner.close()
    assert not any(source.observed for source in (first.there, first.addresses, last.there, last.addresses))


def test_a_plugin_answers_for_its_own_system_name() -> None:
    own = Fixed("/$/com.example.Own", x=Leaf(Path.of("y")))
    namers = Namers(system=SystemNamer(Resolver(), [own]))
    assert namers.lookup(Path.read("/$/com.example.Own/x")).sample() == Ok(Leaf(Path.of("y")))
