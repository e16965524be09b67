"""The namers that the vectors speak of, as small doubles: the language is tested without the rooms above it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from biandou.dtab import EMPTY, FAIL, NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.delegate import Answer
from biandou.dtab.matcher import PathMatcher, fill
from biandou.live import Failed, Live, Ok

Namer = Callable[[Path], Answer]


def bound(name: Path, residual: Path | None = None) -> Leaf[Bound]:
    return Leaf(Bound(name, Live(), residual or Path()))


def table(prefix: Path, names: Sequence[str]) -> Namer:
    """A namer that knows some names under its prefix and binds each with what follows it as the residual."""
    known = [prefix + Path.read(name) for name in names]

    def ask(path: Path) -> Answer:
        for name in known:
            if path.starts_with(name):
                return Ok(bound(name, path.drop(len(name))))
        return Ok(NEG)

    return ask


def rewrite(prefix: Path, pattern: str, name: str) -> Namer:
    matcher = PathMatcher(pattern)

    def ask(path: Path) -> Answer:
        captured = matcher.match(path.drop(len(prefix)))
        return Ok(NEG if captured is None else Leaf(Path.read(fill(name, captured))))

    return ask


def error(path: Path) -> Answer:
    return Failed(ValueError(f"error naming {path}"))


def built_in(path: Path) -> Answer:
    """As much of `/$/…` as the vectors use."""
    if not path.segments or path.segments[0] != b"$":
        return Ok(NEG)
    words = [segment.decode() for segment in path.segments]
    kind, args = words[1], words[2:]
    if kind == "nil":
        return Ok(EMPTY)
    if kind == "fail":
        return Ok(FAIL)
    if kind == "inet":
        for size in (2, 1):
            if len(args) >= size and args[size - 1].isdigit():
                return Ok(bound(path.take(2 + size), path.drop(2 + size)))
    if kind == "io.buoyant.rinet" and len(args) >= 2:
        return Ok(bound(path.take(4), path.drop(4)))
    if kind == "io.buoyant.http.subdomainOfPfx" and len(args) >= 3:
        domain, prefix, host = args[:3]
        if host.endswith("." + domain):
            return Ok(Leaf(Path.of(prefix, host.removesuffix("." + domain)) + path.drop(5)))
        return Ok(NEG)
    if kind == "io.buoyant.http.domainToPathPfx" and len(args) >= 2:
        if re.fullmatch(r"[\w.:-]+", args[1]):
            return Ok(Leaf(Path.of(args[0], *reversed(args[1].split("."))) + path.drop(4)))
        return Ok(NEG)
    if kind == "io.buoyant.porthostPfx" and len(args) >= 2:
        host, colon, port = args[1].partition(":")
        return Ok(Leaf(Path.of(args[0], port, host) + path.drop(4)) if colon else NEG)
    return Failed(ValueError(f"Unknown namer: {kind} for path: {path}"))


def from_vector(described: Sequence[Mapping[str, Any]]) -> Namer:
    """Give the namers of a vector behind one function: the last one first, then the built-in ones."""
    namers: list[tuple[Path, Namer]] = []
    for one in described:
        prefix = Path.of("#") + Path.read(one["prefix"])
        if one["kind"] == "table":
            namers.append((prefix, table(prefix, one["names"])))
        elif one["kind"] == "rewrite":
            namers.append((prefix, rewrite(prefix, one["pattern"], one["name"])))
        else:
            assert one["kind"] == "error"
            namers.append((prefix, error))

    def ask(path: Path) -> Answer:
        for prefix, namer in reversed(namers):
            if path.starts_with(prefix):
                answer = namer(path)
                if not (isinstance(answer, Ok) and answer.value is NEG):
                    return answer
        return built_in(path)

    return ask


def tree_json(tree: NameTree[Any]) -> Any:
    """Give a tree in the form of the vectors."""
    from biandou.dtab import Alt, Union

    if isinstance(tree, Leaf):
        if isinstance(tree.value, Bound):
            return {"type": "leaf", "id": str(tree.value.id), "residual": str(tree.value.residual)}
        return {"type": "leaf", "path": str(tree.value)}
    if isinstance(tree, Alt):
        return {"type": "alt", "trees": [tree_json(branch) for branch in tree.trees]}
    if isinstance(tree, Union):
        shares = [{"weight": share.weight, "tree": tree_json(share.tree)} for share in tree.branches]
        return {"type": "union", "trees": shares}
    return {"type": {NEG: "neg", FAIL: "fail", EMPTY: "empty"}[tree]}
