from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import Dentry, Dtab, DtabSyntaxError, NameTree, Path, Prefix
from biandou.dtab.parse import MAX_NESTING
from biandou.errors import BiandouError

READERS: tuple[Callable[[str], object], ...] = (Path.read, Prefix.read, NameTree.read, Dentry.read, Dtab.read)


def mistake(text: str) -> DtabSyntaxError:
    with pytest.raises(DtabSyntaxError) as caught:
        Dtab.read(text)
    return caught.value


def test_the_error_is_a_value_error_and_one_of_ours() -> None:
    error = mistake("x")
    assert isinstance(error, ValueError)
    assert isinstance(error, BiandouError)
    assert error.fault == "user"


def test_line_and_column_count_from_one() -> None:
    error = mistake("/a => /b ;\n# note\n/c -> /d")
    assert (error.line, error.column) == (3, 4)
    assert "'=' expected but '-' found" in str(error)
    end = mistake("/a =>\n ")
    assert (end.line, end.column) == (2, 2)
    assert "simple expected but end of input found" in str(end)


def test_a_long_text_is_quoted_around_the_mistake() -> None:
    text = "/a=>/b;" * 1000 + "?" + "/a=>/b;" * 1000
    assert "…" in str(mistake(text))
    assert "[?]" in str(mistake(text))
    assert len(str(mistake(text))) < 1000
    assert mistake(text).column == 7001


@pytest.mark.parametrize(("text", "found"), [("/\\", "'x' expected"), ("/\\x1", "hex char"), ("/a\\q", "'x' expected")])
def test_a_broken_escape_is_named(text: str, found: str) -> None:
    with pytest.raises(DtabSyntaxError, match=found):
        Path.read(text)


def test_parentheses_nest_to_a_limit() -> None:
    deep = "(" * MAX_NESTING + "/a" + ")" * MAX_NESTING
    assert NameTree.read(deep) == NameTree.read("/a")
    with pytest.raises(DtabSyntaxError, match="nested parentheses"):
        NameTree.read("(" + deep + ")")
    with pytest.raises(DtabSyntaxError, match="nested parentheses"):
        NameTree.read("(" * 1_000_000)


def test_the_limit_is_for_nesting_not_for_number() -> None:
    assert len(str(NameTree.read(" | ".join(["(/a & /b)"] * 1000)))) > 1000


def test_a_weight_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(DtabSyntaxError, match="weight expected"):
        NameTree.read("9" * 400 + "*/a & /b")


@pytest.mark.parametrize(
    "text",
    [
        "/a" * 200_000,
        "/" + "\\x61" * 200_000,
        " " * 400_000 + "x",
        "#" * 400_000,
        "# \n" * 200_000,
        "9" * 400_000,
        "/a=>/b;" * 20_000,
        "/a=>" + "/b|" * 50_000 + "~",
        "/a=>" + "1*" * 200_000,
    ],
    ids=lambda text: text[:6],
)
def test_long_hostile_text_takes_bounded_time(text: str) -> None:
    start = time.process_time()
    for read in READERS:
        try:
            read(text)
        except DtabSyntaxError:
            continue
    assert time.process_time() - start < 5


@given(st.text(alphabet="/ab*\\x6 =>;|&()~!$#.09\n\u2003é\x00\x85", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    lines = text.split("\n")
    for read in READERS:
        try:
            value = read(text)
        except DtabSyntaxError as error:
            line, column = error.line, error.column
        else:
            assert read(str(value)) == value
            continue
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


@pytest.mark.parametrize("char", ["\u00a0", "\u2007", "\u202f", "\x85"])
def test_no_break_spaces_are_not_white_space(char: str) -> None:
    with pytest.raises(DtabSyntaxError):
        Path.read(char + "/a")
