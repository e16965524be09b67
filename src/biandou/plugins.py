"""Kinds of third parties: found by entry points, one group a room (`biandou.namers`, `biandou.identifiers`, …)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from biandou.errors import ConfigError
from biandou.kinds import K, Register, kind_name


class PluggableRegister(Register[K]):
    """A register that asks the installed packages for kinds it does not know.

    Reading what is installed takes time and memory, so it happens at the first kind that is not built in.
    """

    def __init__(
        self, room: str, kinds: Iterable[type[K]] = (), *, planned: Iterable[str] = (), group: str | None = None
    ) -> None:
        super().__init__(room, kinds, planned=planned)
        self._group = f"biandou.{group or room}"
        self._offered: dict[str, Any] | None = None

    def get(self, name: str) -> type[K] | None:
        """Give the class of a kind, or `None`; raises `ConfigError` if a package's kind cannot be loaded."""
        known = super().get(name)
        if known is None and name in self._plugins():
            return self._load(name)
        return known

    @property
    def names(self) -> list[str]:
        """The kinds that can be used, those of installed packages too, sorted."""
        return sorted({*super().names, *self._plugins()})

    def _plugins(self) -> dict[str, Any]:
        if self._offered is None:
            from importlib.metadata import entry_points  # noqa: PLC0415  costs 35 ms that few configurations need

            offered: dict[str, Any] = {}
            for entry in entry_points(group=self._group):
                taken = offered.setdefault(entry.name, entry)
                if taken.value != entry.value or super().get(entry.name) is not None:
                    other = super().get(entry.name)
                    first = f"{other.__module__}:{other.__qualname__}" if other else taken.value
                    raise ConfigError(
                        f"{self.room}: two classes claim the kind {entry.name}: {first} and {entry.value}"
                    )
            self._offered = offered
        return self._offered

    def _load(self, name: str) -> type[K]:
        entry = self._plugins()[name]
        try:
            kind = entry.load()
        except Exception as error:
            raise ConfigError(f"{self.room}: the kind {name} ({entry.value}) cannot be loaded: {error}") from error
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or kind_name(kind) != name:
            raise ConfigError(f"{self.room}: {entry.value} is no class of the kind {name}")
        self.add(kind)  # type: ignore[arg-type]  # what a package offers is only known when it is loaded
        return kind  # type: ignore[return-value]  # the same
