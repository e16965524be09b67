"""A dtab with the place of each of its parts in the text that it was read from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from biandou.dtab.parse import SHOWABLE, Scanner
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, take_dentry
from biandou.dtab.tree import Alt, NameTree, Union

_PART: Final = re.compile(rf"#[^\n]*+|/(?:[{SHOWABLE}/]|\\x[0-9A-Fa-f]{{2}})*+|[~!$]|(?P<other>.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PlacedDentry:
    """An entry and where its text begins and ends; `number` counts from 1."""

    number: int
    dentry: Dentry
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PlacedDtab:
    """The entries of a text, in the order they were written."""

    text: str
    entries: tuple[PlacedDentry, ...]

    def place(self, index: int) -> tuple[int, int]:
        """Give the line and column of an index of the text, both counted from 1."""
        before = self.text[:index]
        return before.count("\n") + 1, index - before.rfind("\n")

    def ends(self, entry: PlacedDentry) -> list[int]:
        """Give where each name and each of `~`, `!` and `$` of an entry's destination begins, from left to right."""
        # A comment may come before the arrow, but no `=>` in a prefix.
        scanner = Scanner(self.text)
        scanner.index = entry.start
        take_dentry_prefix(scanner)
        found = []
        for match in _PART.finditer(self.text, scanner.index, entry.end):
            if match["other"] is None and not match[0].startswith("#"):
                found.append(match.start())
        return found


def read_placed(text: str) -> PlacedDtab:
    """Read a dtab; raises `DtabSyntaxError`."""
    scanner = Scanner(text)
    entries: list[PlacedDentry] = []
    while True:
        scanner.skip_space()
        if not scanner.peek:
            break
        start = scanner.index
        dentry = take_dentry(scanner)
        entries.append(PlacedDentry(len(entries) + 1, dentry, start, scanner.index))
        if not scanner.skip(";"):
            break
    scanner.take_end()
    return PlacedDtab(text, tuple(entries))


def take_dentry_prefix(scanner: Scanner) -> None:
    """Pass over an entry's prefix and arrow."""
    while not scanner.text.startswith("=>", scanner.index):
        if scanner.peek == "#":
            scanner.skip_space()
        else:
            match = _PART.match(scanner.text, scanner.index)
            scanner.index = len(scanner.text) if match is None else match.end()
    scanner.index += 2


def parts(tree: NameTree[Path]) -> Iterator[tuple[NameTree[Path], int]]:
    """Give every node of a tree, a node before what is in it, with the number of the names and ends to its left."""
    waiting: list[tuple[NameTree[Any], int]] = [(tree, 0)]
    while waiting:
        node, left = waiting.pop()
        yield node, left
        children = _children(node)
        lefts = []
        for child in children:
            lefts.append(left)
            left += _count(child)
        waiting += reversed(list(zip(children, lefts, strict=True)))


def _children(node: NameTree[Any]) -> list[NameTree[Any]]:
    if isinstance(node, Alt):
        return list(node.trees)
    if isinstance(node, Union):
        return [branch.tree for branch in node.branches]
    return []


def _count(tree: NameTree[Any]) -> int:
    count, waiting = 0, [tree]
    while waiting:
        node = waiting.pop()
        children = _children(node)
        count += not children
        waiting += children
    return count
