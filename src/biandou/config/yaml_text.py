"""YAML to nodes.

libyaml gives the events; the nodes are made here, because PyYAML's own composer recurses without a bound, reads
`4:40` as a number in base 60 and `yes` as true (Linkerd does neither), and keeps the last of two equal keys in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import yaml

from biandou.config.node import Entry, Mapping, Node, Place, Scalar, Sequence

MAX_DEPTH: Final = 64
"""How deep lists and objects may nest."""

MAX_NODES: Final = 100_000
"""How many values a file may hold, each counted as often as aliases repeat it."""

_INT: Final = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TAG: Final = "tag:yaml.org,2002:"


class DocumentError(Exception):
    """The text is no YAML or JSON, or more than is taken; `place` says where."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


def read_yaml(text: str) -> Node:
    """Read the first document; an empty one is a null. Raises `DocumentError`."""
    try:
        return _Composer(text).document()
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="replace")
        raise DocumentError(f"the character {error.character!r} is not allowed", _place_of(before)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(message, Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)) from error


class _Composer:
    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._nodes = 0

    def document(self) -> Node:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                node, _, _ = self._node(next(self._events), 1)
                return node
        return Scalar(None, "", Place(1, 1))

    def _node(self, event: yaml.Event, depth: int) -> tuple[Node, int, int]:
        """Give a node, how many values it holds, and how deep it goes below itself."""
        place = _place(event)
        if depth > MAX_DEPTH:
            raise DocumentError(f"lists and objects nest deeper than {MAX_DEPTH} levels", place)
        if isinstance(event, yaml.AliasEvent):
            anchor = event.anchor or ""
            found = self._anchors.get(anchor)
            if found is None:
                raise DocumentError(f"`*{anchor}` stands for nothing written and finished above", place)
            node, size, height = found
            if depth + height - 1 > MAX_DEPTH:
                raise DocumentError(f"lists and objects nest deeper than {MAX_DEPTH} levels", place)
            self._count(size, place)
            return found
        self._count(1, place)
        before = self._nodes
        height = 0
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node, height = self._sequence(place, depth)
        else:
            node, height = self._mapping(place, depth)
        result = node, self._nodes - before + 1, height + 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = result
        return result

    def _sequence(self, place: Place, depth: int) -> tuple[Node, int]:
        items = []
        height = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item, _, below = self._node(event, depth + 1)
            items.append(item)
            height = max(height, below)
        return Sequence(tuple(items), place), height

    def _mapping(self, place: Place, depth: int) -> tuple[Node, int]:
        entries = []
        height = 0
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, _, _ = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise DocumentError("a key must be a text", _place(event))
            value, _, below = self._node(next(self._events), depth + 1)
            entries.append(Entry(key.text, _place(event), value))
            height = max(height, below)
        return Mapping(tuple(entries), place), height

    def _count(self, size: int, place: Place) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise DocumentError(f"more than {MAX_NODES} values", place)

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        text = event.value
        tag = event.tag
        if tag is None:
            return Scalar(_plain(text) if event.implicit[0] else text, text, place, self._body(event, place))
        read = _TAGGED.get(tag.removeprefix(_TAG)) if tag.startswith(_TAG) else _TAGGED.get(tag)
        if read is None:
            raise DocumentError(f"the tag {tag} is not known", place)
        try:
            return Scalar(read(text), text, place, self._body(event, place))
        except ValueError as error:
            raise DocumentError(f"{text!r} does not fit its tag {tag}", place) from error

    def _body(self, event: yaml.ScalarEvent, place: Place) -> Place | None:
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            return None
        if event.style == "|":
            below = self._lines[start.line + 1 : end.line + 1]
            first = next((line for line in below if line.strip()), "")
            return Place(place.line + 1, len(first) - len(first.lstrip(" ")) + 1)
        if start.line != end.line:
            return None
        if event.style in ("'", '"'):
            return Place(place.line, place.column + 1)
        # A tag or an anchor stands in front of a plain text.
        return None if event.tag or event.anchor else place


def _plain(text: str) -> str | int | float | bool | None:
    """Give what an untagged plain scalar means; what Linkerd doesn't take for a number, base 60 or 16, is a text."""
    if text in _NULLS:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) <= 40:
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_TAGGED: Final[dict[str, Callable[[str], str | int | float | bool | None]]] = {
    "!": str,
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "null": lambda _text: None,
}


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _place_of(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
