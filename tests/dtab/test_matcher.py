from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from biandou.dtab import Path
from biandou.dtab.matcher import PathMatcher, fill


def match(pattern: str, path: str) -> dict[str, str] | None:
    return PathMatcher(pattern).match(Path.read(path))


def test_a_capture_has_to_fill_its_segment() -> None:
    """The reference searches anywhere in a segment; the intention is the whole segment."""
    assert match("/foo{x}", "/foobar") == {"x": "bar"}
    assert match("/foo{x}", "/zfoobar") is None
    assert match("/{x}foo", "/barfooz") is None


def test_a_star_beyond_the_end_does_not_match() -> None:
    """The reference throws."""
    assert match("/a/*", "/a") is None
    assert match("/*/*", "/a") is None


def test_a_dash_makes_braces_literal() -> None:
    assert match("/\\x7bmy-var\\x7d", "/x") is None
    assert PathMatcher("/{my-var}").match(Path.of("x")) is None
    assert fill("{my-var}", {"my-var": "x"}) == "{my-var}"


def test_captures_take_as_much_as_they_can() -> None:
    assert match("/{a}.{b}", "/x.y.z") == {"a": "x.y", "b": "z"}
    assert match("/{a}{b}", "/xy") == {"a": "xy", "b": ""}
    assert match("/a{x}a", "/a") is None


def test_special_characters_are_literal() -> None:
    assert match("/a.c", "/abc") is None
    assert match("/a$", "/a$") == {}


def test_segments_are_compared_as_they_are_shown() -> None:
    assert match("/{x}", "/a\\x20b") == {"x": "\\x61\\x20\\x62"}


@given(
    st.lists(st.sampled_from(["{p}", "{q}", "{r}", "a", "ab", "."]), min_size=1, max_size=6).map("".join),
    st.text("ab.", min_size=1, max_size=8),
)
def test_matching_by_hand_agrees_with_greedy_regular_expressions(pattern: str, text: str) -> None:
    parts = re.split(r"\{([pqr])\}", pattern)
    expression = "(.*)".join(re.escape(part) for part in parts[::2])
    expected = re.fullmatch(expression, text)
    captured = PathMatcher("/" + pattern).match(Path.of(text))
    if expected is None:
        assert captured is None
    else:
        assert captured == dict(zip(parts[1::2], expected.groups(), strict=True))


def test_a_hostile_name_takes_bounded_time() -> None:
    matcher = PathMatcher("/" + "a".join(f"{{x{number}}}" for number in range(30)) + "b")
    start = time.process_time()
    assert matcher.match(Path.of("a" * 50_000)) is None
    assert time.process_time() - start < 1


def test_patterns_are_equal_by_text() -> None:
    assert PathMatcher("/a") == PathMatcher("/a")
    assert len({PathMatcher("/a"), PathMatcher("/a"), PathMatcher("/b")}) == 2
    assert PathMatcher("/a/*").substitute(Path.of("b"), "x") is None
    assert len(PathMatcher("/a/*")) == 2
