from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import NEG, Alt, Dentry, Dtab, NameTree, Path, Prefix
from tests.dtab.strategies import any_dtabs, dtabs, names, paths


@given(any_dtabs)
def test_what_is_shown_reads_back(dtab: Dtab) -> None:
    assert Dtab.read(str(dtab)) == dtab
    for dentry in dtab:
        assert Dentry.read(str(dentry)) == dentry
        assert Prefix.read(str(dentry.prefix)) == dentry.prefix


def matching(dtab: Dtab, path: Path) -> list[Dentry]:
    """Give the matching entries by looking at every one."""
    return [dentry for dentry in reversed(dtab.dentries) if dentry.prefix.matches(path)]


@given(dtabs, names)
def test_the_index_finds_what_a_look_at_every_entry_finds(dtab: Dtab, path: Path) -> None:
    assert dtab.matching(path) == matching(dtab, path)
    assert dtab.matches(path) == bool(matching(dtab, path))
    assert dtab.matches(Path()) == bool(matching(dtab, Path()))


def alternatives(dtab: Dtab, path: Path) -> list[NameTree[Path]]:
    return [dentry.destination(path) for dentry in matching(dtab, path)]


@given(dtabs, dtabs, paths)
def test_a_sum_tries_the_entries_of_its_second_part_first(one: Dtab, other: Dtab, path: Path) -> None:
    expected = alternatives(other, path) + alternatives(one, path)
    found = (one + other).lookup(path)
    if len(expected) > 1:
        assert found == Alt(tuple(expected))
    else:
        assert [found] == (expected or [NEG])


@given(dtabs, dtabs, dtabs)
def test_sums_can_be_grouped_at_will(one: Dtab, two: Dtab, three: Dtab) -> None:
    assert (one + two) + three == one + (two + three)
    assert hash(one + two) == hash(Dtab(one.dentries + two.dentries))
    assert list(one + two) == [*one, *two]


@given(dtabs, st.data())
def test_a_star_stands_for_exactly_one_segment(dtab: Dtab, data: st.DataObject) -> None:
    path = data.draw(paths)
    star = Dtab([Dentry(Prefix((None,) * len(path)), NEG)])
    assert star.matches(path)
    assert star.matches(path + path)
    assert not star.matches(path.drop(1))


def test_an_escaped_star_is_the_character() -> None:
    dtab = Dtab.read("/\\x2a => /star ; /* => /any")
    assert str(dtab) == "/\\x2a=>/star;/*=>/any"
    assert str(dtab.lookup(Path.of("*"))) == "/any | /star"
    assert str(dtab.lookup(Path.of("x"))) == "/any"


def test_the_rest_goes_after_every_leaf() -> None:
    dtab = Dtab.read("/svc/* => 2*/a & (/b | $) | ~")
    assert str(dtab.lookup(Path.read("/svc/web/x/y"))) == "2*/a/x/y & (/b/x/y | $) | ~"


def test_a_prefix_has_no_empty_elements() -> None:
    with pytest.raises(ValueError, match="empty"):
        Prefix((b"a", b""))


def test_a_dtab_has_no_order_and_adds_only_dtabs() -> None:
    with pytest.raises(TypeError):
        Dtab() + "/a=>/b"  # type: ignore[operator] # the point of the test
    assert Dtab() != ""
    assert repr(Dtab.read("/a=>/b")) == "Dtab.read('/a=>/b')"
