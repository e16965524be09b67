"""A name tree: where a name goes, with alternatives, weighted shares and the three ends that are no name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any, Final, Generic, TypeVar, cast

from biandou.dtab.parse import MAX_NESTING, DtabSyntaxError, Scanner
from biandou.dtab.path import Path, take_path

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

_WEIGHT_START: Final = frozenset("0123456789.")


class NameTree(Generic[T_co]):
    """One of `Leaf`, `Alt`, `Union`, `NEG`, `FAIL` and `EMPTY`; immutable and hashable when its leaves are."""

    __slots__ = ()

    @staticmethod
    def read(text: str) -> NameTree[Path]:
        """Read `0.9*/a & 0.1*/b | ~`; raises `DtabSyntaxError`."""
        scanner = Scanner(text)
        tree = take_tree(scanner)
        scanner.take_end()
        return tree

    @property
    def simplified(self) -> NameTree[T_co]:
        """The tree without branches that can never matter, at most one branch deep where one is left."""
        return self

    @abstractmethod
    def map(self, function: Callable[[T_co], U]) -> NameTree[U]:
        """Give the same tree with `function` of every leaf's value."""

    @property
    def chosen(self) -> frozenset[T_co] | None:
        """The leaves that would be used if every leaf could be, or `None` when the tree comes to `~` or `!`."""
        return None

    def leaves(self) -> Iterator[T_co]:
        """Give every leaf's value, left to right."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Leaf(NameTree[T_co]):
    """A name: a path before binding, a bound name after."""

    value: T_co

    def map(self, function: Callable[[T_co], U]) -> NameTree[U]:
        """Give a leaf with `function` of the value."""
        return Leaf(function(self.value))

    @property
    def chosen(self) -> frozenset[T_co] | None:
        """The one value."""
        return frozenset((self.value,))

    def leaves(self) -> Iterator[T_co]:
        """Give the one value."""
        yield self.value

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Alt(NameTree[T_co]):
    """The first of `trees` that does not come to `~`; none at all is `~`."""

    trees: tuple[NameTree[T_co], ...]

    @property
    def simplified(self) -> NameTree[T_co]:
        """The same choice without `~` branches and without what follows a `!`."""
        kept: list[NameTree[T_co]] = []
        for tree in self.trees:
            simple = tree.simplified
            if simple is NEG:
                continue
            kept.append(simple)
            if simple is FAIL:
                break
        if len(kept) > 1:
            return Alt(tuple(kept))
        return kept[0] if kept else NEG

    def map(self, function: Callable[[T_co], U]) -> NameTree[U]:
        """Give the same alternatives with `function` of every leaf's value."""
        return Alt(tuple([tree.map(function) for tree in self.trees]))

    @property
    def chosen(self) -> frozenset[T_co] | None:
        """The leaves of the first branch that comes to something; a `!` ends the search."""
        simple = self.simplified
        if isinstance(simple, Alt):
            return cast("frozenset[T_co] | None", simple.trees[0].chosen)
        return simple.chosen

    def leaves(self) -> Iterator[T_co]:
        """Give every leaf's value, left to right."""
        for tree in self.trees:
            yield from tree.leaves()

    def __str__(self) -> str:
        return _show(self)


@dataclass(frozen=True, slots=True)
class Weighted(Generic[T_co]):
    """One branch of a `Union`: `weight` is its share relative to its neighbours.

    A weight below 0, infinite or no number raises `ValueError`.
    """

    weight: float
    tree: NameTree[T_co]

    def __post_init__(self) -> None:
        if not 0 <= self.weight < inf:
            raise ValueError(f"{self.weight} is no weight")


@dataclass(frozen=True, slots=True)
class Union(NameTree[T_co]):
    """All of `branches` at once, each with its share of the requests; none at all is `~`."""

    branches: tuple[Weighted[T_co], ...]

    @property
    def simplified(self) -> NameTree[T_co]:
        """The same shares without `~` and `!` branches; a branch left alone loses its weight."""
        if len(self.branches) == 1:
            return self.branches[0].tree.simplified
        kept: list[Weighted[T_co]] = []
        for branch in self.branches:
            simple = branch.tree.simplified
            if simple is not NEG and simple is not FAIL:
                kept.append(Weighted(branch.weight, simple))
        if len(kept) > 1:
            return Union(tuple(kept))
        return kept[0].tree if kept else NEG

    def map(self, function: Callable[[T_co], U]) -> NameTree[U]:
        """Give the same shares with `function` of every leaf's value."""
        return Union(tuple([Weighted(branch.weight, branch.tree.map(function)) for branch in self.branches]))

    @property
    def chosen(self) -> frozenset[T_co] | None:
        """The leaves of every branch that comes to something."""
        parts = [part for branch in self.branches if (part := branch.tree.chosen) is not None]
        return frozenset().union(*parts) if parts else None

    def leaves(self) -> Iterator[T_co]:
        """Give every leaf's value, left to right."""
        for branch in self.branches:
            yield from branch.tree.leaves()

    def __str__(self) -> str:
        return _show(self)


