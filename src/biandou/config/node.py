"""A configuration file as it was written: values with the place of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where something begins in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, a number, a truth value or nothing.

    `text` is what was written; `body` is where the text itself begins if it stands below its key or behind a quote, and
    `None` if a place in the text is no place in the file.
    """

    value: str | int | float | bool | None
    text: str
    place: Place
    body: Place | None = None

    def within(self, line: int, column: int) -> Place:
        """Give the file's place of a place in the text (both count from 1); the beginning if that is not known."""
        if self.body is None:
            return self.place
        # Only block scalars have more than one line, and all their lines are indented alike.
        return Place(self.body.line + line - 1, self.body.column + column - 1)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


class Entry(NamedTuple):
    """A key of an object, where it stands, and its value."""

    key: str
    place: Place
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """An object; a key that was written twice is there twice."""

    entries: tuple[Entry, ...]
    place: Place

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def get(self, key: str) -> Node | None:
        """Give the first value of a key."""
        return next((entry.value for entry in self.entries if entry.key == key), None)


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """Give the node as dicts, lists and scalars."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {entry.key: plain(entry.value) for entry in node}
