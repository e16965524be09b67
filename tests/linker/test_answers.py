"""Flattening of bound trees."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from biandou.boundary import EndpointsFailed, NegativeTree, encode
from biandou.dtab import EMPTY, FAIL, NEG, Alt, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Bound
from biandou.errors import MAX_REASON, ResolutionError, reason
from biandou.linker.answers import bound_tree, endpoints_state, shares
from biandou.live import Failed, Live

LEAVES = st.sampled_from([Leaf(Bound(Path.of("#", name), Live())) for name in "abc"])
ENDS = st.sampled_from([EMPTY, NEG, FAIL])
WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.floats(1e300, 1.7e308))


def unions(inner: st.SearchStrategy[NameTree[Bound]]) -> st.SearchStrategy[NameTree[Bound]]:
    branches = st.lists(st.builds(Weighted, WEIGHTS, inner), max_size=4)
    return st.one_of(
        branches.map(lambda found: Union(tuple(found))), st.lists(inner, max_size=3).map(lambda t: Alt(tuple(t)))
    )


TREES: st.SearchStrategy[NameTree[Bound]] = st.recursive(st.one_of(LEAVES, ENDS), unions, max_leaves=12)


@given(TREES)
def test_the_shares_of_a_tree_make_a_whole(tree: NameTree[Bound]) -> None:
    parts = shares(tree)
    if parts is None:
        assert tree.simplified in (NEG, FAIL, EMPTY)
        assert bound_tree(parts) == NegativeTree()
        return
    assert math.isclose(sum(share for share, _ in parts), 1.0, rel_tol=1e-9)
    assert all(share >= 0 for share, _ in parts)
    assert {bound.id for _, bound in parts if bound} <= {bound.id for bound in tree.leaves()}


def test_an_error_without_a_message_is_shown_by_its_class() -> None:
    assert reason(ValueError()) == "ValueError"
    assert reason(ValueError("x")) == "x"


def test_an_error_about_a_file_whose_name_is_no_text_can_be_sent() -> None:
    state = endpoints_state(Failed(ResolutionError("disco/\udcff is larger than 500 KB")))
    assert state == EndpointsFailed(message="disco/\\udcff is larger than 500 KB")
    encode(state)


def test_an_error_that_quotes_too_much_is_cut() -> None:
    assert reason(ValueError("x" * 100_000)) == "x" * MAX_REASON + "…"
