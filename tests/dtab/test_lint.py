"""`lint`: each probable mistake is found where it stands, what is meant so is not, and no dtab makes it raise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import Dtab, Path
from biandou.dtab.delegate import evaluate
from biandou.dtab.lint import Finding, Served, lint
from biandou.dtab.lint_weights import misleading
from biandou.dtab.placed import read_placed
from biandou.dtab.tree import NEG
from biandou.errors import DepthExceeded
from biandou.live import Failed, Ok
from tests.dtab.strategies import any_dtabs, dtabs

SERVED = Served(frozenset({b"inet", b"nil"}), (Path.read("/#/io.l5d.fs"), Path.read("/#/a/deep/one")))


def found(text: str, served: Served = SERVED) -> list[str]:
    return [f"{one.line}:{one.column} {one.code}" for one in lint(text, served)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "/svc => /#/io.l5d.fs",
        "/srv => /#/io.l5d.fs ; /svc => /srv ; /svc/web => 0.9*/srv/web & 0.1*/srv/web-v2 ;",
        # A fallback: the last is tried first.
        "/svc => /$/inet/127.0.0.1/80 ; /svc => /#/io.l5d.fs ;",
        "/svc => /#/io.l5d.fs ; /svc/web => /#/io.l5d.fs/other | ! ;",
        "/svc => 3*/#/io.l5d.fs/a & 1*/#/io.l5d.fs/b ; /svc => /#/a ; /a => /#/a/deep",
        "/host => /#/io.l5d.fs ; /svc/* => /host ;",
        # What follows leads to an entry.
        "/a/b => /#/io.l5d.fs ; /svc => /a ;",
        "/svc => 0*/#/io.l5d.fs/a & /#/io.l5d.fs/b",
        "/svc/shrinks/* => /svc/shrinks ;",
    ],
)
def test_what_is_meant_so_is_not_blamed(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        # Entries
        ("/svc => /#/io.l5d.fs ;\n\n  /svc => ! ;", ["1:1 shadowed"]),
        ("/svc/web => /#/io.l5d.fs ; /svc/* => /$/inet/h/80", ["1:1 shadowed"]),
        ("/svc => /#/io.l5d.fs ; /x => /$/nil ; /svc => /x ;", ["1:1 shadowed"]),
        ("/svc => /#/io.l5d.fs ; /svc => /#/io.l5d.fs", ["1:1 duplicate"]),
        ("/svc/web => /#/io.l5d.fs/x ; /svc => /#/io.l5d.fs", ["1:1 overtaken"]),
        ("/svc => /#/io.l5d.fs ; /svc => ~ | ~", ["1:24 no-effect"]),
        # Loops
        ("/a => /a", ["1:1 loop"]),
        ("/a => /#/io.l5d.fs | /b ;\n/b => /a ;", ["1:1 loop"]),
        ("/a/b => /c ; /c/d => /a/b/d", ["1:14 loop"]),
        ("/a => /a/x", ["1:1 loop"]),
        ("/* => /a/x", ["1:1 loop"]),
        ("/a => ! | /a", ["1:11 dead-branch"]),
        ("/a => /b ; /b => /c ; /c => /b", ["1:12 loop"]),
        # Branches
        ("/a => /#/io.l5d.fs | ! | /#/io.l5d.fs/b", ["1:26 dead-branch"]),
        ("/a => # why => so\n  /$/inet/h/80 | /#/io.l5d.fs", ["2:18 dead-branch"]),
        ("/a => /#/io.l5d.fs | ~ | /#/io.l5d.fs/b", ["1:22 dead-branch"]),
        ("/a => /#/io.l5d.fs | (/#/io.l5d.fs)", ["1:23 dead-branch"]),
        ("/a => (/#/io.l5d.fs & !) | /#/io.l5d.fs/b", ["1:23 dead-branch"]),
        ("/a => /b", ["1:7 dead-end"]),
        # Namers
        ("/a => /#/io.l5d.consul/dc1", ["1:7 unserved"]),
        ("/a => /#/a/shallow/one", ["1:7 unserved"]),
        ("/a => /#/io.l5d.fs & /$/inett/80", ["1:22 unserved"]),
        # Weights
        ("/a => 0.9*/#/io.l5d.fs/a & /#/io.l5d.fs/b", ["1:11 weights"]),
    ],
)
def test_a_mistake_is_found_where_it_stands(text: str, findings: list[str]) -> None:
    assert found(text) == findings


def test_a_namer_is_not_missed_when_nobody_knows_which_there_are() -> None:
    assert found("/a => /#/io.l5d.consul/dc1", Served(frozenset())) == []
    assert found("/a => /#/io.l5d.consul/dc1", Served(frozenset(), ())) == ["1:7 unserved"]


def test_a_finding_says_what_is_tried_instead() -> None:
    (one,) = lint("/svc/web => /#/io.l5d.fs/x ;\n/svc => ! ;", SERVED)
    assert one == Finding(
        1,
        1,
        "shadowed",
        "/svc/web => /#/io.l5d.fs/x is never tried: /svc => ! (line 2) is tried before it, and never comes to ~.",
    )


def test_a_loop_is_shown() -> None:
    (one,) = lint("/a/* => /b ; /b => /a/x", SERVED)
    assert one.message == "/b comes back to itself: /b → /a/x → /b."


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((1.0, 1.0), None),
        ((3.0, 1.0), None),
        ((0.9, 0.1), None),
        ((0.33, 0.33, 0.33), None),
        ((90.0, 10.0), None),
        ((33.0, 33.0, 33.0), None),
        ((0.0, 1.0), None),
        ((0.9, 0.2), "The weights look like parts of 1 but add up to 1.1 (0.9, 0.2): they share 81.8%, 18.2%."),
        ((90.0, 20.0), "The weights look like percents but add up to 110 (90, 20): they share 81.8%, 18.2%."),
        (
            (0.1, 1.0),
            "A branch without a weight, or of weight 1, stands beside fractions (0.1, 1): they share 9.1%, 90.9%.",
        ),
        ((0.5, 50.0), "Fractions stand beside weights above 1 (0.5, 50): they share 1%, 99%."),
        ((0.0, 0.0), "All weights are 0: the branches share evenly."),
        ((1e308, 1e308), "The weights are too large to be added up."),
    ],
)
def test_weights_are_blamed_when_they_share_otherwise_than_they_look(
    weights: tuple[float, ...], said: str | None
) -> None:
    assert misleading(weights) == said


@given(st.one_of(any_dtabs, dtabs))
def test_no_dtab_that_can_be_read_makes_it_raise_and_places_are_in_the_text(dtab: Dtab) -> None:
    text = " ;\n".join(f"{dentry.prefix} => # to\n  {dentry.dst}" for dentry in dtab)
    for served in (SERVED, Served(frozenset())):
        for one in lint(text, served):
            line = text.split("\n")[one.line - 1]
            assert 1 <= one.column <= len(line)
    assert tuple(entry.dentry for entry in read_placed(text).entries) == Dtab.read(text).dentries


@given(dtabs)
def test_what_is_called_shadowed_can_be_left_out(dtab: Dtab) -> None:
    """Whatever the namers say, no name goes elsewhere without the entries that are never tried, or change nothing."""
    entries = [str(dentry) for dentry in dtab]
    lines = {one.line for one in lint(" ;\n".join(entries), SERVED) if one.code in ("shadowed", "duplicate")}
    less = Dtab(dentry for number, dentry in enumerate(dtab, 1) if number not in lines)
    for dentry in dtab:
        path = Path(tuple(b"a" if element is None else element for element in dentry.prefix.elements))
        before, after = (evaluate(one, path, lambda _: Ok(NEG)).state for one in (dtab, less))
        if not isinstance(before, Failed):
            assert before == after


@given(dtabs)
def test_names_that_are_too_deep_are_found(dtab: Dtab) -> None:
    codes = {one.code for one in lint(str(dtab).replace(";", ";\n"), Served(frozenset()))}
    for dentry in dtab:
        path = Path(tuple(b"zz" if element is None else element for element in dentry.prefix.elements))
        state = evaluate(dtab, path, lambda _: Ok(NEG)).state
        if isinstance(state, Failed) and isinstance(state.error, DepthExceeded):
            assert "loop" in codes


@pytest.mark.parametrize(
    "text",
    [
        ";".join(f"/svc/s{number} => /a{number} | /#/io.l5d.fs" for number in range(10_000)),
        ";".join(f"/svc => /#/io.l5d.fs/{number}" for number in range(10_000)),
        ";".join(f"/a{number} => /a{number + 1}" for number in range(10_000)),
        ";".join(f"/a{number} => /a{number + 1}/x & /a{number + 1}/y" for number in range(1000)),
        "/a => " + "(" * 60 + "/a/x & /a/y" + ")" * 60,
        ";".join("/a" + "/*" * number + " => /a" + "/b" * number for number in range(500)),
    ],
)
def test_a_large_or_hostile_table_is_looked_through_in_seconds(text: str) -> None:
    began = time.process_time()
    lint(text, SERVED)
    assert time.process_time() - began < 20
