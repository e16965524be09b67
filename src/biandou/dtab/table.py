"""A dtab: the ordered table that says how a name goes on, and its entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from biandou.dtab.parse import LABEL, Scanner, unescape
from biandou.dtab.path import Path, show_segment
from biandou.dtab.tree import NEG, Alt, NameTree, take_tree

_PREFIX: Final = re.compile(rf"/(?:(?:\*|{LABEL})(?:/(?:\*|{LABEL}))*+)?+")

Element = bytes | None
"""A segment that must be there, or `None` for `*`, which is any one segment."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The left side of a dentry: what a path must begin with. An empty element raises `ValueError`."""

    elements: tuple[Element, ...] = ()

    def __post_init__(self) -> None:
        if b"" in self.elements:
            raise ValueError("a prefix has no empty elements")

    @staticmethod
    def read(text: str) -> Prefix:
        """Read `/svc/*`; raises `DtabSyntaxError`."""
        scanner = Scanner(text)
        prefix = _take_prefix(scanner)
        scanner.take_end()
        return prefix

    def matches(self, path: Path) -> bool:
        """Whether `path` begins with this."""
        segments = path.segments
        return len(self.elements) <= len(segments) and all(
            element is None or element == segment for element, segment in zip(self.elements, segments, strict=False)
        )

    def __len__(self) -> int:
        return len(self.elements)

    def __str__(self) -> str:
        return "/" + "/".join(["*" if element is None else show_segment(element) for element in self.elements])


@dataclass(frozen=True, slots=True)
class Dentry:
    """One entry, `prefix => dst`: a path that begins with `prefix` goes on as `dst` followed by the rest of it."""

    prefix: Prefix
    dst: NameTree[Path]

    @staticmethod
    def read(text: str) -> Dentry:
        """Read `/svc => /host`; raises `DtabSyntaxError`."""
        scanner = Scanner(text)
        dentry = take_dentry(scanner)
        scanner.take_end()
        return dentry

    def destination(self, path: Path) -> NameTree[Path]:
        """Give where `path`, which must match, goes on: `dst` with the rest of `path` after every leaf."""
        rest = path.segments[len(self.prefix.elements) :]
        return self.dst.map(lambda leaf: Path(leaf.segments + rest)) if rest else self.dst

    def __str__(self) -> str:
        return f"{self.prefix}=>{self.dst}"


class _Node:
    """A place in the index: the dentries whose prefix ends here, with their positions, and the elements that follow."""

    __slots__ = ("any", "ends", "next")

    def __init__(self) -> None:
        self.ends: list[tuple[int, Dentry]] = []
        self.next: dict[bytes, _Node] = {}
        self.any: _Node | None = None


class Dtab:
    """An ordered table of dentries; immutable and hashable. A later entry is tried before an earlier one."""

    __slots__ = ("_dentries", "_index")

    def __init__(self, dentries: Iterable[Dentry] = ()) -> None:
        self._dentries = tuple(dentries)
        self._index: _Node | None = None

    @staticmethod
    def read(text: str) -> Dtab:
        """Read `/svc => /host ; /host => /#/io.l5d.fs`; raises `DtabSyntaxError`."""
        scanner = Scanner(text)
        dentries = []
        while True:
            scanner.skip_space()
            if not scanner.peek:
                break
            dentries.append(take_dentry(scanner))
            if not scanner.skip(";"):
                break
        scanner.take_end()
        return Dtab(dentries)

    @property
    def dentries(self) -> tuple[Dentry, ...]:
        """The entries in the order they were written."""
        return self._dentries

    @property
    def simplified(self) -> Dtab:
        """The table with every destination simplified and without entries that come to `~`."""
        simple = [Dentry(dentry.prefix, dentry.dst.simplified) for dentry in self._dentries]
        return Dtab(dentry for dentry in simple if dentry.dst is not NEG)

    def matching(self, path: Path) -> list[Dentry]:
        """Give the entries whose prefix `path` begins with, in the order they are tried: the last one first."""
        index = self._index
        if index is None:
            index = self._index = _index(self._dentries)
        found = list(index.ends)
        nodes = [index]
        for segment in path.segments:
            following = []
            for node in nodes:
                exact = node.next.get(segment)
                if exact is not None:
                    following.append(exact)
                if node.any is not None:
                    following.append(node.any)
            if not following:
                break
            for node in following:
                if node.ends:
                    found += node.ends
            nodes = following
        if len(found) > 1:
            found.sort(key=_position, reverse=True)
        return [dentry for _, dentry in found]

    def matches(self, path: Path) -> bool:
        """Whether any entry's prefix is how `path` begins."""
        index = self._index
        if index is None:
            index = self._index = _index(self._dentries)
        nodes = [index]
        for segment in path.segments:
            following = []
            for node in nodes:
                if node.ends:
                    return True
                exact = node.next.get(segment)
                if exact is not None:
                    following.append(exact)
                if node.any is not None:
                    following.append(node.any)
            if not following:
                return False
            nodes = following
        return any(node.ends for node in nodes)

    def may_match(self, path: Path) -> bool:
        """Whether any entry's prefix is how `path`, or a path that `path` begins, begins."""
        index = self._index
        if index is None:
            index = self._index = _index(self._dentries)
        nodes = [index]
        for segment in path.segments:
            if any(node.ends for node in nodes):
                return True
            nodes = [one for node in nodes for one in (node.next.get(segment), node.any) if one is not None]
        return bool(nodes) and bool(self._dentries)

    def lookup(self, path: Path) -> NameTree[Path]:
        """Give one step of delegation: `NEG` when nothing matches, else what the matching entries say, last first."""
        trees = [dentry.destination(path) for dentry in self.matching(path)]
        if len(trees) > 1:
            return Alt(tuple(trees))
        return trees[0] if trees else NEG

    def __add__(self, other: Dtab) -> Dtab:
        if not isinstance(other, Dtab):
            return NotImplemented
        if not other._dentries:
            return self
        return Dtab(self._dentries + other._dentries) if self._dentries else other

    def __len__(self) -> int:
        return len(self._dentries)

    def __iter__(self) -> Iterator[Dentry]:
        return iter(self._dentries)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dtab):
            return self is other or self._dentries == other._dentries
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._dentries)

    def __str__(self) -> str:
        return ";".join(map(str, self._dentries))

    def __repr__(self) -> str:
        return f"Dtab.read({str(self)!r})"


def _position(entry: tuple[int, Dentry]) -> int:
    return entry[0]


def _index(dentries: tuple[Dentry, ...]) -> _Node:
    root = _Node()
    for position, dentry in enumerate(dentries):
        node = root
        for element in dentry.prefix.elements:
            if element is None:
                if node.any is None:
                    node.any = _Node()
                node = node.any
            else:
                following = node.next.get(element)
                if following is None:
                    following = node.next[element] = _Node()
                node = following
        node.ends.append((position, dentry))
    return root


def _take_prefix(scanner: Scanner) -> Prefix:
    text = scanner.take_elements(_PREFIX)
    if not text:
        return Prefix()
    return Prefix(tuple([None if element == "*" else unescape(element) for element in text.split("/")]))


def take_dentry(scanner: Scanner) -> Dentry:
    """Take an entry from where the scanner is; raises `DtabSyntaxError`."""
    prefix = _take_prefix(scanner)
    scanner.skip_space()
    scanner.take("=")
    scanner.take(">")
    return Dentry(prefix, take_tree(scanner))
