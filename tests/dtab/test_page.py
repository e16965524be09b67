"""The page about the language (docs/road/dtab.md) says what is so."""

from __future__ import annotations

import doctest
import pathlib
import re

from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.delegate import MAX_DEPTH, MAX_STEPS, evaluate
from biandou.dtab.parse import MAX_NESTING
from biandou.live import Ok
from tests.dtab.namers import bound

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "road" / "dtab.md"
TEXT = PAGE.read_text()
DTABS = re.findall(r"^```dtab\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_its_python_examples_give_what_it_shows() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted > 5
    assert results.failed == 0


def test_its_dtabs_read() -> None:
    assert [len(Dtab.read(text)) for text in DTABS] == [4, 1]


def test_its_first_dtab_goes_where_it_says() -> None:
    dtab = Dtab.read(DTABS[0])
    api = evaluate(dtab, Path.read("/svc/api"), lambda path: Ok(bound(path)))
    assert {str(path) for path in api.paths} == {"/svc/api", "/host/api", "/srv/api", "/#/io.l5d.fs/api"}
    web = evaluate(dtab, Path.read("/svc/web"), lambda path: Ok(bound(path))).state
    assert isinstance(web, Ok)
    shares = web.value.map(lambda found: found.id)
    assert shares == NameTree.read("0.9*/#/io.l5d.fs/web & 0.1*/#/io.l5d.fs/web-v2")


def test_its_limits_are_the_limits() -> None:
    assert f"at most {MAX_DEPTH} levels" in TEXT
    assert f"at most {MAX_STEPS:,} places" in TEXT
    assert f"at most {MAX_NESTING} deep" in TEXT
