"""Which version a linker has in force that watches over gRPC, in bytes that are written out by hand (`mesh.proto`)."""

from __future__ import annotations

import pytest

from biandou.dtab import Dtab
from biandou.dtab.protobuf import MalformedMessage
from biandou.live import Live, Ok, Source
from biandou.namerd.in_force import InForce, Linker, Standing
from biandou.namerd.interfaces.mesh_in_force import MeshStanding
from biandou.namerd.interfaces.mesh_watch import Wishes
from biandou.namerd.rollout import Rollout, Terms
from biandou.namerd.sight import View
from tests.namerd.test_mesh_watch import field, news, wish

ROOT = field(1, field(1, b"default"))
ROLLOUT = Rollout("r1", Dtab.read("/svc => /new"), b"7", Terms(0.5, 60.0, 0.01, 100))
HELLO = field(2, ROOT + field(2, b"token") + field(3, b"host") + b"\x20\x07")


class Told:
    """A namespace with a version, and a name of it."""

    def __init__(self) -> None:
        self.in_force = InForce(lambda: 1.0)
        self.version: Source[str] = Source()
        self.name: Source[bytes] = Source()
        self.trial: Source[Rollout | None] = Source(Ok(None))
        self.tried: Source[bytes] = Source()
        self.wishes = Wishes(
            {2: lambda _request: self.name, 3: lambda _request: self.name},
            lambda wake: MeshStanding(self.in_force, self._view, wake),
            self._tried,
        )

    def _view(self, namespace: str, linker: Linker) -> Live[View]:
        assert (namespace, linker) == ("default", Linker("token", "host", 7))
        return self.trial.flat_map(lambda trial: self.version.map(lambda version: View(version, trial)))

    def _tried(self, request: bytes, namespace: str, rollout: Rollout) -> Live[bytes]:
        assert (request, namespace, rollout) == (b"a", "default", ROLLOUT)
        return self.tried


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
    assert told.in_force.standings("default") == [Standing(linker, "v1", 1.0, connected=True, may_try=True)]
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


async def test_who_tries_another_dtab_is_told_names_by_it_then_its_version_and_goes_back() -> None:
    told = Told()
    told.name.set(b"1")
    told.version.set("v1")
    await told.wishes.take(HELLO + wish(1, b"a") + field(1, b"\x08\x02" + field(3, b"b")))
    assert told.wishes.news() == news(1, b"1") + news(2, b"1") + field(2, b"v1")
    told.version.set("v1+r1")
    told.trial.set(ROLLOUT)
    # The name is not known through it yet.
    assert told.wishes.news() in (b"", field(2, b"v1+r1")[:0])
    told.tried.set(b"other")
    assert told.wishes.news() == news(1, b"other") + field(2, b"v1+r1"), "what is no name stays"
    told.name.set(b"2")
    assert told.wishes.news() == news(2, b"2")
    told.version.set("v1")
    told.trial.set(None)
    assert told.wishes.news() == news(1, b"2") + field(2, b"v1")
    assert not told.tried.observed
    told.wishes.close()
    assert not told.name.observed
