"""Nodes become typed values as Linkerd converts them, and what does not fit is told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from biandou.config.read import read_document
from biandou.config.typed import Reading
from biandou.config.values import NotAKey, NotBuilt, OneOrMany, Room
from biandou.errors import ConfigError
from biandou.kinds import Kind, Register


class Cat(Kind, frozen=True, kw_only=True, tag="cat"):
    lives: Annotated[int, Meta(ge=1)] = 9


class Dog(Kind, frozen=True, kw_only=True, tag="dog"):
    name: str


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Range(msgspec.Struct, frozen=True):
    unit: str
    low: int = 0
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.unit not in ("m", "s"):
            raise ValueError("no such unit")


class Sample(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    flag: bool = False
    number: int = 0
    ratio: float = 0.0
    text: str = ""
    choice: Literal["red", "green"] = "red"
    names: tuple[str, ...] = ()
    ports: dict[str, int] = msgspec.field(default_factory=dict)
    point: Point | None = None
    range: Range | None = None
    animal: Annotated[Any, Room("animals")] = None
    animals: Annotated[tuple[Annotated[Any, Room("animals", "cat")], ...], OneOrMany()] = ()
    either: Cat | Dog | None = None
    later: Annotated[int, NotBuilt(lambda value: value == 7)] = 3
    hidden: Annotated[int, NotAKey()] = 5
    raw: Any = None
    several: int | list[int] = 0


ANIMALS: dict[str, Register[Any]] = {"animals": Register("animals", (Cat, Dog), planned=("unicorn",))}


def read(text: str) -> Sample:
    reading = Reading("f", ANIMALS)
    value = reading.read(read_document(text.encode(), "f"), Sample)
    reading.finish()
    assert value is not None
    return value


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem).split(": ", 1)[1] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("flag: true", "flag", True),
        ("flag: 'true'", "flag", True),
        ("flag: FALSE", "flag", False),
        ("number: 5", "number", 5),
        ("number: '5'", "number", 5),
        ("number: '-5'", "number", -5),
        ("number: 5.0", "number", 5),
        ("number: 9007199254740993", "number", 9007199254740993),
        ("number: '9007199254740993'", "number", 9007199254740993),
        ("ratio: 1", "ratio", 1.0),
        ("ratio: 0.25", "ratio", 0.25),
        ("ratio: '0.25'", "ratio", 0.25),
        ("text: 5", "text", "5"),
        ("text: 1.50", "text", "1.50"),
        ("text: true", "text", "true"),
        ("text: yes", "text", "yes"),
        ("text: ''", "text", ""),
        ("choice: green", "choice", "green"),
        ("names: [a, 1]", "names", ("a", "1")),
        ("ports: {http: 80}", "ports", {"http": 80}),
        ("point: {x: 1}", "point", Point(1)),
        ("point: ~", "point", None),
        ("animal: {kind: cat}", "animal", Cat()),
        ("animals: {lives: 3}", "animals", (Cat(lives=3),)),
        ("animals: [{}, {kind: dog, name: rex}]", "animals", (Cat(), Dog(name="rex"))),
        ("animals: ~", "animals", ()),
        ("either: {kind: dog, name: a}", "either", Dog(name="a")),
        ("either: ~", "either", None),
        ("later: 3", "later", 3),
        ("later: 7", "later", 7),
        ("raw: {a: [1]}", "raw", {"a": [1]}),
        ("several: [1]", "several", [1]),
    ],
)
def test_values_are_converted_as_linkerd_does(text: str, key: str, value: object) -> None:
    found = getattr(read(text), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flag: 1", "flag: expected true or false, found `1`"),
        ("flag: yes", "flag: expected true or false, found the text `yes`"),
        ("flag: []", "flag: expected true or false, found a list"),
        ("number: true", "number: expected a whole number, found `true`"),
        ("number: 1.5", "number: expected a whole number, found `1.5`"),
        ("number: '--5'", "number: expected a whole number, found the text `--5`"),
        ("number: nan", "number: expected a whole number, found the text `nan`"),
        ("number: 99999999999999999999", "number: expected a whole number, found `99999999999999999999`"),
        ("ratio: .inf", "ratio: expected a number, found the text `.inf`"),
        ("ratio: 1e999", "ratio: expected a number, found `1e999`"),
        ("text: {}", "text: expected a text, found an object"),
        ("choice: gren", "choice: unknown value `gren`; did you mean `green`? allowed: red, green"),
        ("names: a", "names: expected a list, found the text `a`"),
        ("names: [[a]]", "names[0]: expected a text, found a list"),
        ("names: [~]", "names[0]: expected a text, found nothing"),
        ("ports: [1]", "ports: expected an object, found a list"),
        ("ports: {http: a}", "ports.http: expected a whole number, found the text `a`"),
        ("range: {unit: m, low: 10}", "range.low: low is above high"),
        ("range: {unit: m, high: -1}", "range.high: low is above high"),
        ("range: {unit: m, high: 5, low: 6}", "range.low: low is above high"),
        ("range: {unit: m, high: -5, low: 16}", "range: low is above high"),
        ("range: {unit: x, high: 5}", "range.unit: no such unit"),
        ("point: {}", "point.x: missing: 'x' must be specified"),
        ("point: {x: ~}", "point.x: expected a whole number, found nothing"),
        ("animal: {kind: cat, lives: 0}", "animal.lives: expected a whole number >= 1, found `0`"),
        ("animal: {}", "animal: missing key `kind`; allowed: cat, dog"),
        ("animal: {kind: ~}", "animal: missing key `kind`; allowed: cat, dog"),
        ("animal: {kind: [cat]}", "animal.kind: expected a text, found a list"),
        ("animal: {kind: unicorn}", "animal.kind: `unicorn` is known but not built yet"),
        ("animal: {kind: unicorm}", "animal.kind: unknown kind `unicorm`; did you mean `unicorn`? allowed: cat, dog"),
        ("animals: 5", "animals: expected an object, found `5`"),
        ("later: 4", "later: `later` is known but not built yet"),
        ("later: x", "later: expected a whole number, found the text `x`"),
        ("several: a", "several: Expected `int | array`, got `str`"),
        ("raw: 1\nraw: 2", "raw: Duplicate field 'raw': first written in line 1"),
    ],
)
def test_what_does_not_fit_is_told(text: str, message: str) -> None:
    assert mistakes(text) == [message]


def test_a_field_that_is_not_a_key_cannot_be_written() -> None:
    (message,) = mistakes("hidden: 1")
    assert message.startswith("hidden: unknown key; allowed: flag, number")
    assert "hidden" not in message.split("allowed")[1]


def test_duplicates_are_found_at_any_depth_also_when_the_value_is_taken_twice() -> None:
    assert mistakes("ports: {a: 1, a: 2}\npoint: {x: 1, x: 1}") == [
        "ports.a: Duplicate field 'a': first written in line 1",
        "point.x: Duplicate field 'x': first written in line 2",
    ]


def test_reading_stops_at_the_thousandth_mistake() -> None:
    messages = mistakes("ports: {" + ", ".join(f"k{n}: x" for n in range(45_000)) + "}")
    assert len(messages) == 1001
    assert messages[-1] == "there are more mistakes than these"


def test_long_keys_are_shortened_in_messages() -> None:
    (message,) = mistakes(f"{'k' * 5000}: 1")
    assert len(message) < 600
