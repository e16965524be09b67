from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given

from biandou.dtab import EMPTY, FAIL, NEG, Alt, Dtab, Leaf, Path, Union, Weighted
from biandou.dtab.bound import Bound
from biandou.dtab.delegate import Answer, evaluate
from biandou.dtab.explain import Alternatives, Delegation, Found, Step, Transformed, explain, map_found, to_json
from biandou.live import PENDING, Failed, Ok
from tests.dtab.namers import bound
from tests.dtab.strategies import dtabs, names

ADDR = {"type": "neg"}


def shown(dtab: str, path: str, answers: Mapping[str, Answer] | None = None) -> Any:
    answers = answers or {}
    state = explain(Dtab.read(dtab), Path.read(path), lambda asked: answers.get(str(asked), Ok(NEG))).state
    assert isinstance(state, Ok), state
    return to_json(state.value, lambda bound: ADDR)


def test_a_leaf_shows_its_address_id_and_residual_in_this_order() -> None:
    leaf = bound(Path.read("/#/fs/web"), Path.read("/x"))
    tree = shown("/svc => /#/fs", "/svc/web/x", {"/#/fs/web/x": Ok(leaf)})
    assert json.dumps(tree["delegate"]) == (
        '{"type": "leaf", "path": "/#/fs/web/x", "dentry": {"prefix": "/svc", "dst": "/#/fs"}, '
        '"bound": {"addr": {"type": "neg"}, "id": "/#/fs/web", "path": "/x"}}'
    )


def test_nothing_is_said_while_a_namer_on_the_way_is_silent() -> None:
    dtab = Dtab.read("/x => /a | /wait")
    explanation = explain(dtab, Path.of("x"), lambda path: PENDING if path == Path.of("wait") else Ok(NEG))
    assert explanation.state is PENDING
    assert explanation.paths == {Path.of("x"), Path.of("a"), Path.of("wait")}


def test_the_branches_after_the_one_taken_are_shown() -> None:
    tree = shown("/x => /a | /b", "/x", {"/a": Ok(bound(Path.of("a"))), "/b": Failed(ValueError("no luck"))})
    assert [branch["type"] for branch in tree["alt"]] == ["leaf", "exception"]
    assert tree["alt"][1]["message"] == "no luck"


def test_a_loop_ends_in_the_reference_message() -> None:
    tree = shown("/a => /b ; /b => /a", "/a")
    while "delegate" in tree:
        tree = tree["delegate"]
    assert (tree["type"], tree["message"]) == ("exception", "Max recursion level reached.")
    assert json.dumps(shown("/a => (/a | /b) & (/c | /a)", "/a"))


@pytest.mark.parametrize("dtab", ["/x => /x | /x", "/x => /x/a & /x/b | /x", "/x => " + "(" * 60 + "/x|~" + ")&~" * 60])
def test_names_that_multiply_end_in_bounded_time(dtab: str) -> None:
    start = time.process_time()
    tree = shown(dtab, "/x")
    assert "Max recursion level reached." in json.dumps(tree)
    assert time.process_time() - start < 3


def test_dentries_that_say_neg_are_shown_unless_a_namer_knows_the_name() -> None:
    assert shown("/x => ~", "/x")["delegate"]["path"] == "~"
    assert shown("/x => ~", "/x", {"/x": Ok(bound(Path.of("x")))})["type"] == "leaf"


def test_trees_from_namers_are_shown_at_the_path_asked_for() -> None:
    leaf = bound(Path.of("a"))
    tree = Union((Weighted(0.25, leaf), Weighted(1.0, Alt((FAIL, EMPTY)))))
    shape = shown("", "/x", {"/x": Ok(tree)})
    assert [share["weight"] for share in shape["union"]] == [0.25, 1.0]
    assert shape["union"][1]["tree"] == {
        "type": "alt",
        "path": "/x",
        "alt": [{"type": "fail", "path": "!"}, {"type": "empty", "path": "/x"}],
    }
    assert shown("", "/x", {"/x": Ok(Union(()))})["type"] == "neg"
    assert shown("", "/x", {"/x": Ok(Union((Weighted(2, leaf),)))})["type"] == "leaf"
    assert shown("", "/x", {"/x": Ok(Alt(()))})["type"] == "neg"


def test_a_transformation_shows_both_names_and_no_dentry() -> None:
    def transform(found: Found) -> Delegation:
        after = Bound(Path.read("/%/port/80") + found.bound.id, found.bound.addresses)
        return Transformed(
            path=found.path, dentry=None, name="Port", before=found.bound, tree=replace(found, bound=after)
        )

    state = explain(
        Dtab.read("/x => 2*/a & /b | /c"), Path.of("x"), lambda path: Ok(bound(path) if len(path) else NEG)
    ).state
    assert isinstance(state, Ok)
    mapped = to_json(map_found(state.value, transform), lambda bound: None)
    leaf = mapped["alt"][0]["union"][0]["tree"]
    assert list(leaf) == ["type", "path", "name", "bound", "tree"]
    assert leaf["bound"] == {"id": "/a", "path": "/"}
    assert leaf["tree"]["bound"] == {"id": "/%/port/80/a", "path": "/"}
    assert mapped["alt"][1]["type"] == "transformation"


@given(dtabs, names)
def test_the_first_way_that_is_shown_is_the_one_that_binds(dtab: Dtab, path: Path) -> None:
    """Where the shown delegation is whole, and a plain chain to a bound name, binding comes to the same one."""

    def ask(asked: Path) -> Answer:
        return Ok(bound(asked)) if asked.segments[:1] == (b"#",) else Ok(NEG)

    explanation = explain(dtab, path, ask)
    outcome = evaluate(dtab, path, ask)
    assert isinstance(explanation.state, Ok)
    assume("Max recursion level reached." not in repr(explanation.state.value))
    if isinstance(outcome.state, Ok):
        assert outcome.paths <= explanation.paths
    tree = explanation.state.value
    while isinstance(tree, Step | Alternatives):
        tree = tree.tree if isinstance(tree, Step) else tree.trees[0]
    if isinstance(tree, Found):
        assert outcome.state == Ok(Leaf(tree.bound))
