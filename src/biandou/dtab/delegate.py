"""Delegation: what a name comes to, through a dtab and the namers behind it.

Pure: the namers' present answers are asked for through a function, and nothing waits. The rules are those of
reference/linker.md §3.3 to §3.6. No recursion, since a dtab from a request may nest as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from biandou.dtab.bound import Bound
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, Dtab
from biandou.dtab.tree import FAIL, NEG, Alt, Leaf, NameTree, Union, Weighted
from biandou.errors import BindingError, DepthExceeded
from biandou.live import PENDING, Failed, Ok, State

MAX_DEPTH: Final = 100
"""How many lookups deep a name may go (the reference's `namerMaxDepth`)."""

MAX_STEPS: Final = 5_000
"""How many nodes one delegation may visit: `/a => /a & /a` would take 2^100 within the depth limit."""

NO_DTAB: Final = Dtab()

Answer: TypeAlias = State[NameTree[Path | Bound]]
"""What a namer says about a path: a path in the tree is looked up again, a bound name is the end."""
Ask: TypeAlias = Callable[[Path], Answer]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a name came to, and every path that was looked up on the way: only a change to one of them can change it."""

    state: State[NameTree[Bound]]
    paths: frozenset[Path]


class _Alternatives:
    """An `Alt` under way; `waiting` holds the branches not tried yet, the next one last."""

    __slots__ = ("depth", "waiting")

    def __init__(self, waiting: list[tuple[NameTree[Any], tuple[bytes, ...]]], depth: int) -> None:
        self.waiting = waiting
        self.depth = depth


class _Shares:
    """A `Union` under way; `states` holds what its first branches came to."""

    __slots__ = ("branches", "depth", "rest", "states")

    def __init__(self, branches: tuple[Weighted[Any], ...], rest: tuple[bytes, ...], depth: int) -> None:
        self.branches = branches
        self.rest = rest
        self.depth = depth
        self.states: list[State[NameTree[Bound]]] = []


_NOT_HERE: Final[Ok[NameTree[Bound]]] = Ok(NEG)


def matching(path: Path, dtab: Dtab, local: Dtab = NO_DTAB) -> list[Dentry]:
    """Give the entries of `dtab` + `local` that decide about `path`, in the order they are tried.

    None are given when all of them say `~`: then, as when nothing matches, the namers are asked for `path` itself.
    """
    found = local.matching(path) + dtab.matching(path) if local else dtab.matching(path)
    for dentry in found:
        if dentry.dst.simplified is not NEG:
            return found
    return []


def evaluate(dtab: Dtab, path: Path, ask: Ask, *, local: Dtab = NO_DTAB) -> Outcome:
    """Delegate `path` through `dtab` + `local`; `ask` gives the namers' present answer for what no entry matches.

    The tree that comes out has no `Alt`, and no `Union` of fewer than two branches. Too deep a delegation is
    `Failed(DepthExceeded)`.
    """
    asked: set[Path] = set()
    frames: list[_Alternatives | _Shares] = []
    tree: NameTree[Any] = Leaf(path)
    rest: tuple[bytes, ...] = ()
    depth = steps = 0
    state: State[NameTree[Bound]]
    while True:
        steps += 1
        if steps > MAX_STEPS:
            return Outcome(
                Failed(BindingError(f"Delegation of {path} takes more than {MAX_STEPS} steps")), frozenset(asked)
            )
        if isinstance(tree, Leaf):
            name = tree.value
            if isinstance(name, Path):
                if depth == MAX_DEPTH:
                    state = Failed(DepthExceeded(MAX_DEPTH))
                else:
                    depth += 1
                    if rest:
                        name = Path(name.segments + rest)
                    asked.add(name)
                    found = matching(name, dtab, local)
                    if found:
                        segments = name.segments
                        if len(found) > 1:
                            branches = [(dentry.dst, segments[len(dentry.prefix.elements) :]) for dentry in found]
                            branches.reverse()
                            tree, rest = branches.pop()
                            frames.append(_Alternatives(branches, depth))
                        else:
                            tree = found[0].dst
                            rest = segments[len(found[0].prefix.elements) :]
                        continue
                    answer = ask(name)
                    if isinstance(answer, Ok):
                        tree, rest = answer.value, ()
                        continue
                    state = answer
            else:
                state = Ok(tree)
        elif isinstance(tree, Alt):
            if tree.trees:
                frames.append(_Alternatives([(branch, rest) for branch in tree.trees[:0:-1]], depth))
                tree = tree.trees[0]
                continue
            state = _NOT_HERE
        elif isinstance(tree, Union):
            if len(tree.branches) > 1:
                frames.append(_Shares(tree.branches, rest, depth))
                tree = tree.branches[0].tree
                continue
            if tree.branches:
                tree = tree.branches[0].tree
                continue
            state = _NOT_HERE
        else:
            state = Ok(tree)
        # `state` is what the innermost frame was waiting for.
        while frames:
            frame = frames[-1]
            if isinstance(frame, _Alternatives):
                if frame.waiting and isinstance(state, Ok) and state.value is NEG:
                    tree, rest = frame.waiting.pop()
                    depth = frame.depth
                    break
            else:
                frame.states.append(state)
                if len(frame.states) < len(frame.branches):
                    tree, rest, depth = frame.branches[len(frame.states)].tree, frame.rest, frame.depth
                    break
                state = _joined(frame)
            frames.pop()
        else:
            return Outcome(state, frozenset(asked))


def _joined(frame: _Shares) -> State[NameTree[Bound]]:
    """Give what a union comes to: its known branches, however its other branches fare."""
    known = False
    failure: Failed | None = None
    kept: list[Weighted[Bound]] = []
    for branch, state in zip(frame.branches, frame.states, strict=True):
        if isinstance(state, Ok):
            known = True
            if state.value is not NEG and state.value is not FAIL:
                kept.append(Weighted(branch.weight, state.value))
        elif failure is None and isinstance(state, Failed):
            failure = state
    if len(kept) > 1:
        return Ok(Union(tuple(kept)))
    if kept:
        return Ok(kept[0].tree)
    if known:
        return _NOT_HERE
    return failure or PENDING
