"""Which version a linker has in force that watches over gRPC, in bytes that are written out by hand (`mesh.proto`)."""

from __future__ import annotations

import pytest

from biandou.dtab.protobuf import MalformedMessage
from biandou.live import Live, Source
from biandou.namerd.in_force import InForce, Linker, Standing
from biandou.namerd.interfaces.mesh_in_force import MeshStanding
from biandou.namerd.interfaces.mesh_watch import Wishes
from tests.namerd.test_mesh_watch import field, news, wish

ROOT = field(1, field(1, b"default"))
HELLO = field(2, ROOT + field(2, b"token") + field(3, b"host") + b"\x20\x07")


class Told:
    """A namespace with a version, and a name of it."""

    def __init__(self) -> None:
        self.in_force = InForce(lambda: 1.0)
        self.version: Source[str] = Source()
        self.name: Source[bytes] = Source()
        self.wishes = Wishes(
            {2: lambda _request: self.name}, lambda wake: MeshStanding(self.in_force, self._version, wake)
        )

    def _version(self, namespace: str) -> Live[str]:
        assert namespace == "default"
        return self.version


async def test_a_version_is_told_after_the_names_and_acknowledged() -> None:
    told = Told()
    await told.wishes.take(wish(1, b"a") + HELLO)
    assert told.wishes.news() == b""
    told.version.set("v1")
    told.name.set(b"1")
    assert told.wishes.changed.is_set()
    assert told.wishes.news() == news(1, b"1") + field(2, b"v1")
    assert told.wishes.news() == b""
    await told.wishes.take(field(3, b"v1"))
    linker = Linker("token", "host", 7)
    assert told.in_force.standings("default") == [Standing(linker, "v1", 1.0, connected=True, may_try=False)]
    told.wishes.close()
    assert told.in_force.standings("default") == []
    assert not told.version.observed


async def test_a_name_that_is_not_known_anew_holds_the_version_back() -> None:
    told = Told()
    told.version.set("v1")
    await told.wishes.take(HELLO + wish(1, b"a"))
    # A name that was never told holds nothing back.
    assert told.wishes.news() == field(2, b"v1")
    told.name.set(b"1")
    assert told.wishes.news() == news(1, b"1")
    told.name.forget()
    told.version.set("")
    assert told.wishes.news() == b""
    told.name.set(b"1")
    assert told.wishes.news() == field(2, b"")


@pytest.mark.parametrize(
    "message",
    [
        HELLO + HELLO,
        field(2, b""),
        field(2, field(2, b"token") + field(3, b"host") + b"\x20\x07"),
        field(2, ROOT + field(3, b"host") + b"\x20\x07"),
        field(2, ROOT + field(2, b"token") + field(3, b"host")),
        field(2, ROOT + field(2, b"\xff") + field(3, b"host") + b"\x20\x07"),
        field(2, field(1, field(1, b"a") + field(1, b"b")) + field(2, b"token") + field(3, b"host") + b"\x20\x07"),
        HELLO + field(3, b"\xff"),
        b"\x10\x07",
    ],
)
async def test_a_linker_that_does_not_say_who_it_is_is_refused(message: bytes) -> None:
    told = Told()
    with pytest.raises(MalformedMessage):
        await told.wishes.take(message)
    told.wishes.close()
    assert told.in_force.standings("default") == []


async def test_what_is_said_in_force_before_who_says_so_is_nothing() -> None:
    told = Told()
    await told.wishes.take(field(3, b"v1"))
    assert told.in_force.standings("default") == []
