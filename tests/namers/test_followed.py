"""What a namer keeps of one name that it follows at a registry."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from biandou.live import Ok, Pending, Source, State
from biandou.namers import followed as module
from biandou.namers.followed import LOG_NAMES, Followed, Memory, Registry

Addresses = tuple[str, ...]


def followed(
    registry: Registry, source: Source[Addresses], memory: Memory[Addresses], name: str = "web"
) -> Followed[Addresses]:
    return Followed(registry, name, f"/v1/{name}", source, memory)


def state_of(source: Source[Addresses]) -> State[Addresses]:
    return source.state


@pytest.fixture
def registry() -> Registry:
    return Registry("registry at 127.0.0.1:1")


def test_what_a_registry_says_holds_while_it_fails(registry: Registry) -> None:
    source, memory = Source[Addresses](), Memory[Addresses](Addresses)
    one = followed(registry, source, memory)
    assert not one.fail(ValueError("garbage"))
    assert isinstance(state_of(source), Pending)
    one.tell(("a",), "7")
    assert one.fail(ValueError("gone"))
    assert state_of(source) == Ok(("a",))
    assert (one.origin.version, one.origin.error) == ("7", "gone")
    one.confirm()
    assert one.origin.error is None


async def test_what_was_known_of_old_is_used_when_the_registry_fails_and_not_before(registry: Registry) -> None:
    source, memory = Source[Addresses](), Memory[Addresses](Addresses)
    first = followed(registry, source, memory)
    first.tell(("a",))
    first.close()
    second = followed(registry, source, memory)
    assert isinstance(state_of(source), Pending)
    assert second.fail(ValueError("gone"))
    assert state_of(source) == Ok(("a",))
    # It says from when that is.
    assert second.origin.remembered
    assert second.origin.confirmed_at is not None
    assert second.origin.confirmed_at >= (first.origin.confirmed_at or 0)
    second.tell(("b",))
    assert not second.origin.remembered


def test_what_cannot_be_kept_is_left_out_and_fails_nobody(registry: Registry) -> None:
    one = followed(registry, Source(), Memory(Addresses))
    one.tell(("10.0.0.1",), "1")
    assert one.said(time.time()) is not None
    one.tell(("\ud800",), "2")
    assert one.said(time.time()) is None
    one.close()


def test_a_change_and_a_confirmation_have_their_own_times(registry: Registry) -> None:
    one = followed(registry, Source[Addresses](), Memory(Addresses))
    one.tell(("a",), "1")
    changed = one.origin.changed_at
    one.tell(("a",), "2")
    assert one.origin.changed_at == changed
    assert one.origin.version == "2"
    assert changed is not None
    assert one.origin.confirmed_at is not None
    assert one.origin.confirmed_at >= changed


def test_what_a_reconciliation_had_to_mend_is_counted(registry: Registry) -> None:
    one = followed(registry, Source[Addresses](), Memory(Addresses))
    one.tell(("a",), corrected=False)
    one.tell(("a",), corrected=True)
    assert one.origin.corrections == 0
    one.tell(("b",), corrected=True)
    assert one.origin.corrections == 1


def test_of_many_names_that_fail_a_few_are_told(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    names = [followed(registry, Source(), Memory(Addresses), f"web{number}") for number in range(LOG_NAMES + 3)]
    with caplog.at_level(logging.INFO):
        for one in names * 2:
            one.fail(ValueError("refused"))
        assert len(caplog.records) == LOG_NAMES
        assert caplog.records[0].getMessage() == "registry at 127.0.0.1:1: web0: refused"
        caplog.clear()
        for one in names:
            one.confirm()
        assert [record.getMessage() for record in caplog.records] == [
            f"registry at 127.0.0.1:1: web{LOG_NAMES + 2}: answers again"
        ]


def test_the_state_is_the_references(registry: Registry) -> None:
    one = followed(registry, Source[Addresses](), Memory(Addresses))
    assert one.state(list)["state"]["value"] is None
    one.tell(("a", "b"), "9")
    state = one.state(list)
    assert state["state"]["value"] == ["a", "b"]
    assert state["state"]["lastUpdatedAt"] == state["state"]["lastConfirmedAt"]
    assert state["watch"] == {
        "request": "/v1/web",
        "version": "9",
        "corrections": 0,
        "error": None,
        "lastErrorAt": None,
    }


def test_the_mistake_of_an_observer_does_not_end_the_watch(registry: Registry) -> None:
    source = Source[Addresses]()
    one = followed(registry, source, Memory(Addresses))

    def wrong(state: object) -> None:
        if isinstance(state, Ok):
            raise RuntimeError("mistake")

    source.observe(wrong)
    one.tell(("a",))
    assert one.known == ("a",)


# ── Reconciliation ───────────────────────────────────────────────────────────────────────────────────────────────────


class Watched:
    """A name whose registry says `truth`, and whose watch was begun anew so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None, registry: Registry | None = None) -> None:
        if monkeypatch is not None:
            monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.02)
        self.registry = registry or Registry("registry", reconcile_seconds=0.02)
        self.source = Source[Addresses]()
        self.followed = followed(self.registry, self.source, Memory(Addresses))
        self.truth: tuple[Addresses, str] | Exception = (("a",), "1")
        self.asked = self.begun = 0
        self.slack = 0.0
        self.followed.reconcile(self)

    async def read(self) -> tuple[Addresses, str]:
        self.asked += 1
        if isinstance(self.truth, Exception):
            raise self.truth
        return self.truth

    def anew(self) -> None:
        self.begun += 1

    async def compared(self, times: int = 3) -> None:
        """Wait until the registry was asked so many times more."""
        wanted = self.asked + times
        async with asyncio.timeout(5):
            while self.asked < wanted:
                await asyncio.sleep(0.005)


