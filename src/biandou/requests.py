"""A request and its response as plugins in Python see them.

Text stands for bytes, a character for each (Latin-1): header fields may hold any.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Headers:
    """The header fields in their order; a name's case doesn't matter."""

    fields: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Give the first value of a name, or `None`."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Give every value of a name."""
        wanted = name.lower()
        return [value for found, value in self.fields if found.lower() == wanted]

    def without(self, names: frozenset[str]) -> Headers:
        """Give the fields but those of these names, which are in lower case."""
        return Headers(tuple(field for field in self.fields if field[0].lower() not in names))


@dataclass(frozen=True, slots=True)
class PluginRequest:
    """The head of a request: `target` as it was written, `peer` and `local` as `ip:port`."""

    router: str
    method: str
    target: str
    headers: Headers
    peer: str
    local: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class PluginResponse:
    """The head of a response."""

    status: int
    headers: Headers
