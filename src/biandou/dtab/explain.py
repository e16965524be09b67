"""The whole delegation of a name, with the branches not taken: what `/delegator.json` and `biandou explain` show.

Unlike binding, every alternative is followed. Shape and wording are the reference's (reference/linker.md §7.3,
reference/naming.md §8.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from biandou.dtab.bound import Bound
from biandou.dtab.delegate import MAX_DEPTH, MAX_STEPS, NO_DTAB, Ask, matching
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, Dtab
from biandou.dtab.tree import EMPTY, FAIL, NEG, Alt, Leaf, NameTree, Union
from biandou.live import PENDING, Failed, Ok, Pending, State

_MAX_NESTING: Final = 300
"""How deep a delegation tree may be: it is built, and later written as JSON, by recursion."""
_TOO_DEEP: Final = "Max recursion level reached."
_FAIL_PATH: Final = Path.of("$", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """A place in a delegation: the name here, and the dentry that led here (`None` at the root)."""

    path: Path
    dentry: Dentry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Delegation):
    """`~`: no such name; the path is empty when a dtab says so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Delegation):
    """`!`: the search ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacant(Delegation):
    """`$`: a name without endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Delegation):
    """A namer failed, or the delegation went too far; `message` says which."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Delegation):
    """A bound name."""

    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Delegation):
    """The name goes on as another one."""

    tree: Delegation


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives(Delegation):
    """The first of `trees` that comes to something is used."""

    trees: tuple[Delegation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares(Delegation):
    """Requests are spread over `branches` by weight."""

    branches: tuple[tuple[float, Delegation], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformed(Delegation):
    """A bound name that the transformer `name` made into `tree`."""

    name: str
    before: Bound
    tree: Delegation


@dataclass(frozen=True, slots=True)
class Explanation:
    """A delegation, pending while a namer on the way is, and every path that was looked up for it."""

    state: State[Delegation]
    paths: frozenset[Path]


def explain(dtab: Dtab, path: Path, ask: Ask, *, local: Dtab = NO_DTAB) -> Explanation:
    """Follow `path` through `dtab` + `local` along every branch; `ask` as in `evaluate`."""
    walk = _Walk(dtab, local, ask)
    tree = walk.look_up(path, None, 0, 0)
    return Explanation(PENDING if walk.pending else Ok(tree), frozenset(walk.asked))


class _Walk:
    def __init__(self, dtab: Dtab, local: Dtab, ask: Ask) -> None:
        self.dtab = dtab
        self.local = local
        self.ask = ask
        self.asked: set[Path] = set()
        self.pending = False
        self.steps = 0

    def look_up(self, path: Path, dentry: Dentry | None, depth: int, nesting: int) -> Delegation:
        """Give where `path` goes, to which `dentry` led."""
        if depth == MAX_DEPTH:
            return Broken(path=path, dentry=dentry, message=_TOO_DEEP)
        self.asked.add(path)
        found = self.local.matching(path) + self.dtab.matching(path)
        if not matching(path, self.dtab, self.local):
            answer = self.ask(path)
            if isinstance(answer, Failed):
                return Broken(path=path, dentry=dentry, message=str(answer.error))
            if isinstance(answer, Pending):
                self.pending = True
            elif answer.value is not NEG:
                return self.visit(answer.value, path, dentry, depth + 1, nesting + 1)
        trees = []
        for match in found:
            trees.append(self.visit(match.destination(path), path, match, depth + 1, nesting + 1))
            if self.steps > MAX_STEPS:
                break
        if not trees:
            return Absent(path=path, dentry=dentry)
        return _alternatives(path, dentry, trees)

    def visit(
        self,
        tree: NameTree[Any],
        path: Path,
        dentry: Dentry | None,
        depth: int,
        nesting: int,
    ) -> Delegation:
        """Give where `tree` goes, which `dentry` or a namer gave for `path`."""
        self.steps += 1
        if nesting > _MAX_NESTING or self.steps > MAX_STEPS:
            return Broken(path=path, dentry=dentry, message=_TOO_DEEP)
        if isinstance(tree, Leaf):
            if isinstance(tree.value, Bound):
                return Found(path=path, dentry=dentry, bound=tree.value)
            return self.look_up(tree.value, dentry, depth, nesting + 1)
        if isinstance(tree, Alt):
            trees = []
            for branch in tree.trees:
                trees.append(self.visit(branch, path, dentry, depth, nesting + 1))
                if self.steps > MAX_STEPS:
                    break
            return _alternatives(path, dentry, trees)
        if isinstance(tree, Union):
            branches = []
            for share in tree.branches:
                branches.append((share.weight, self.visit(share.tree, path, dentry, depth, nesting + 1)))
                if self.steps > MAX_STEPS:
                    break
            if len(branches) == 1:
                return _step(path, dentry, branches[0][1])
            return Shares(path=path, dentry=dentry, branches=tuple(branches)) if branches else _absent(path, dentry)
        if tree is FAIL:
            return Refused(path=path, dentry=dentry)
        if tree is EMPTY:
            return Vacant(path=path, dentry=dentry)
        return _absent(Path(), dentry)


def _absent(path: Path, dentry: Dentry | None) -> Delegation:
    return Absent(path=path, dentry=dentry)


def _step(path: Path, dentry: Dentry | None, tree: Delegation) -> Delegation:
    """Give one step, or no step when it leads to the same name."""
    if tree.path == path and not isinstance(tree, Absent | Refused | Vacant):
        return tree if isinstance(tree, Transformed) else replace(tree, dentry=dentry)
    return Step(path=path, dentry=dentry, tree=tree)


def _alternatives(path: Path, dentry: Dentry | None, trees: list[Delegation]) -> Delegation:
    if not trees:
        return _absent(path, dentry)
    if len(trees) == 1:
        return _step(path, dentry, trees[0])
    flat: list[Delegation] = []
    for tree in trees:
        if isinstance(tree, Alternatives) and tree.path == path:
            flat += tree.trees
        else:
            flat.append(tree)
    return Alternatives(path=path, dentry=dentry, trees=tuple(flat))


def map_found(tree: Delegation, function: Callable[[Found], Delegation]) -> Delegation:
    """Give the same delegation with `function` of every `Found`: how transformers are shown."""
    if isinstance(tree, Found):
        return function(tree)
    if isinstance(tree, Step | Transformed):
        return replace(tree, tree=map_found(tree.tree, function))
    if isinstance(tree, Alternatives):
        return replace(tree, trees=tuple([map_found(branch, function) for branch in tree.trees]))
    if isinstance(tree, Shares):
        return replace(
            tree, branches=tuple([(weight, map_found(branch, function)) for weight, branch in tree.branches])
        )
    return tree


def to_json(tree: Delegation, address: Callable[[Bound], Any]) -> dict[str, Any]:
    """Give the reference's JSON, keys in its order; `address` gives a bound name's `addr`, `None` leaves it out."""
    shown: dict[str, Any] = {"type": "", "path": _shown_path(tree)}
    if tree.dentry is not None and not isinstance(tree, Transformed):
        shown["dentry"] = {"prefix": str(tree.dentry.prefix), "dst": str(tree.dentry.dst)}
    if isinstance(tree, Absent):
        shown["type"] = "neg"
    elif isinstance(tree, Refused):
        shown["type"] = "fail"
    elif isinstance(tree, Vacant):
        shown["type"] = "empty"
    elif isinstance(tree, Broken):
        shown |= {"type": "exception", "message": tree.message}
    elif isinstance(tree, Found):
        shown |= {"type": "leaf", "bound": _bound_json(tree.bound, address)}
    elif isinstance(tree, Step):
        shown |= {"type": "delegate", "delegate": to_json(tree.tree, address)}
    elif isinstance(tree, Alternatives):
        shown["type"] = "alt"
        shown["alt"] = trees = []
        for branch in tree.trees:
            trees.append(to_json(branch, address))
    elif isinstance(tree, Shares):
        shown["type"] = "union"
        shown["union"] = shares = []
        for weight, branch in tree.branches:
            shares.append({"weight": weight, "tree": to_json(branch, address)})
    elif isinstance(tree, Transformed):
        shown |= {"type": "transformation", "name": tree.name, "bound": _bound_json(tree.before, address)}
        shown["tree"] = to_json(tree.tree, address)
    return shown


def _shown_path(tree: Delegation) -> str:
    if isinstance(tree, Absent) and not tree.path.segments:
        return "~"
    if isinstance(tree, Refused) and not tree.path.starts_with(_FAIL_PATH):
        return "!"
    return str(tree.path)


def _bound_json(bound: Bound, address: Callable[[Bound], Any]) -> dict[str, Any]:
    addr = address(bound)
    shown = {} if addr is None else {"addr": addr}
    return shown | {"id": str(bound.id), "path": str(bound.residual)}
