"""What every namer is: configuration that an operator writes, and a function from paths to trees that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from biandou.dtab import NameTree, Path
from biandou.dtab.bound import Bound
from biandou.kinds import Kind, kind_name
from biandou.live import Live

Interpret = Callable[[Path], Live[NameTree[Bound]]]
"""Binds a path with the configured namers and no dtab: for those whose keys name a path."""


class Namer(Protocol):
    """Answers for the paths below its prefix (`/#/io.l5d.fs`)."""

    @property
    def prefix(self) -> Path:
        """The whole prefix, `/#` included; every id that the namer binds begins with it."""

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what `path` means, `path` being what follows the prefix.

        A negative tree lets the next namer or alternative try; a leaf that is a path goes back through the dtab.
        Nothing is opened before the result is observed.
        """


class Lookup(Protocol):
    """All namers as one, as binding sees them: paths are whole (`/#/io.l5d.fs/web`, `/$/inet/…`)."""

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what a whole path means."""


class EnumerableNamer(Namer, Protocol):
    """A namer that knows all its names; for `/bound-names.json`."""

    def names(self) -> list[Path]:
        """Give the names of this moment, prefix included, sorted; may read, must not wait for a network."""


class StatefulNamer(Namer, Protocol):
    """A namer that shows what it watches, for `/namer_state/<prefix>.json`."""

    def state(self) -> dict[str, Any]:
        """Give JSON values."""


class NamerKind(Kind, frozen=True, kw_only=True):
    """The keys that all namers have (reference/naming.md §1.0).

    `transformers` holds transformer kinds, already read: this room lies below theirs and only carries them.
    """

    prefix: str | None = None
    experimental: bool | None = None
    transformers: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the prefix is a path."""
        if self.prefix is not None:
            Path.read(self.prefix)

    @property
    def full_prefix(self) -> Path:
        """The prefix under `/#`, by default the kind's own name."""
        return Path.read("/#") + Path.read(self.prefix or f"/{kind_name(type(self))}")

    def namer(self) -> Namer:
        """Make the namer; it opens nothing before something observes it."""
        raise NotImplementedError


class ReferringNamerKind(NamerKind, frozen=True, kw_only=True):
    """A namer whose names lead to other namers' and who has to know what these come to."""

    def namer_over(self, interpret: Interpret) -> Namer:
        """Make the namer; `interpret` may be used from the first observation on."""
        raise NotImplementedError