async def test_what_is_still_so_is_confirmed_and_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Watched(monkeypatch)
    one.followed.tell(("a",), "1")
    one.followed.origin.confirmed_at = 0.0
    await one.compared()
    assert one.followed.origin.confirmed_at > 0.0
    assert (one.followed.origin.corrections, one.begun) == (0, 0)
    one.followed.close()


async def test_a_change_that_the_watch_does_not_tell_is_mended_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Watched(monkeypatch)
    one.followed.tell(("a",), "1")
    one.truth = (("b",), "2")
    await one.compared(6)
    assert state_of(one.source) == Ok(("b",))
    assert (one.followed.origin.version, one.followed.origin.corrections, one.begun) == ("2", 1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    one.followed.close()


async def test_a_watch_has_time_to_tell_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Watched(monkeypatch)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    one.followed.tell(("a",), "1")
    one.truth = (("b",), "2")
    await one.compared(1)
    one.followed.tell(("b",), "2")
    await asyncio.sleep(0.4)
    assert (one.followed.origin.corrections, one.begun) == (0, 0)
    one.followed.close()


async def test_a_registry_that_cannot_be_asked_mends_nothing_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Watched(monkeypatch)
    one.followed.tell(("a",), "1")
    one.truth = ValueError("away")
    await one.compared()
    assert (state_of(one.source), one.begun) == (Ok(("a",)), 0)
    one.truth = (("b",), "2")
    await one.compared(3)
    assert state_of(one.source) == Ok(("b",))
    one.followed.close()


async def test_nothing_is_asked_for_a_name_that_fails_or_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Watched(monkeypatch)
    await asyncio.sleep(0.1)
    one.followed.tell(("a",), "1")
    one.followed.fail(ValueError("away"))
    await asyncio.sleep(0.1)
    assert one.asked == 0
    one.followed.confirm()
    await one.compared(1)
    one.followed.close()
    asked = one.asked
    await asyncio.sleep(0.1)
    assert one.asked == asked


# ── Holding ──────────────────────────────────────────────────────────────────────────────────────────────────────────

MANY = tuple("abcdefghij")


async def test_a_set_that_collapses_is_held_for_a_while_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    one = Watched(None, Registry("registry", hold_seconds=0.2))
    one.followed.tell(MANY, "1")
    began = time.monotonic()
    one.followed.tell(("a",), "2")
    assert state_of(one.source) == Ok(MANY)
    assert one.followed.origin.held_until is not None
    assert "heldUntil" in one.followed.state(list)["watch"]
    assert "collapsed in one step, and is held for 0.2 s" in caplog.text
    # What comes meanwhile does not begin it anew.
    await asyncio.sleep(0.1)
    one.followed.tell((), "3")
    async with asyncio.timeout(5):
        while state_of(one.source) != Ok(()):
            await asyncio.sleep(0.005)
    assert 0.19 < time.monotonic() - began < 0.29
    assert one.followed.state(list)["watch"].get("heldUntil") is None
    assert one.followed.origin.holds == 1


async def test_a_set_that_comes_back_is_held_no_longer() -> None:
    one = Watched(None, Registry("registry", hold_seconds=0.05))
    one.followed.tell(MANY)
    one.followed.tell(())
    one.followed.tell(MANY[1:])
    assert state_of(one.source) == Ok(MANY[1:])
    await asyncio.sleep(0.1)
    assert state_of(one.source) == Ok(MANY[1:])


@pytest.mark.parametrize(
    ("seconds", "before", "after"), [(0.0, MANY, ()), (9.0, MANY, MANY[:2]), (9.0, MANY[:4], ()), (9.0, (), MANY)]
)
async def test_other_changes_are_in_force_at_once(seconds: float, before: Addresses, after: Addresses) -> None:
    """Not configured; not below a fifth; a set of a few; one that grows."""
    one = Watched(None, Registry("registry", hold_seconds=seconds))
    one.followed.tell(before)
    one.followed.tell(after)
    assert state_of(one.source) == Ok(after)


def test_a_value_without_a_size_is_never_held() -> None:
    source: Source[Any] = Source()
    one = Followed(Registry("registry", hold_seconds=9.0), "web", "/v1/web", source, Memory(Addresses))
    one.tell(7)
    one.tell(None)
    assert source.state == Ok(None)
