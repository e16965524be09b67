"""Every vector of tests/vectors/naming.json that concerns the language gives what the original implementation gave.

One difference is meant: weights are shown with full precision, where the original shows two decimals.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from biandou.dtab import (
    EMPTY,
    FAIL,
    NEG,
    Alt,
    Dentry,
    Dtab,
    DtabSyntaxError,
    Leaf,
    NameTree,
    Path,
    Prefix,
    Union,
    Weighted,
)
from biandou.dtab.delegate import evaluate
from biandou.dtab.explain import explain, to_json
from biandou.dtab.matcher import PathMatcher, fill
from biandou.errors import DepthExceeded
from biandou.live import Failed, Ok
from tests.dtab.namers import from_vector, tree_json

FILE = pathlib.Path(__file__).parents[1] / "vectors" / "naming.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text())["vectors"]
READERS: dict[str, Callable[[str], Any]] = {
    "path": Path.read,
    "nametree": NameTree.read,
    "prefix": Prefix.read,
    "dentry": Dentry.read,
    "dtab": Dtab.read,
}


USED: set[str] = set()


def of(*groups: str) -> pytest.MarkDecorator:
    USED.update(groups)
    chosen = [pytest.param(v, id=v["id"]) for v in VECTORS if v["group"] in groups]
    assert chosen
    return pytest.mark.parametrize("vector", chosen)


def rounded(shown: str) -> str:
    """Give text with weights as the original shows them."""
    return re.sub(r"(?<![^ (>])([0-9]+(?:\.[0-9]+)?)\*(?=[/(!~$])", lambda match: f"{float(match[1]):.2f}*", shown)


def tree_of(form: Any) -> NameTree[Path]:
    """Give the tree that a vector writes as text or as JSON."""
    if isinstance(form, str):
        return NameTree.read(form)
    if form["type"] == "leaf":
        return Leaf(Path.read(form["path"]))
    if form["type"] == "alt":
        return Alt(tuple(tree_of(branch) for branch in form["trees"]))
    if form["type"] == "union":
        return Union(tuple(Weighted(share["weight"], tree_of(share["tree"])) for share in form["trees"]))
    return {"neg": NEG, "fail": FAIL, "empty": EMPTY}[form["type"]]


def reading(vector: dict[str, Any]) -> tuple[str, str]:
    if vector["group"].startswith("fuzz."):
        return vector["input"]["grammar"], vector["input"]["text"]
    return vector["group"].split(".")[0], vector["input"]


@of(
    "path.parse.invalid",
    "nametree.parse.invalid",
    "prefix.parse.invalid",
    "dentry.parse.invalid",
    "dtab.parse.invalid",
    "fuzz.reject",
)
def test_rejected_with_the_reference_message(vector: dict[str, Any]) -> None:
    kind, text = reading(vector)
    with pytest.raises(DtabSyntaxError) as caught:
        READERS[kind](text)
    assert str(caught.value) == vector["expect"]["message"]
    before = vector["expect"]["message"].split(" found at '", 1)[1].split("[", 1)[0]
    if text.count("[") == 0:
        assert (caught.value.line, caught.value.column) == (
            before.count("\n") + 1,
            len(before) - (before.rfind("\n") + 1) + 1,
        )


@of("path.parse", "nametree.parse", "prefix.parse", "dentry.parse", "dtab.parse", "fuzz.accept")
def test_read_and_shown(vector: dict[str, Any]) -> None:
    kind, text = reading(vector)
    expect = vector["expect"]
    value = READERS[kind](text)
    assert rounded(str(value)) == expect["show"]
    assert READERS[kind](str(value)) == value
    if "labels_hex" in expect:
        assert [segment.hex() for segment in value.segments] == expect["labels_hex"]
    if "tree" in expect:
        assert tree_json(value) == expect["tree"]
    if "size" in expect:
        assert len(value) == expect["size"]
    if "dst" in expect:
        assert (str(value.prefix), tree_json(value.dst)) == (expect["prefix"], expect["dst"])
    if "dentries" in expect:
        shown = [{"prefix": str(dentry.prefix), "dst": rounded(str(dentry.dst))} for dentry in value]
        assert shown == expect["dentries"]


@of("nametree.show")
def test_tree_shown(vector: dict[str, Any]) -> None:
    assert rounded(str(tree_of(vector["input"]))) == vector["expect"]["show"]


@of("nametree.simplify")
def test_tree_simplified(vector: dict[str, Any]) -> None:
    simple = tree_of(vector["input"]).simplified
    assert tree_json(simple) == vector["expect"]["tree"]
    assert rounded(str(simple)) == vector["expect"]["show"]


@of("nametree.eval")
def test_tree_chosen(vector: dict[str, Any]) -> None:
    chosen = tree_of(vector["input"]).chosen
    assert (chosen is None) == vector["expect"]["negative"]
    if chosen is not None:
        assert sorted(map(str, chosen)) == sorted(vector["expect"]["leaves"])


@of("prefix.match")
def test_prefix_matches(vector: dict[str, Any]) -> None:
    prefix, path = Prefix.read(vector["input"]["prefix"]), Path.read(vector["input"]["path"])
    assert prefix.matches(path) == vector["expect"]["matches"]
    assert Dtab([Dentry(prefix, NEG)]).matches(path) == vector["expect"]["matches"]
    if vector["expect"]["matches"]:
        assert str(path.drop(len(prefix))) == vector["expect"]["residual"]


@of("dtab.concat")
def test_dtabs_added(vector: dict[str, Any]) -> None:
    total = sum(map(Dtab.read, vector["input"]), Dtab())
    assert str(total) == vector["expect"]["show"]
    assert len(total) == vector["expect"]["size"]


@of("dtab.simplify")
def test_dtab_simplified(vector: dict[str, Any]) -> None:
    assert str(Dtab.read(vector["input"]).simplified) == vector["expect"]["show"]


@of("dtab.lookup")
def test_dtab_looked_up(vector: dict[str, Any]) -> None:
    tree = Dtab.read(vector["input"]["dtab"]).lookup(Path.read(vector["input"]["path"]))
    assert tree_json(tree) == vector["expect"]["tree"]
    assert rounded(str(tree)) == vector["expect"]["show"]


@of("bind", "override")
def test_name_bound(vector: dict[str, Any]) -> None:
    given, expect = vector["input"], vector["expect"]
    local = sum(map(Dtab.read, given.get("l5d-ctx-dtab", []) + given.get("l5d-dtab", [])), Dtab())
    base = Dtab.read(given["dtab"] if "dtab" in given else given["base"])
    path = Path.read(given["path"])
    ask = from_vector(given.get("namers", ()))
    outcome = evaluate(base, path, ask, local=local)
    if expect["ok"]:
        assert isinstance(outcome.state, Ok), outcome
        assert tree_json(outcome.state.value) == expect["tree"]
        assert evaluate(base + local, path, ask) == outcome
    else:
        assert isinstance(outcome.state, Failed)
        assert str(outcome.state.error) == expect["message"]
        assert isinstance(outcome.state.error, DepthExceeded) == (expect["kind"] == "max-depth")


def with_rounded_weights(form: Any) -> Any:
    if isinstance(form, dict):
        return {key: rounded(value) if key == "dst" else with_rounded_weights(value) for key, value in form.items()}
    return [with_rounded_weights(part) for part in form] if isinstance(form, list) else form


@of("delegate")
def test_name_explained(vector: dict[str, Any]) -> None:
    """The JSON is the reference's to the order of its keys."""
    given = vector["input"]
    explanation = explain(Dtab.read(given["dtab"]), Path.read(given["path"]), from_vector(given.get("namers", ())))
    assert isinstance(explanation.state, Ok)
    shown = with_rounded_weights(to_json(explanation.state.value, lambda bound: None))
    assert json.dumps(shown) == json.dumps(vector["expect"])


