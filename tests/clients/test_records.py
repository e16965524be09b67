"""Records are bounded in number, size and age."""

from __future__ import annotations

from dataclasses import dataclass

from biandou.clients.records import Records


@dataclass(frozen=True)
class One:
    at: float = 0.0
    size: int = 1


def test_those_kept_first_go_first() -> None:
    records: Records[str, One] = Records(2, 100)
    for key in "abc":
        records.keep(key, One(at=records.now()))
    assert [key for key in "abc" if records.get(key) is not None] == ["b", "c"]
    records.keep("b", One(at=records.now()))
    records.keep("d", One(at=records.now()))
    assert [key for key in "abcd" if records.get(key) is not None] == ["b", "d"]


def test_there_is_room_for_so_much() -> None:
    records: Records[str, One] = Records(100, 10)
    records.keep("a", One(size=6))
    records.keep("a", One(size=5))
    records.keep("b", One(size=5))
    assert records.get("a") is not None
    records.keep("c", One(size=1))
    assert records.get("a") is None
    records.keep("d", One(size=11))
    assert [key for key in "abcd" if records.get(key) is not None] == []


def test_what_is_too_old_is_not_given() -> None:
    records: Records[str, One] = Records(100, 100, lambda: 100.0)
    records.max_age_secs = 10.0
    for key, at in (("old", 89.0), ("young", 91.0), ("new", 99.0)):
        records.keep(key, One(at=at))
    assert records.get("old") is None
    assert [one.at for one in records.latest()] == [99.0, 91.0]


def test_unwanted_ones_are_forgotten() -> None:
    records: Records[str, One] = Records(3, 100, lambda: 0.0)
    for key in "abc":
        records.keep(key, One())
    records.forget_all(lambda key: key != "b")
    records.forget("not there")
    assert [key for key in "abc" if records.get(key) is not None] == ["b"]
