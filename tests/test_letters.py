"""The golden letters: Python writes and reads exactly these bytes, and the engine refuses what is none of them.

`engine/tests/letters.rs` holds the other end to the same files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biandou.boundary import Advice, Answer, Endpoints, Mail, decode_clients, decode_mail, decode_tally, encode
from biandou.config.plan import Plan
from biandou.kinds import Register, kind_name
from biandou.standard import BALANCERS, FAILURE_ACCRUALS, IDENTIFIERS
from tests.letters.golden import (
    ADVICE,
    ANSWERS,
    CLIENTS,
    ENDPOINTS,
    FAMILIES,
    LATENCY,
    MAIL,
    PLANS,
    TALLIES,
    file,
    shown,
    stored,
)

_engine = pytest.importorskip("biandou._engine", reason="the engine is not built (make build)")

OUT: dict[str, Any] = {"plans": Plan, "answers": Answer, "endpoints": Endpoints, "advice": Advice}
"""The families that Python writes and the engine reads."""


@pytest.mark.parametrize("family", FAMILIES)
def test_python_writes_exactly_these_bytes(family: str) -> None:
    assert file(family).read_text() == shown(family), "run: PYTHONPATH=src python -m tests.letters"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_people_read_is_what_the_bytes_say(family: str) -> None:
    for entry in json.loads(file(family).read_text()):
        assert msgspec.msgpack.decode(bytes.fromhex(entry["msgpack"])) == entry["letter"], entry["name"]


@pytest.mark.parametrize("family", OUT)
def test_a_letter_that_goes_out_is_the_same_when_it_is_read_again(family: str) -> None:
    for name, data in stored(family).items():
        assert msgspec.msgpack.decode(data, type=OUT[family]) == FAMILIES[family][name]


def test_mail_is_read_as_what_the_engine_meant() -> None:
    assert {name: decode_mail(data) for name, data in stored("mail").items()} == MAIL
    assert {type(letter) for mail in MAIL.values() for letter in mail} == set(Mail.__args__)


def test_what_is_known_of_clients_is_read() -> None:
    assert {name: decode_clients(data) for name, data in stored("clients").items()} == CLIENTS


def test_a_tally_is_read_as_what_the_engine_counted() -> None:
    tallies = {name: decode_tally(data) for name, data in stored("tallies").items()}
    assert tallies == TALLIES
    assert tallies["full"].scopes[0].stat("request_latency_ms") == LATENCY


def test_every_outcome_and_every_state_has_a_golden_letter() -> None:
    assert {type(answer.outcome) for answer in ANSWERS.values()} == set(msgspec.structs.fields(Answer)[0].type.__args__)
    states = next(field.type for field in msgspec.structs.fields(Endpoints) if field.name == "state")
    assert {type(letter.state) for letter in ENDPOINTS.values()} == set(states.__args__)
    assert {type(letter) for letter in ADVICE.values()} == set(Advice.__args__)


def test_every_kind_that_the_engine_runs_has_a_golden_letter() -> None:
    identifiers = [written for router in PLANS["full"].routers for written in router.identifiers]
    balancers = [letter.policy.balancer for letter in ENDPOINTS.values()]
    accruals = [letter.policy.failure_accrual for letter in ENDPOINTS.values()]
    registers: list[tuple[Register[msgspec.Struct], list[dict[str, object]]]] = [
        (IDENTIFIERS, identifiers),
        (BALANCERS, balancers),
        (FAILURE_ACCRUALS, accruals),
    ]
    for register, letters in registers:
        for kind in register:
            mine = [letter for letter in letters if letter["kind"] == kind_name(kind)]
            assert mine, f"{kind_name(kind)} is in no golden letter"
            keys = {field.encode_name for field in msgspec.structs.fields(kind)}
            assert keys <= set().union(*mine) | {"backoff"}, f"a key of {kind_name(kind)} is in no golden letter"
            for letter in mine:
                msgspec.convert(letter, kind)  # raises if the operator could not have written it


# ── The engine's end, as it was compiled ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def bell() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(scope="module")
def doors(bell: int) -> dict[str, Callable[[bytes], object]]:
    """Takes a letter of each family into an engine that was not started."""
    plan = msgspec.structs.replace(
        PLANS["full"],
        routers=[
            msgspec.structs.replace(
                router, servers=[msgspec.structs.replace(server, fds=[]) for server in router.servers]
            )
            for router in PLANS["full"].routers
        ],
    )
    engine = _engine.Engine(encode(plan), bell)
    return {
        "plans": lambda data: _engine.Engine(data, bell),
        "answers": lambda data: engine.answer(1, data),
        "endpoints": engine.endpoints,
        "advice": lambda data: engine.advise(1, data),
    }


def taken_or_refused(take: Callable[[bytes], object], data: bytes) -> bool:
    """Whether the engine takes the letter; anything but `ValueError` fails the test, a panic above all."""
    try:
        take(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("family", ["answers", "endpoints", "advice"])
def test_the_compiled_engine_takes_every_golden_letter(
    doors: dict[str, Callable[[bytes], object]], family: str
) -> None:
    for name, data in stored(family).items():
        assert taken_or_refused(doors[family], data), name


@pytest.mark.parametrize("family", OUT)
def test_a_letter_cut_short_or_with_more_behind_it_is_a_value_error(
    doors: dict[str, Callable[[bytes], object]], family: str
) -> None:
    for data in stored(family).values():
        for end in range(0, len(data), 7):
            with pytest.raises(ValueError, match="not a"):
                doors[family](data[:end])
        with pytest.raises(ValueError, match="1 bytes are left behind its end"):
            doors[family](data + b"\xc0")


@pytest.mark.parametrize("family", OUT)
@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 1_000_000,
        b"\x81\xa1x" * 1_000_000,
        b"\x81\xa7outcome\x81\xa1x" + b"\x91" * 1_000_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\xc0",
        b"\x81\xa7context\xdb\xff\xff\xff\xff",
        b"\x81\xa6router\xdb\xff\xff\xff\xffx",
    ],
    ids=["arrays", "maps", "below a type", "a map of 4 G", "a list of 4 G", "a text of 4 GiB", "another"],
)
def test_a_letter_that_is_too_deep_or_lies_about_its_size_is_a_value_error(
    doors: dict[str, Callable[[bytes], object]], family: str, data: bytes
) -> None:
    with pytest.raises(ValueError, match="not a"):
        doors[family](data)


@pytest.mark.parametrize("family", OUT)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_value_error(doors: dict[str, Callable[[bytes], object]], family: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        doors[family](data)


@st.composite
def mutated(draw: st.DrawFn, family: str) -> bytes:
    """A golden letter with some bytes changed, put in, or taken out."""
    data = bytearray(draw(st.sampled_from(sorted(stored(family).values()))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        new = draw(st.binary(min_size=0, max_size=3))
        data[at : at + draw(st.integers(0, 3))] = new
    return bytes(data)


@pytest.mark.parametrize("family", OUT)
@settings(max_examples=300)
@given(drawn=st.data())
def test_a_damaged_letter_is_taken_or_refused_and_never_a_panic(
    doors: dict[str, Callable[[bytes], object]], family: str, drawn: st.DataObject
) -> None:
    taken_or_refused(doors[family], drawn.draw(mutated(family)))


@given(data=st.binary(max_size=200))
def test_random_mail_is_a_decode_error(data: bytes) -> None:
    for read in (decode_mail, decode_tally, decode_clients):
        try:
            read(data)
        except msgspec.DecodeError:
            continue
        assert read is decode_mail
        assert data == b"\x90"  # no mail at all