@of("pathmatcher.extract")
def test_pattern_captures(vector: dict[str, Any]) -> None:
    given = vector["input"]
    assert PathMatcher(given["expr"]).match(Path.read(given["path"])) == vector["expect"]["vars"]


@of("pathmatcher.substitute")
def test_pattern_substitutes(vector: dict[str, Any]) -> None:
    given = vector["input"]
    result = PathMatcher(given["expr"]).substitute(Path.read(given["path"]), given["pattern"])
    assert result == vector["expect"]["result"]


@of("rewrite_namer")
def test_pattern_rewrites(vector: dict[str, Any]) -> None:
    given = vector["input"]
    captured = PathMatcher(given["pattern"]).match(Path.read(given["path"]))
    if vector["expect"].get("neg"):
        assert captured is None
    else:
        assert captured is not None
        assert fill(given["name"], captured) == vector["expect"]["path"]


@of("namerd.json_dtab")
def test_dtab_of_json(vector: dict[str, Any]) -> None:
    """A dtab written as JSON is read entry by entry; what else of JSON is refused is the HTTP interface's affair."""
    entries = [(one["prefix"], one["dst"]) for one in json.loads(vector["input"])]
    dtab = Dtab([Dentry(Prefix.read(prefix), NameTree.read(dst)) for prefix, dst in entries])
    assert str(dtab) == vector["expect"]["show"]
    assert [{"prefix": str(d.prefix), "dst": str(d.dst)} for d in dtab] == vector["expect"]["json"]


def test_no_group_is_left_out() -> None:
    """Each group of the file has a test above; a new group has to be given one."""
    assert {v["group"] for v in VECTORS} == USED
