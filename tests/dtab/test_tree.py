from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from biandou.dtab import EMPTY, FAIL, NEG, Alt, Dtab, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Bound
from biandou.dtab.delegate import evaluate
from biandou.dtab.tree import show_weight
from biandou.live import Live, Ok, State
from tests.dtab.strategies import any_paths, any_weights, trees_of


def meaning(tree: NameTree[Path]) -> State[NameTree[Bound]]:
    """Give what a tree binds to when every name in it is there."""
    bound = tree.map(lambda path: Bound(path, Live()))
    return evaluate(Dtab(), Path.of("x"), lambda path: Ok(bound)).state


@given(trees_of(any_paths))
def test_what_is_shown_reads_back(tree: NameTree[Path]) -> None:
    assert NameTree.read(str(tree)) == tree


@given(trees_of(any_paths, smallest=0))
def test_trees_that_no_text_gives_are_shown_as_what_they_mean(tree: NameTree[Path]) -> None:
    assert NameTree.read(str(tree)).simplified == tree.simplified


@given(any_weights)
def test_weights_keep_every_digit(weight: float) -> None:
    shown = show_weight(weight)
    assert float(shown) == weight
    assert "e" not in shown


def test_weights_are_shown_short() -> None:
    tree = NameTree.read("0.70*/a & 00.3*/b & 9.0*/c & 1*/d & 0.00000001*/e")
    assert str(tree) == "0.7*/a & 0.3*/b & 9*/c & /d & 0.00000001*/e"


@given(trees_of(any_paths, smallest=0))
def test_simplifying_twice_changes_nothing_more(tree: NameTree[Path]) -> None:
    assert tree.simplified.simplified == tree.simplified


@given(trees_of(any_paths, smallest=0))
def test_simplifying_keeps_the_meaning(tree: NameTree[Path]) -> None:
    assert meaning(tree.simplified) == meaning(tree)


@given(trees_of(any_paths, smallest=0))
def test_the_chosen_leaves_are_those_that_bind(tree: NameTree[Path]) -> None:
    state = meaning(tree)
    assert isinstance(state, Ok)
    expected = None if state.value in (NEG, FAIL) else {bound.id for bound in state.value.leaves()}
    assert tree.chosen == expected


@given(trees_of(any_paths))
def test_map_reaches_every_leaf_in_order(tree: NameTree[Path]) -> None:
    assert list(tree.map(lambda path: path + path).leaves()) == [path + path for path in tree.leaves()]
    assert tree.map(lambda path: path) == tree


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_what_cannot_be_a_share_is_no_weight(weight: float) -> None:
    with pytest.raises(ValueError, match="no weight"):
        Weighted(weight, NEG)


def test_minus_zero_is_shown_as_zero() -> None:
    assert show_weight(-0.0) == "0"


def test_trees_are_hashable_and_equal_by_content() -> None:
    text = "2*/a & /b | ~ | $ | !"
    assert NameTree.read(text) == NameTree.read(text)
    assert len({NameTree.read(text), NameTree.read(text)}) == 1
    assert NameTree.read("/a | /b") != NameTree.read("/b | /a")


def test_trees_cannot_be_changed() -> None:
    leaf = Leaf(1)
    with pytest.raises(AttributeError):
        leaf.value = 2  # type: ignore[misc] # the point of the test


def test_the_ends_stay_single_objects() -> None:
    for end in (NEG, FAIL, EMPTY):
        assert pickle.loads(pickle.dumps(end)) is end  # noqa: S301 - our own bytes
        assert NameTree.read(str(end)) is end
    assert repr((NEG, FAIL, EMPTY)) == "(NEG, FAIL, EMPTY)"


def test_parentheses_are_shown_where_they_are_needed() -> None:
    a, b, c = (Leaf(Path.of(name)) for name in "abc")
    inner = Union((Weighted(2.0, a), Weighted(1.0, b)))
    assert str(Alt((inner, c))) == "2*/a & /b | /c"
    assert str(Union((Weighted(0.5, inner), Weighted(1.0, Alt((b, c)))))) == "0.5*(2*/a & /b) & (/b | /c)"
    assert str(Union((Weighted(0.5, Alt((a,))), Weighted(1.0, Alt(()))))) == "0.5*/a & ~"
