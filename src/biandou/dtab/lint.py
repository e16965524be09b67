"""Finds what is probably a mistake in a dtab that can be read. Pure: what namers serve is given, none is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from biandou.dtab.decided import Decided
from biandou.dtab.lint_loops import Loops
from biandou.dtab.lint_weights import misleading
from biandou.dtab.path import Path
from biandou.dtab.placed import PlacedDentry, PlacedDtab, parts, read_placed
from biandou.dtab.table import Dentry, Dtab, Prefix
from biandou.dtab.tree import FAIL, NEG, Alt, Leaf, NameTree, Union

SHOWN_STEPS: Final = 4
"""How much of a loop is shown."""
MAX_FINDINGS: Final = 1000


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A probable mistake: where (from 1), its code (docs/guides/dtab-tools.md lists them), and a sentence."""

    line: int
    column: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Served:
    """The prefixes that namers answer for, each whole (`/#/io.l5d.fs`, `/$/inet`), and what a name below one may be.

    `configured` is `None` if nobody knows which namers there are.
    """

    system: frozenset[bytes]
    configured: tuple[Path, ...] | None = None


def lint(text: str, served: Served) -> list[Finding]:
    """Give the findings of a dtab's text in the order of their places; raises `DtabSyntaxError` if it is none."""
    placed = read_placed(text)
    return sorted(set(_Linting(placed, served).findings()))[:MAX_FINDINGS]


