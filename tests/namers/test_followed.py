"""What a namer keeps of one name that it follows at a registry."""

from __future__ import annotations

import logging

import pytest

from biandou.live import Ok, Pending, Source, State
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
    source, memory = Source[Addresses](), Memory[Addresses]()
    one = followed(registry, source, memory)
    assert not one.fail(ValueError("garbage"))
    assert isinstance(state_of(source), Pending)
    one.tell(("a",), "7")
    assert one.fail(ValueError("gone"))
    assert state_of(source) == Ok(("a",))
    assert (one.origin.version, one.origin.error) == ("7", "gone")
    one.confirm()
    assert one.origin.error is None


def test_what_was_known_of_old_is_used_when_the_registry_fails_and_not_before(registry: Registry) -> None:
    source, memory = Source[Addresses](), Memory[Addresses]()
    first = followed(registry, source, memory)
    first.tell(("a",))
    first.close()
    second = followed(registry, source, memory)
    assert isinstance(state_of(source), Pending)
    assert second.fail(ValueError("gone"))
    assert state_of(source) == Ok(("a",))
    assert second.origin.confirmed_at is None


def test_a_change_and_a_confirmation_have_their_own_times(registry: Registry) -> None:
    one = followed(registry, Source[Addresses](), Memory())
    one.tell(("a",), "1")
    changed = one.origin.changed_at
    one.tell(("a",), "2")
    assert one.origin.changed_at == changed
    assert one.origin.version == "2"
    assert changed is not None
    assert one.origin.confirmed_at is not None
    assert one.origin.confirmed_at >= changed


def test_what_a_reconciliation_had_to_mend_is_counted(registry: Registry) -> None:
    one = followed(registry, Source[Addresses](), Memory())
    one.tell(("a",), corrected=False)
    one.tell(("a",), corrected=True)
    assert one.origin.corrections == 0
    one.tell(("b",), corrected=True)
    assert one.origin.corrections == 1


def test_of_many_names_that_fail_a_few_are_told(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    names = [followed(registry, Source(), Memory(), f"web{number}") for number in range(LOG_NAMES + 3)]
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
    one = followed(registry, Source[Addresses](), Memory())
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
    one = followed(registry, source, Memory())

    def wrong(state: object) -> None:
        if isinstance(state, Ok):
            raise RuntimeError("mistake")

    source.observe(wrong)
    one.tell(("a",))
    assert one.known == ("a",)
