"""Nodes to typed values, by the schema that the structs are; every mistake is kept with its place, not only the first.

msgspec could convert, but it stops at the first mistake and knows no places. It still checks the bounds of single
values and converts what is unknown here, such as a plugin's own types.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from biandou.config import node as nodes
from biandou.config.node import Node, Place
from biandou.config.schema import REFUSALS, Field, RefusedKey, element, guilty_key, keys, parts, register_of, tag_key_of
from biandou.config.values import Check, NotBuilt, OneOrMany, Room
from biandou.config.wording import bounds, describe, join, printable, quote, shorten, suggest
from biandou.dtab import DtabSyntaxError
from biandou.errors import ConfigError, Problem
from biandou.kinds import Register

T = TypeVar("T")


MAX_PROBLEMS: Final = 1000
"""How many mistakes are told; a file with more is no configuration, and reading stops."""


class _TooManyProblemsError(Exception):
    """Reading stops: there are more mistakes than anybody wants to be told."""


class Broken:
    """The value could not be read; its problems are kept."""


BROKEN: Final = Broken()


class Reading:
    """The reading of one file: `problems` grows, and `paths` knows where each struct came from."""

    def __init__(self, file: str, rooms: Mapping[str, Register[Any]]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._rooms = rooms
        self._origins: dict[int, tuple[object, str, Node]] = {}

    def read(self, node: Node, struct: type[T]) -> T | None:
        """Give the struct that `node` is, or `None` if it can't be made; look at `problems` in any case."""
        try:
            value = self._value(node, struct, "")
        except _TooManyProblemsError:
            return None
        return None if isinstance(value, Broken) else typing.cast("T", value)

    def blame(self, struct: object, key: str, message: str) -> None:
        """Keep a mistake at a key of a struct that was read here, or at the struct itself if the key isn't written."""
        _, path, node = self._origins[id(struct)]
        place = node.place
        if isinstance(node, nodes.Mapping):
            entry = next((entry for entry in node if entry.key == key), None)
            if entry is not None:
                place = entry.value.place
        if len(self.problems) < MAX_PROBLEMS:
            self._keep(place, join(path, key), message)

    def troubled(self, struct: object, key: str) -> bool:
        """Whether a mistake was kept at or below a key of a struct that was read here."""
        path = join(self._origins[id(struct)][1], key)
        return any(problem.path.startswith(path) for problem in self.problems)

    def finish(self) -> None:
        """Raise `ConfigError` with all that was kept, in the order of the file, if anything was."""
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: (problem.line, problem.column)))

    def _keep(self, place: Place, path: str, message: str) -> Broken:
        if len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem("there are more mistakes than these", self.file, place.line, place.column))
            raise _TooManyProblemsError
        self.problems.append(Problem(printable(message), self.file, place.line, place.column, printable(path)))
        return BROKEN

    # ── One value ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _value(self, node: Node, hint: Any, path: str) -> Any:
        base, marks = parts(hint)
        for mark in marks:
            if isinstance(mark, Check):
                return self._checked(node, mark, path)
            if isinstance(mark, Room):
                register = self._rooms[mark.name] if isinstance(mark.name, str) else mark.name
                return self._kind(node, register, path, mark.default)
        if OneOrMany() in marks and not isinstance(node, nodes.Sequence):
            value = self._value(node, element(base)[0], path)
            return value if value is BROKEN else (value,)
        value = self._unmarked(node, base, path)
        if value is BROKEN or not any(isinstance(mark, msgspec.Meta) for mark in marks):
            return value
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            said = next(
                (mark.description for mark in marks if isinstance(mark, msgspec.Meta) and mark.description), None
            )
            expected = f"expected {said}" if said else bounds(str(error))
            return self._keep(node.place, path, f"{expected}, found {quote(node)}")

    def _unmarked(self, node: Node, base: Any, path: str) -> Any:
        scalar = _SCALARS.get(base)
        if scalar is not None:
            return self._scalar(node, base, path)
        origin = get_origin(base)
        if origin in (Union, types.UnionType):
            return self._union(node, base, path)
        if isinstance(base, type) and issubclass(base, msgspec.Struct):
            return self._struct(node, base, path)
        if origin in (list, tuple, frozenset, set):
            return self._list(node, base, path)
        if origin is dict:
            return self._dict(node, get_args(base)[1], path)
        if origin is Literal:
            return self._literal(node, get_args(base), path)
        try:
            return msgspec.convert(nodes.plain(node), base, strict=False)
        except (msgspec.ValidationError, TypeError) as error:
            return self._keep(node.place, path, str(error))

    def _checked(self, node: Node, check: Check, path: str) -> Any:
        if not isinstance(node, nodes.Scalar):
            return self._keep(node.place, path, f"expected {check.expected}, found {describe(node)}")
        try:
            return check.read(node)
        except DtabSyntaxError as error:
            return self._keep(node.within(error.line, error.column), path, str(error))
        except ValueError as error:
            return self._keep(node.place, path, f"{str(error).rstrip('.')}; expected {check.expected}")

    def _scalar(self, node: Node, base: type, path: str) -> Any:
        if isinstance(node, nodes.Scalar) and node.value is not None:
            value = _coerce(node, base)
            if value is not None:
                return value
        return self._keep(node.place, path, f"expected {_SCALARS[base]}, found {describe(node)}")

    def _union(self, node: Node, base: Any, path: str) -> Any:
        members = get_args(base)
        if isinstance(node, nodes.Scalar) and node.value is None and type(None) in members:
            return None
        others = [member for member in members if member is not type(None)]
        if len(others) == 1:
            return self._value(node, others[0], path)
        if all(isinstance(member, type) and issubclass(member, msgspec.Struct) for member in others):
            return self._kind(node, register_of(tuple(others)), path, None)
        try:
            return msgspec.convert(nodes.plain(node), base, strict=False)
        except (msgspec.ValidationError, TypeError) as error:
            return self._keep(node.place, path, str(error))

    def _list(self, node: Node, base: Any, path: str) -> Any:
        each, make = element(base)
        if not isinstance(node, nodes.Sequence):
            return self._keep(node.place, path, f"expected a list, found {describe(node)}")
        values = [self._value(item, each, f"{path}[{index}]") for index, item in enumerate(node.items)]
        # What is broken is reported already; the rest is kept so that it can be checked too.
        return make(value for value in values if value is not BROKEN)

    def _dict(self, node: Node, element: Any, path: str) -> Any:
        if not isinstance(node, nodes.Mapping):
            return self._keep(node.place, path, f"expected an object, found {describe(node)}")
        values = {
            key: self._value(entry.value, element, join(path, key)) for key, entry in self._entries(node, path).items()
        }
        return {key: value for key, value in values.items() if value is not BROKEN}

    def _literal(self, node: Node, allowed: tuple[Any, ...], path: str) -> Any:
        if isinstance(node, nodes.Scalar) and node.value in allowed:
            return node.value
        names = [str(value) for value in allowed]
        return self._keep(node.place, path, f"unknown value {quote(node)}{suggest(quote(node), names)}")

    # ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _kind(self, node: Node, register: Register[Any], path: str, default: str | None) -> Any:
        if not isinstance(node, nodes.Mapping):
            return self._keep(node.place, path, f"expected an object, found {describe(node)}")
        tag_key = tag_key_of(register)
        chosen = node.get(tag_key)
        if chosen is None or (isinstance(chosen, nodes.Scalar) and chosen.value is None):
            if default is None:
                message = f"missing key `{tag_key}`; allowed: {', '.join(register.names)}"
                return self._keep(node.place, path, message)
            name = default
        elif isinstance(chosen, nodes.Scalar):
            name = chosen.text
        else:
            return self._keep(chosen.place, join(path, tag_key), f"expected a text, found {describe(chosen)}")
        try:
            struct = register.get(name)
        except ConfigError as error:
            return self._keep(chosen.place if chosen else node.place, join(path, tag_key), str(error))
        if struct is not None:
            return self._struct(node, struct, path)
        place = chosen.place if chosen else node.place
        if name in register.planned:
            return self._keep(place, join(path, tag_key), f"`{name}` is known but not built yet")
        hint = suggest(name, register.names, register.planned)
        return self._keep(place, join(path, tag_key), f"unknown {tag_key} `{shorten(name)}`{hint}")

    def _struct(self, node: Node, struct: type[msgspec.Struct], path: str) -> Any:
        if not isinstance(node, nodes.Mapping):
            return self._keep(node.place, path, f"expected an object, found {describe(node)}")
        fields = keys(struct)
        tag_key = struct.__struct_config__.tag_field
        known = [*fields] if tag_key is None else [tag_key, *fields]
        values: dict[str, Any] = {}
        broken = False
        mistaken: set[str] = set()
        entries = self._entries(node, path)
        for key, entry in entries.items():
            value = entry.value
            if key == tag_key:
                continue
            field = fields.get(key)
            if field is None:
                hint = "; merge keys are not supported" if key == "<<" else suggest(key, known)
                self._keep(entry.place, join(path, key), f"unknown key{hint}")
                continue
            if isinstance(value, nodes.Scalar) and value.value is None and not field.required:
                continue
            before = len(self.problems)
            read = self._value(value, field.hint, join(path, key))
            if len(self.problems) > before:
                mistaken.add(key)
            if read is BROKEN:
                # The sections of a file are checked even if one of them is broken.
                broken = broken or field.required or path != ""
            else:
                values[field.name] = read
                self._refuse_unbuilt(value, field, read, join(path, key), key)
        for key, field in fields.items():
            if field.required and key not in entries:
                broken = True
                self._keep(node.place, join(path, key), f"missing: '{key}' must be specified")
        if broken:
            return BROKEN
        try:
            made = struct(**values)
        except REFUSALS as error:
            guilty = error.key if isinstance(error, RefusedKey) else guilty_key(struct, values)
            if guilty is None:
                return self._keep(node.place, path, str(error))
            if guilty in mistaken:
                # Without what is broken in it, which is told, nobody knows what it would be.
                return BROKEN
            return self._keep(entries[guilty].value.place, join(path, guilty), str(error))
        self._origins[id(made)] = made, path, node
        return made

    def _entries(self, node: nodes.Mapping, path: str) -> dict[str, nodes.Entry]:
        first: dict[str, nodes.Entry] = {}
        for entry in node:
            known = first.setdefault(entry.key, entry)
            if known is not entry:
                message = f"Duplicate field '{shorten(entry.key)}': first written in line {known.place.line}"
                self._keep(entry.place, join(path, entry.key), message)
        return first

    def _refuse_unbuilt(self, node: Node, field: Field, value: Any, path: str, key: str) -> None:
        _, marks = parts(field.hint)
        for mark in marks:
            if isinstance(mark, NotBuilt) and value != field.default and not (mark.same and mark.same(value)):
                self._keep(node.place, path, f"`{key}` is known but not built yet")


# ── Scalars ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_SCALARS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


_LARGEST: Final = 2**63 - 1
"""Every number of ours fits into 64 bits; a larger one is refused before anything computes with it."""


def _coerce(node: nodes.Scalar, base: type) -> Any:
    """Give the scalar as `base`, converting between texts and numbers as Linkerd does, or `None`."""
    value = node.value
    if base is str:
        return node.text
    if base is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, str | float) else value
    except ValueError:
        return None
    if number is None or abs(number) > _LARGEST or math.isnan(number):
        return None
    if base is float:
        return float(number)
    return int(value) if isinstance(value, str) and value.lstrip("+-").isdecimal() else _whole(number)


def _whole(number: float) -> int | None:
    return int(number) if number == int(number) else None
