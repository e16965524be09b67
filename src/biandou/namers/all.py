"""All namers of a process as one: which of them answers for a path, and in what order they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.namers.interface import Namer
from biandou.namers.system import SystemNamer

_NEGATIVE: Final[Live[NameTree[Path | Bound]]] = Live.ok(NEG)


class Namers:
    """The configured namers, the last configured asked first, then `/$/…` (reference/linker.md §3.6)."""

    def __init__(self, configured: Sequence[Namer] = (), system: SystemNamer | None = None) -> None:
        self.configured = tuple(configured)
        self._order: tuple[Namer, ...] = (*reversed(self.configured), system or SystemNamer())

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what a whole path (`/#/io.l5d.fs/web`) means: a negative answer lets the next matching namer try."""
        matching = [namer for namer in self._order if path.starts_with(namer.prefix)]
        return self._ask(matching, path)

    def _ask(self, namers: Sequence[Namer], path: Path) -> Live[NameTree[Path | Bound]]:
        if not namers:
            return _NEGATIVE
        answer = namers[0].lookup(path.drop(len(namers[0].prefix)))
        if len(namers) == 1:
            return answer
        rest = namers[1:]
        return answer.flat_map(lambda tree: self._ask(rest, path) if tree.simplified is NEG else Live.ok(tree))
