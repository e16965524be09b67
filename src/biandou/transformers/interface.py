"""What every transformer is: configuration that an operator writes, and a function on trees of client names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from biandou.dtab import NameTree, Path
from biandou.dtab.bound import Bound
from biandou.kinds import Kind, kind_name
from biandou.live import Live

Interpret = Callable[[Path], Live[NameTree[Bound]]]
"""Binds a path with the configured namers and no dtab: what `replace` and `const` need."""


class Transformer(Protocol):
    """Changes bound trees; the first in a list sees what the source gives, the last has the last word."""

    @property
    def prefix(self) -> Path:
        """What is put in front of each id, `/%` included."""

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the transformed tree."""


class TransformerKind(Kind, frozen=True, kw_only=True):
    """The key that all transformers have (reference/naming.md §2.0): `prefix`, below `/%`."""

    prefix: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the prefix is a path."""
        if self.prefix is not None:
            Path.read(self.prefix)

    @property
    def default_prefix(self) -> Path:
        """The prefix below `/%` when the operator names none."""
        return Path.read(f"/{kind_name(type(self))}")

    @property
    def full_prefix(self) -> Path:
        """The prefix, `/%` included."""
        return Path.read("/%") + (self.default_prefix if self.prefix is None else Path.read(self.prefix))

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer."""
        raise NotImplementedError
