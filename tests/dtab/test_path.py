from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given

from biandou.dtab import Path
from tests.dtab.strategies import any_paths


@given(any_paths)
def test_what_is_shown_reads_back(path: Path) -> None:
    assert Path.read(str(path)) == path
    assert Path.read(str(path)).segments == path.segments


@given(any_paths, any_paths)
def test_equality_order_and_hash_are_those_of_the_segments(one: Path, other: Path) -> None:
    assert (one == other) == (one.segments == other.segments)
    assert (one < other) == (one.segments < other.segments)
    assert (one >= other) == (one.segments >= other.segments)
    assert hash(one) == hash(Path(one.segments))
    assert one != one.segments


@given(any_paths, any_paths)
def test_a_sum_starts_with_its_first_part_and_ends_with_the_second(one: Path, other: Path) -> None:
    total = one + other
    assert total.starts_with(one)
    assert total.take(len(one)) == one
    assert total.drop(len(one)) == other
    assert len(total) == len(one) + len(other)


def test_of_takes_text_and_bytes_literally() -> None:
    assert Path.of("svc", b"\xff", "a/b", "é").segments == (b"svc", b"\xff", b"a/b", b"\xc3\xa9")


def test_a_segment_with_one_odd_byte_is_escaped_whole() -> None:
    assert str(Path.of("web", "a b")) == "/web/\\x61\\x20\\x62"


def test_slashes_inside_segments_are_not_taken_for_separators() -> None:
    assert str(Path.of("a/b")) == "/\\x61\\x2f\\x62"
    assert str(Path.of("/", "a")) == "/\\x2f/a"


def test_an_empty_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Path((b"a", b""))


def test_a_path_cannot_be_changed() -> None:
    path = Path.of("a")
    with pytest.raises(AttributeError):
        path.segments = (b"b",)
    with pytest.raises(AttributeError):
        del path.segments


def test_a_path_survives_copying() -> None:
    path = Path.of("a", "b")
    assert copy.deepcopy(path) == path
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301 - our own bytes


def test_the_empty_path_is_true_and_has_no_segments() -> None:
    assert Path()
    assert len(Path()) == 0
    assert str(Path()) == "/"


def test_only_paths_add_and_compare() -> None:
    with pytest.raises(TypeError):
        Path() + "/a"  # type: ignore[operator] # the point of the test
    with pytest.raises(TypeError):
        Path() < "/a"  # type: ignore[operator] # the point of the test  # noqa: B015 - raises
