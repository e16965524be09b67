"""A room's register of kinds, and what a kind's configuration is.

A kind is a frozen `msgspec.Struct` whose tag is the `kind` an operator writes (`io.l5d.fs`). If Python runs the kind,
the struct also makes the thing that runs. A kind taken twice in one room is refused. Importing this module registers
nothing: `standard.py` is the one list of built-in kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from biandou.errors import ConfigError

SECRET: Final = re.compile(r"token|password|passphrase|secret|credential|private", re.IGNORECASE)
"""The keys whose values may be secrets."""


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="kind"):
    """The configuration of one kind; keys are written in camelCase, as Linkerd writes them."""


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An object without a kind; keys are written in camelCase."""


K = TypeVar("K", bound=msgspec.Struct)


def kind_name(kind: type[msgspec.Struct]) -> str:
    """Give the name an operator writes for this class (`io.l5d.fs`)."""
    return str(kind.__struct_config__.tag)


class Register(Generic[K]):
    """The kinds of one room, by name, and the names that are known but not built yet."""

    def __init__(self, room: str, kinds: Iterable[type[K]] = (), *, planned: Iterable[str] = ()) -> None:
        self.room = room
        self._kinds: dict[str, type[K]] = {}
        for kind in kinds:
            self.add(kind)
        self.planned = frozenset(planned) - self._kinds.keys()

    def add(self, kind: type[K]) -> None:
        """Take in a kind; raises `ConfigError` if its name is taken."""
        name = kind_name(kind)
        taken = self._kinds.setdefault(name, kind)
        if taken is not kind:
            raise ConfigError(
                f"{self.room}: two classes claim the kind {name}: {taken.__module__}.{taken.__qualname__} "
                f"and {kind.__module__}.{kind.__qualname__}"
            )

    def get(self, name: str) -> type[K] | None:
        """Give the class of a kind, or `None`."""
        return self._kinds.get(name)

    def __iter__(self) -> Iterator[type[K]]:
        return iter(self._kinds.values())

    @property
    def names(self) -> list[str]:
        """The kinds that can be used, sorted."""
        return sorted(self._kinds)
