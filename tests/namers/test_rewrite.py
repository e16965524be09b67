"""The rewrite namer."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest

from biandou.dtab import NEG, Leaf, Path
from biandou.live import Failed, Ok
from biandou.namers.rewrite import RewriteNamerKind

VECTORS = json.loads((FilePath(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]


def kind(pattern: str, name: str) -> RewriteNamerKind:
    written = {"kind": "io.l5d.rewrite", "prefix": "/r", "pattern": pattern, "name": name}
    return msgspec.convert(written, RewriteNamerKind)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "rewrite_namer"], ids=lambda v: v["id"])
def test_paths_become_what_the_reference_says(vector: dict[str, Any]) -> None:
    given = vector["input"]
    namer = kind(given["pattern"], given["name"]).namer()
    assert namer.lookup(Path.read(given["path"])).sample() == Ok(Leaf(Path.read(vector["expect"]["path"])))


@pytest.mark.parametrize("path", ["/", "/a", "/b/x", "/xa/y"])
def test_a_path_that_does_not_begin_as_the_pattern_is_negative(path: str) -> None:
    assert kind("/a/{x}", "/n/{x}").namer().lookup(Path.read(path)).sample() == Ok(NEG)


def test_an_empty_capture_that_leaves_no_path_fails() -> None:
    state = kind("/a{x}", "/n/{x}").namer().lookup(Path.read("/a")).sample()
    assert isinstance(state, Failed)
    assert str(state.error).startswith("/#/r: ")


@pytest.mark.parametrize(
    ("pattern", "name", "message"),
    [
        ("/a", "/n/{x}", "name uses {x}, which pattern does not capture"),
        ("/{x}", "n", "expected but"),
        ("/a", "/n//", "expected"),
    ],
)
def test_a_name_that_can_never_be_a_path_is_refused_at_once(pattern: str, name: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        kind(pattern, name)


def test_the_prefix_must_be_given() -> None:
    with pytest.raises(msgspec.ValidationError, match="prefix"):
        msgspec.convert({"kind": "io.l5d.rewrite", "pattern": "/a", "name": "/b"}, RewriteNamerKind)


def test_the_namer_answers_below_its_prefix() -> None:
    assert str(kind("/a", "/b").namer().prefix) == "/#/r"
