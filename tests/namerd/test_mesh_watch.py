"""What one linker watches in one stream, in bytes that are written out by hand (`mesh.proto`)."""

from __future__ import annotations

from collections import defaultdict

import pytest

from biandou.dtab.protobuf import MalformedMessage
from biandou.errors import BindingError
from biandou.live import Live, Source
from biandou.namerd.interfaces import mesh_watch
from biandou.namerd.interfaces.mesh_watch import Wishes


def field(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes((number << 3 | 2, len(value))) + value


def wish(number: int, request: bytes | None = None) -> bytes:
    """A `WatchReq` of one wish for what the request names; without one the wish ends."""
    return field(1, bytes((8, number)) + (b"" if request is None else field(2, request)))


def news(number: int, told: bytes) -> bytes:
    return field(1, bytes((8, number)) + field(2, told))


class Told:
    """What may be watched: a source for each request."""

    def __init__(self) -> None:
        self.sources: defaultdict[bytes, Source[bytes]] = defaultdict(Source)
        self.wishes = Wishes({2: self.follow})

    def follow(self, request: bytes) -> Live[bytes]:
        if request == b"no":
            raise BindingError("never heard of it")
        return self.sources[request]


async def test_each_wish_is_told_what_it_comes_to_and_of_changes_the_last() -> None:
    told = Told()
    await told.wishes.take(wish(1, b"a") + wish(2, b"b"))
    assert told.wishes.news() == b""
    told.sources[b"a"].set(b"1")
    assert told.wishes.changed.is_set()
    told.sources[b"b"].set(b"2")
    told.sources[b"a"].set(b"3")
    assert told.wishes.news() == news(1, b"3") + news(2, b"2")
    assert not told.wishes.changed.is_set()
    # What is as it was told is no news.
    told.sources[b"a"].set(b"4")
    told.sources[b"a"].set(b"3")
    assert told.wishes.news() == b""


async def test_a_wish_that_ends_is_watched_no_more_and_its_number_is_free() -> None:
    told = Told()
    await told.wishes.take(wish(1, b"a"))
    told.sources[b"a"].set(b"1")
    await told.wishes.take(wish(1))
    assert not told.sources[b"a"].observed
    assert told.wishes.news() == b""
    await told.wishes.take(wish(1, b"b") + wish(9))
    told.sources[b"b"].set(b"2")
    assert told.wishes.news() == news(1, b"2")
    told.wishes.close()
    assert not told.sources[b"b"].observed


async def test_a_failure_ends_its_own_wish_alone() -> None:
    told = Told()
    await told.wishes.take(wish(1, b"a") + wish(2, b"no") + wish(3, b"c"))
    told.sources[b"a"].fail(BindingError("gone"))
    told.sources[b"c"].set(b"3")
    refusals = [
        field(1, bytes((8, number)) + field(3, bytes((8, 13)) + field(2, why)))
        for number, why in ((2, b"never heard of it"), (1, b"gone"))
    ]
    assert told.wishes.news() == b"".join(refusals) + news(3, b"3")
    assert not told.sources[b"a"].observed
    await told.wishes.take(wish(1, b"c"))
    assert told.wishes.news() == news(1, b"3")


async def test_one_linker_may_watch_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_watch, "MAX_WISHES", 2)
    told = Told()
    await told.wishes.take(wish(1, b"a") + wish(2, b"b") + wish(3, b"c"))
    refusal = bytes((8, 8)) + field(2, b"more than 2 names are watched")
    assert told.wishes.news() == field(1, bytes((8, 3)) + field(3, refusal))
    assert b"c" not in told.sources


async def test_what_is_too_long_for_one_message_is_told_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_watch, "MAX_NEWS", 10)
    told = Told()
    await told.wishes.take(b"".join(wish(number, b"%d" % number) for number in range(1, 5)))
    for number in range(1, 5):
        told.sources[b"%d" % number].set(bytes(8))
    assert told.wishes.news() == news(1, bytes(8))
    assert told.wishes.changed.is_set()
    assert [told.wishes.news() for _ in range(4)] == [*(news(number, bytes(8)) for number in (2, 3, 4)), b""]


@pytest.mark.parametrize(
    "message", [wish(1, b"a") + wish(1, b"b"), b"\x0a\x7f", field(1, b"\x0a\x01a"), b"\x08\x01\xff"]
)
async def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        await Told().wishes.take(message)
