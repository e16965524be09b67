"""What the structs say about the keys of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import msgspec

from biandou.config.values import NotAKey, Room
from biandou.errors import ConfigError
from biandou.kinds import Register

REFUSALS: Final = (ValueError, TypeError, OSError, ConfigError)
"""What a struct raises that does not like its values."""

_TRANSFORMERS: Final = tuple[Annotated[Any, Room("transformers")], ...]


class Field(NamedTuple):
    """One key of a struct."""

    name: str
    hint: Any
    required: bool
    default: Any


@lru_cache(maxsize=1024)
def keys(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """Give the keys of a struct, in order, as an operator writes them."""
    fields = {}
    for info in msgspec.structs.fields(struct):
        if NotAKey() in parts(info.type)[1]:
            continue
        # The rooms of namers and interpreters lie below that of transformers and can't name their type.
        hint = _TRANSFORMERS if info.name == "transformers" else info.type
        default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
        fields[info.encode_name] = Field(info.name, hint, info.required, default)
    return fields


class RefusedKey(ValueError):
    """A struct refuses the value of one of its keys, and says of which, as it is written in the file."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def guilty_key(struct: type[msgspec.Struct], values: Mapping[str, Any]) -> str | None:
    """Give the key whose value makes `struct(**values)` refuse, or `None` if it is no single one.

    A struct that checks its values does not say which one it refuses: it is the one without which the rest is taken.
    """
    fields = keys(struct)
    optional = {field.name: key for key, field in fields.items() if field.name in values and not field.required}
    for name, key in optional.items():
        if _takes(struct, {other: value for other, value in values.items() if other != name}):
            return key
    required = {field.name: key for key, field in fields.items() if field.required}
    if len(required) == 1 and not _takes(struct, {name: values[name] for name in required}):
        return next(iter(required.values()))
    return None


def _takes(struct: type[msgspec.Struct], values: Mapping[str, Any]) -> bool:
    try:
        struct(**values)
    except REFUSALS:
        return False
    return True


def parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Give a type without its marks, and the marks."""
    if get_origin(hint) is Annotated:
        base, *marks = get_args(hint)
        return base, tuple(marks)
    return hint, ()


def element(base: Any) -> tuple[Any, type[Any]]:
    """Give the type of a list's elements, and the type that holds them."""
    args = get_args(base)
    return (args[0] if args else Any), get_origin(base) or base


@lru_cache(maxsize=64)
def register_of(members: tuple[type[msgspec.Struct], ...]) -> Register[Any]:
    """Give the kinds of a union of structs."""
    return Register("kinds", members)


def tag_key_of(register: Register[Any]) -> str:
    """Give the key that names the kind: `kind`, or `protocol` for routers."""
    struct: Any = next(iter(register), None)
    return str(struct.__struct_config__.tag_field) if struct is not None else "kind"