class _Linting:
    def __init__(self, placed: PlacedDtab, served: Served) -> None:
        self._placed = placed
        self._served = served
        # An entry that comes to `~` decides nothing, wherever it stands.
        self._entries = {id(entry.dentry): entry for entry in placed.entries if entry.dentry.dst.simplified is not NEG}
        self._dtab = Dtab(entry.dentry for entry in self._entries.values())
        self._decided = Decided(self._dtab)
        self._fresh = _fresh(self._dtab)

    def findings(self) -> Iterator[Finding]:
        for entry in self._placed.entries:
            if id(entry.dentry) not in self._entries:
                yield self._at(entry.start, "no-effect", f"{_short(entry.dentry)} comes to ~ and so changes nothing.")
            else:
                yield from self._in_tree(entry)
        by_prefix: dict[Prefix, Path] = {
            entry.dentry.prefix: self._sample(entry.dentry.prefix) for entry in self._entries.values()
        }
        loops = Loops(self._dtab, self._decided.tree)
        for prefix, sample in by_prefix.items():
            matching = self._dtab.matching(sample)
            yield from self._shadowed(prefix, matching)
            way = loops.find(sample)
            if way is not None:
                yield self._loop(way)

    # ── Between entries ──────────────────────────────────────────────────────────────────────────────────────────────

    def _shadowed(self, prefix: Prefix, matching: Iterable[Dentry]) -> Iterator[Finding]:
        """Judge the entries of one prefix; `matching` is in the order of trying, the last entry first."""
        decider: PlacedDentry | None = None
        general: PlacedDentry | None = None
        same: dict[NameTree[Path], PlacedDentry] = {}
        for dentry in matching:
            entry = self._entries[id(dentry)]
            if dentry.prefix == prefix:
                twin = same.setdefault(dentry.dst, entry)
                if decider is not None:
                    message = f"is never tried: {self._named(decider)} is tried before it, and never comes to ~."
                    yield self._about(entry, "shadowed", message)
                elif twin is not entry:
                    yield self._about(entry, "duplicate", f"says what {self._named(twin)} says.")
                elif general is not None:
                    message = f"is tried only when {self._named(general)} comes to ~: later entries are tried first."
                    yield self._about(entry, "overtaken", message)
            elif general is None:
                general = entry
            if decider is None and self._decided.tree(dentry.dst):
                decider = entry

    def _loop(self, way: list[Path]) -> Finding:
        last = way[-1]
        first = way.index(last)
        closed = first < len(way) - 1
        cycle = way[first:] if closed else way
        entry = self._entries[id(self._dtab.matching(cycle[0])[0])]
        shown = [self._readable(path) for path in cycle]
        if closed:
            middle = [*shown[:SHOWN_STEPS], "…", shown[-1]] if len(shown) > SHOWN_STEPS + 1 else shown
            message = f"{shown[0]} comes back to itself: {' → '.join(middle)}."
        else:
            message = f"{shown[0]} never comes to an end: {' → '.join([*shown[:SHOWN_STEPS], '…'])}."
        return self._at(entry.start, "loop", message)

    # ── Within an entry ──────────────────────────────────────────────────────────────────────────────────────────────

    def _in_tree(self, entry: PlacedDentry) -> Iterator[Finding]:
        places: list[int] = []
        for node, left in parts(entry.dentry.dst):
            for code, child_left, message in self._in_node(node):
                places = places or self._placed.ends(entry)
                yield self._at(places[left + child_left], code, message)

    def _in_node(self, node: NameTree[Any]) -> Iterator[tuple[str, int, str]]:
        if isinstance(node, Leaf):
            yield from self._in_leaf(node.value)
        elif isinstance(node, Alt):
            yield from self._in_alternatives(node)
        elif isinstance(node, Union):
            left = 0
            for branch in node.branches:
                if branch.tree.simplified in (NEG, FAIL):
                    message = f"{branch.tree} in a union gets no requests: the other branches share them."
                    yield "dead-branch", left, message
                left += sum(1 for part, _ in parts(branch.tree) if not isinstance(part, Alt | Union))
            sentence = misleading([branch.weight for branch in node.branches])
            if sentence is not None:
                yield "weights", 0, sentence

    def _in_alternatives(self, node: Alt[Path]) -> Iterator[tuple[str, int, str]]:
        left = 0
        decided: NameTree[Path] | None = None
        seen: set[NameTree[Path]] = set()
        for tree in node.trees:
            if decided is not None:
                yield "dead-branch", left, f"{_cut(str(tree))} is never tried: {_cut(str(decided))} never comes to ~."
                return
            if tree.simplified is NEG:
                yield "dead-branch", left, f"{_cut(str(tree))} among alternatives changes nothing."
            elif tree in seen:
                yield "dead-branch", left, f"{_cut(str(tree))} stands among these alternatives before."
            seen.add(tree)
            decided = tree if self._decided.tree(tree) else None
            left += sum(1 for part, _ in parts(tree) if not isinstance(part, Alt | Union))

    def _in_leaf(self, path: Path) -> Iterator[tuple[str, int, str]]:
        if self._dtab.may_match(path) or not path.segments:
            return
        shown = _cut(str(path))
        match path.segments[0]:
            case b"$":
                if len(path) > 1 and path.segments[1] not in self._served.system:
                    yield (
                        "unserved",
                        0,
                        f"Nothing serves {shown}: there is no /$/{_cut(str(path.drop(1).take(1))[1:])}.",
                    )
            case b"#":
                configured = self._served.configured
                if configured is not None and not any(_meet(path, prefix) for prefix in configured):
                    there = ", ".join(sorted({str(prefix) for prefix in configured})[:10]) or "none"
                    yield "unserved", 0, f"No namer serves {shown}; configured: {there}."
            case _:
                yield "dead-end", 0, f"{shown} always comes to ~: no entry and no namer knows what begins like that."

    # ── Words and places ─────────────────────────────────────────────────────────────────────────────────────────────

    def _sample(self, prefix: Prefix) -> Path:
        return Path(tuple(self._fresh if element is None else element for element in prefix.elements))

    def _readable(self, path: Path) -> str:
        return _cut("/" + "/".join("*" if one == self._fresh else str(Path((one,)))[1:] for one in path.segments))

    def _named(self, entry: PlacedDentry) -> str:
        line, _ = self._placed.place(entry.start)
        return f"{_short(entry.dentry)} (line {line})"

    def _about(self, entry: PlacedDentry, code: str, message: str) -> Finding:
        return self._at(entry.start, code, f"{_short(entry.dentry)} {message}")

    def _at(self, index: int, code: str, message: str) -> Finding:
        line, column = self._placed.place(index)
        return Finding(line, column, code, message)


def _meet(path: Path, prefix: Path) -> bool:
    """Whether `path`, or a path that begins with it, begins with `prefix`."""
    return all(one == other for one, other in zip(path.segments, prefix.segments, strict=False))


def _fresh(dtab: Dtab) -> bytes:
    """Give a segment that no entry names, to stand for any."""
    used = {element for dentry in dtab for element in dentry.prefix.elements}
    used |= {segment for dentry in dtab for leaf in dentry.dst.leaves() for segment in leaf.segments}
    fresh = b"*"
    while fresh in used:
        fresh += b"*"
    return fresh


def _short(dentry: Dentry) -> str:
    return f"{_cut(str(dentry.prefix))} => {_cut(str(dentry.dst))}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
