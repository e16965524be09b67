"""What is read of a large service again and again, and what is not."""

from __future__ import annotations

import json

import pytest

from biandou.clients.consul import Answer, ConsulError
from biandou.clients.consul_catalog import WORTH_KEEPING, Changes, Instance
from tests.registries.consul_state import Instance as Registered


def answer(*ports: int, health: bool = False) -> Answer:
    found = [Registered("web", port, meta={"v": "x" * 100}) for port in ports]
    return Answer(200, json.dumps([one.checked("dc1") if health else one.catalogued("dc1") for one in found]).encode())


class Reading:
    """Counts what is made of instances."""

    def __init__(self, *, health: bool) -> None:
        self.made: list[int] = []
        self.changes = Changes(self.make, health=health)

    def make(self, instance: Instance) -> tuple[int]:
        self.made.append(instance.port)
        return (instance.port,)


MANY = range(1, 300)


@pytest.mark.parametrize("health", [False, True])
def test_of_a_large_service_only_what_has_changed_is_read_again(health: bool) -> None:
    reading = Reading(health=health)
    large = answer(*MANY, health=health)
    assert len(large.body) > WORTH_KEEPING
    first = reading.changes.read(large)
    assert [port for (port,) in first] == [*MANY]
    reading.made.clear()
    second = reading.changes.read(answer(*MANY[1:], 500, health=health))
    assert reading.made == [500]
    assert second == [*first[1:], (500,)]
    assert second[0] is first[1]
    # One that comes back is another one: nothing is kept of what is gone.
    reading.made.clear()
    reading.changes.read(large)
    assert reading.made == [1]


def test_of_a_small_service_nothing_is_kept() -> None:
    reading = Reading(health=False)
    reading.changes.read(answer(*MANY))
    reading.made.clear()
    assert reading.changes.read(answer(1, 2)) == [(1,), (2,)]
    reading.changes.read(answer(1, 2))
    assert reading.made == [1, 2, 1, 2]


def test_one_instance_of_another_shape_makes_a_large_answer_unreadable() -> None:
    reading = Reading(health=False)
    body = answer(*MANY).body[:-1] + b',{"Address":7}]'
    with pytest.raises(ConsulError):
        reading.changes.read(Answer(200, body))
    assert len(reading.changes.read(answer(*MANY))) == len(MANY)