class _End(NameTree[Any]):
    """A tree without a name; there is one object of each."""

    __slots__ = ("_name", "_sign")

    def __init__(self, sign: str, name: str) -> None:
        self._sign = sign
        self._name = name

    def map(self, function: Callable[[Any], U]) -> NameTree[U]:
        """Give itself: there is no value."""
        return self

    @property
    def chosen(self) -> frozenset[Any] | None:
        """No leaves: `$` is there, `~` and `!` are not."""
        return frozenset() if self is EMPTY else None

    def __str__(self) -> str:
        return self._sign

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


NEG: Final[NameTree[Any]] = _End("~", "NEG")
"""Not here: the next alternative is tried."""
FAIL: Final[NameTree[Any]] = _End("!", "FAIL")
"""Stop: no further alternative is tried, the name cannot be bound."""
EMPTY: Final[NameTree[Any]] = _End("$", "EMPTY")
"""Here, but without any endpoint; no further alternative is tried."""

_ENDS: Final = {"~": NEG, "!": FAIL, "$": EMPTY}


def take_tree(scanner: Scanner) -> NameTree[Path]:
    """Take a tree from where the scanner is; raises `DtabSyntaxError`."""
    trees = [_take_union(scanner)]
    while scanner.skip("|"):
        trees.append(_take_union(scanner))
    return Alt(tuple(trees)) if len(trees) > 1 else trees[0]


def _take_union(scanner: Scanner) -> NameTree[Path]:
    branches = [_take_branch(scanner)]
    while scanner.skip("&"):
        branches.append(_take_branch(scanner))
    return Union(tuple(branches)) if len(branches) > 1 else branches[0].tree


def _take_branch(scanner: Scanner) -> Weighted[Path]:
    scanner.skip_space()
    weight = 1.0
    if scanner.peek in _WEIGHT_START:
        weight = scanner.take_weight()
        scanner.skip_space()
        scanner.take("*")
        scanner.skip_space()
    char = scanner.peek
    tree: NameTree[Path]
    if char == "/":
        tree = Leaf(take_path(scanner))
    elif char in _ENDS:
        tree = _ENDS[char]
        scanner.index += 1
    elif char == "(":
        tree = _take_group(scanner)
    else:
        scanner.fail("simple")
    scanner.skip_space()
    return Weighted(weight, tree)


def _take_group(scanner: Scanner) -> NameTree[Path]:
    if scanner.nesting == MAX_NESTING:
        raise DtabSyntaxError(f"at most {MAX_NESTING} nested parentheses", "another one", scanner.text, scanner.index)
    scanner.index += 1
    scanner.nesting += 1
    tree = take_tree(scanner)
    scanner.take(")")
    scanner.nesting -= 1
    return tree


def show_weight(weight: float) -> str:
    """Give the shortest digits that read back as the same number, never with an exponent."""
    text = format(Decimal(repr(abs(float(weight)))), "f")
    return text.removesuffix(".0")


def _show(tree: NameTree[Any]) -> str:
    tree = _unwrap(tree)
    if isinstance(tree, Alt):
        return " | ".join([_group(part, Alt) for part in tree.trees])
    if isinstance(tree, Union):
        return " & ".join([_show_branch(branch) for branch in tree.branches])
    return str(tree)


def _show_branch(branch: Weighted[Any]) -> str:
    shown = _group(branch.tree, Alt, Union)
    return shown if branch.weight == 1.0 else f"{show_weight(branch.weight)}*{shown}"


def _group(tree: NameTree[Any], *kinds: type[NameTree[Any]]) -> str:
    tree = _unwrap(tree)
    return f"({_show(tree)})" if isinstance(tree, kinds) else _show(tree)


def _unwrap(tree: NameTree[Any]) -> NameTree[Any]:
    """Give the tree inside alternatives and unions of one branch, which are shown as that branch."""
    while True:
        if isinstance(tree, Alt):
            if len(tree.trees) > 1:
                return tree
            tree = tree.trees[0] if tree.trees else NEG
        elif isinstance(tree, Union):
            if len(tree.branches) > 1:
                return tree
            tree = tree.branches[0].tree if tree.branches else NEG
        else:
            return tree
