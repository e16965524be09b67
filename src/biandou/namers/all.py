"""All namers of a process as one: which of them answers for a path, and in what order they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Addresses, Bound, Negative
from biandou.dtab.lint import Served
from biandou.live import Live
from biandou.namers.interface import Namer
from biandou.namers.system import SystemNamer

_NEGATIVE: Final[Live[NameTree[Path | Bound]]] = Live.ok(NEG)


class Namers:
    """The configured namers, the last configured asked first, then `/$/…` (reference/linker.md §3.6)."""

    def __init__(self, configured: Sequence[Namer] = (), system: SystemNamer | None = None) -> None:
        self.configured = tuple(configured)
        self._system = system or SystemNamer()
        self._order: tuple[Namer, ...] = (*reversed(self.configured), self._system)

    @property
    def served(self) -> Served:
        """Which prefixes they answer for."""
        return Served(self._system.names, tuple(namer.prefix for namer in self.configured))

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what a whole path (`/#/io.l5d.fs/web`) means: a negative answer lets the next matching namer try."""
        matching = [namer for namer in self._order if path.starts_with(namer.prefix)]
        if len(matching) > 1:
            return _ask(matching, path).map(lambda tree: tree.map(lambda leaf: _shared(matching, path, leaf)))
        return _ask(matching, path)


def _ask(namers: Sequence[Namer], path: Path) -> Live[NameTree[Path | Bound]]:
    if not namers:
        return _NEGATIVE
    answer = namers[0].lookup(path.drop(len(namers[0].prefix)))
    if len(namers) == 1:
        return answer
    return answer.flat_map(lambda tree: _ask(namers[1:], path) if tree.simplified is NEG else Live.ok(tree))


def _shared(namers: Sequence[Namer], path: Path, leaf: Path | Bound) -> Path | Bound:
    """Let a client name that several namers may give follow whichever gives it now.

    Two namers with one prefix bind to the same id, and bound names are equal if their ids are: the tree does not
    change when one namer takes over from the other, so the addresses have to.
    """
    if isinstance(leaf, Path):
        return leaf
    return Bound(leaf.id, _addresses(namers, path, leaf.id), leaf.residual)


def _addresses(namers: Sequence[Namer], path: Path, client: Path) -> Live[Addresses]:
    if not namers:
        return Live.ok(Negative())

    def follow(tree: NameTree[Path | Bound]) -> Live[Addresses]:
        for leaf in tree.leaves():
            if isinstance(leaf, Bound) and leaf.id == client:
                return leaf.addresses
        return _addresses(namers[1:], path, client)

    return namers[0].lookup(path.drop(len(namers[0].prefix))).flat_map(follow)
