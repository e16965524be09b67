"""The default interpreter: the router's dtab, the request's own, and the namers of this process."""

from __future__ import annotations

import msgspec
import pytest

from biandou.dtab import NEG, Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.explain import Found, Step
from biandou.dtab.matcher import PathMatcher
from biandou.interpreters.interface import Interpreter
from biandou.interpreters.local import DefaultInterpreterKind
from biandou.live import PENDING, Live, Ok, Source, State
from biandou.namers.all import Namers
from biandou.namers.rewrite import RewriteNamer


def interpreter(base: Live[Dtab]) -> Interpreter:
    rewrite = RewriteNamer(Path.read("/#/r"), PathMatcher("/{x}"), "/$/inet/127.1/{x}")
    return DefaultInterpreterKind().interpreter(base, Namers([rewrite]))


def ids(state: State[NameTree[Bound]]) -> list[str]:
    assert isinstance(state, Ok)
    return [f"{bound.id} {bound.residual}" for bound in state.value.leaves()]


def test_a_name_goes_through_the_dtab_and_the_namers() -> None:
    bound = interpreter(Live.ok(Dtab.read("/svc=>/#/r"))).bind(Dtab(), Path.read("/svc/80"))
    assert ids(bound.sample()) == ["/$/inet/127.1/80 /"]


def test_the_request_s_own_dtab_comes_first_and_falls_back() -> None:
    made = interpreter(Live.ok(Dtab.read("/svc=>/$/inet/127.1/1")))
    assert ids(made.bind(Dtab.read("/svc=>/$/inet/127.1/2"), Path.read("/svc")).sample()) == ["/$/inet/127.1/2 /"]
    assert ids(made.bind(Dtab.read("/svc=>/nowhere"), Path.read("/svc")).sample()) == ["/$/inet/127.1/1 /"]
    assert made.bind(Dtab(), Path.read("/other")).sample() == Ok(NEG)


def test_a_change_of_the_router_s_dtab_is_followed() -> None:
    base: Source[Dtab] = Source()
    seen: list[State[NameTree[Bound]]] = []
    watch = interpreter(base).bind(Dtab(), Path.read("/svc/x")).observe(seen.append)
    assert seen == [PENDING]
    base.set(Dtab.read("/svc=>/$/inet/127.1/1"))
    base.set(Dtab.read("/svc=>/$/inet/127.1/2"))
    assert [ids(state) for state in seen[1:]] == [["/$/inet/127.1/1 /x"], ["/$/inet/127.1/2 /x"]]
    watch.close()
    assert not base.observed


def test_a_delegation_leaves_the_router_s_own_dtab_out() -> None:
    made = interpreter(Live.ok(Dtab.read("/svc=>/$/fail")))
    state = made.delegate(Dtab.read("/svc=>/$/inet/127.1/2"), Path.read("/svc")).sample()
    assert isinstance(state, Ok)
    assert isinstance(state.value, Step)
    assert isinstance(state.value.tree, Found)


def test_the_kind_has_no_keys_of_its_own() -> None:
    assert msgspec.convert({"kind": "default"}, DefaultInterpreterKind) == DefaultInterpreterKind()
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "default", "dtab": "/"}, DefaultInterpreterKind)
