"""The messages of `io.l5d.mesh` (`mesh.proto` beside this file): names, trees, dtabs and delegations as protobuf.

Every `decode_…` raises `MalformedMessage` for what is none, however deep or long it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from biandou.dtab.bound import Bound
from biandou.dtab.explain import (
    Absent,
    Alternatives,
    Broken,
    Delegation,
    Found,
    Refused,
    Shares,
    Step,
    Transformed,
    Vacant,
)
from biandou.dtab.path import Path
from biandou.dtab.protobuf import (
    MalformedMessage,
    as_bytes,
    as_double,
    bytes_field,
    choice,
    double_field,
    fields,
    members,
    text_field,
)
from biandou.dtab.table import Dentry, Dtab, Element, Prefix
from biandou.dtab.tree import EMPTY, FAIL, NEG, Alt, Leaf, NameTree, Union, Weighted

T = TypeVar("T")

MAX_SEGMENTS: Final = 1000
MAX_NESTING: Final = 150
"""How many trees may stand in each other; they are read and written by recursion."""
MAX_DENTRIES: Final = 10_000
MAX_OWN_DTAB: Final = 128 * 1024
"""A dtab that a request brings comes in a header line, which is far shorter; reading this takes some 45 ms."""

_NEG, _FAIL, _EMPTY, _ALT, _UNION, _LEAF = range(1, 7)
_DELEGATE, _TRANSFORMATION, _EXCEPTION = 9, 10, 11
_DELEGATION: Final = 2
"""The nodes of a delegation have numbers that are so much higher than those of a tree."""
_ENDS: Final = {_NEG: NEG, _FAIL: FAIL, _EMPTY: EMPTY}

_NO_DENTRY: Final = Dentry(Prefix((b"/",)), NEG)
"""What the reference has where no entry led."""


# ── Paths and dtabs ──────────────────────────────────────────────────────────────────────────────────────────────────


def encode_path(path: Path) -> bytes:
    """Write a `Path`."""
    return b"".join([bytes_field(1, segment) for segment in path.segments])


def decode_path(message: bytes) -> Path:
    """Read a `Path`."""
    segments = []
    for number, value in fields(message):
        if number == 1:
            segments.append(as_bytes(number, value))
            if not segments[-1] or len(segments) > MAX_SEGMENTS:
                raise MalformedMessage(f"a path has up to {MAX_SEGMENTS} segments, and none is empty")
    return Path(tuple(segments))


def encode_dtab(dtab: Dtab) -> bytes:
    """Write a `Dtab`."""
    return b"".join([bytes_field(1, _dentry(dentry)) for dentry in dtab])


def decode_dtab(message: bytes) -> Dtab:
    """Read a `Dtab`."""
    dentries = []
    for number, value in fields(message):
        if number == 1:
            dentries.append(_read_dentry(as_bytes(number, value)))
            if len(dentries) > MAX_DENTRIES:
                raise MalformedMessage(f"a dtab has at most {MAX_DENTRIES} entries")
    return Dtab(dentries)


def _dentry(dentry: Dentry) -> bytes:
    elements = [
        bytes_field(1, bytes_field(2, b"") if element is None else bytes_field(1, element))
        for element in dentry.prefix.elements
    ]
    return bytes_field(1, b"".join(elements)) + bytes_field(2, encode_tree(dentry.dst, path_leaf))


def _read_dentry(message: bytes) -> Dentry:
    parts = members(message)
    if 2 not in parts:
        raise MalformedMessage("a dentry has a dst")
    elements: list[Element] = []
    for number, value in fields(parts.get(1, b"")):
        if number == 1:
            chosen = choice(as_bytes(number, value), range(1, 3))
            if chosen is None or chosen == (1, b"") or len(elements) == MAX_SEGMENTS:
                raise MalformedMessage(f"a prefix has up to {MAX_SEGMENTS} elements, each a label or a wildcard")
            elements.append(chosen[1] if chosen[0] == 1 else None)
    return Dentry(Prefix(tuple(elements)), decode_tree(parts[2], read_path_leaf))


# ── Trees ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode_tree(tree: NameTree[T], leaf: Callable[[T], bytes]) -> bytes:
    """Write a `PathNameTree` or a `BoundNameTree`, whose `Leaf` is what `leaf` gives."""
    if isinstance(tree, Leaf):
        return bytes_field(_LEAF, leaf(tree.value))
    parts = []
    if isinstance(tree, Alt):
        for branch in tree.trees:
            parts.append(bytes_field(1, encode_tree(branch, leaf)))
        return bytes_field(_ALT, b"".join(parts))
    if isinstance(tree, Union):
        for share in tree.branches:
            parts.append(_weighted(share.weight, encode_tree(share.tree, leaf)))
        return bytes_field(_UNION, b"".join(parts))
    return bytes_field(_FAIL if tree is FAIL else _EMPTY if tree is EMPTY else _NEG, b"")


def decode_tree(message: bytes, leaf: Callable[[bytes], T], nesting: int = 0) -> NameTree[T]:
    """Read a `PathNameTree` or a `BoundNameTree`; `leaf` reads its `Leaf`."""
    if nesting > MAX_NESTING:
        raise MalformedMessage("the tree is too deep")
    chosen = choice(message, range(_NEG, _LEAF + 1))
    if chosen is None:
        raise MalformedMessage("a tree has a node")
    kind, inner = chosen
    if kind == _LEAF:
        return Leaf(leaf(inner))
    if kind == _ALT:
        trees = []
        for branch in _branches(inner):
            trees.append(decode_tree(branch, leaf, nesting + 1))
        return Alt(tuple(trees))
    if kind == _UNION:
        shares = []
        for branch in _branches(inner):
            weight, tree = _read_weighted(branch)
            shares.append(Weighted(weight, decode_tree(tree, leaf, nesting + 1)))
        return Union(tuple(shares))
    return _ENDS[kind]


def _weighted(weight: float, tree: bytes) -> bytes:
    return bytes_field(1, double_field(1, weight) + bytes_field(2, tree))


def _read_weighted(message: bytes) -> tuple[float, bytes]:
    weight, tree = 0.0, b""
    for number, value in fields(message):
        if number == 1:
            weight = as_double(number, value)
        elif number == 2:
            tree += as_bytes(number, value)
    if not 0 <= weight < float("inf"):
        raise MalformedMessage(f"{weight} is no weight")
    return weight, tree


def _branches(message: bytes) -> list[bytes]:
    return [as_bytes(number, value) for number, value in fields(message) if number == 1]


def path_leaf(path: Path) -> bytes:
    """Write a `PathNameTree.Leaf`."""
    return bytes_field(1, encode_path(path))


def read_path_leaf(message: bytes) -> Path:
    """Read a `PathNameTree.Leaf`."""
    return decode_path(members(message).get(1, b""))


def bound_leaf(bound: Bound) -> bytes:
    """Write a `BoundNameTree.Leaf`."""
    return bytes_field(1, encode_path(bound.id)) + bytes_field(2, encode_path(bound.residual))


def bound_leaf_reader(bind: Callable[[Path, Path], Bound]) -> Callable[[bytes], Bound]:
    """Give what reads a `BoundNameTree.Leaf`; `bind` makes a bound name of id and residual."""

    def read(message: bytes) -> Bound:
        parts = members(message)
        client = decode_path(parts.get(1, b""))
        if not len(client):
            raise MalformedMessage("a bound name has an id")
        return bind(client, decode_path(parts.get(2, b"")))

    return read


# ── Delegations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def encode_delegation(tree: Delegation) -> bytes:
    """Write a `BoundDelegateTree`."""
    head = bytes_field(1, encode_path(tree.path))
    if not isinstance(tree, Transformed):
        head += bytes_field(2, _dentry(tree.dentry or _NO_DENTRY))
    return head + _delegation_node(tree)


def _delegation_node(tree: Delegation) -> bytes:
    parts = []
    match tree:
        case Refused():
            return bytes_field(_FAIL + _DELEGATION, b"")
        case Vacant():
            return bytes_field(_EMPTY + _DELEGATION, b"")
        case Alternatives(trees=trees):
            for branch in trees:
                parts.append(bytes_field(1, encode_delegation(branch)))
            return bytes_field(_ALT + _DELEGATION, b"".join(parts))
        case Shares(branches=branches):
            for weight, branch in branches:
                parts.append(_weighted(weight, encode_delegation(branch)))
            return bytes_field(_UNION + _DELEGATION, b"".join(parts))
        case Found(bound=bound):
            return bytes_field(_LEAF + _DELEGATION, bound_leaf(bound))
        case Step(tree=inner):
            return bytes_field(_DELEGATE, encode_delegation(inner))
        case Transformed(name=name, before=before, tree=inner):
            shown = text_field(1, name) + bytes_field(2, bound_leaf(before)) + bytes_field(3, encode_delegation(inner))
            return bytes_field(_TRANSFORMATION, shown)
        case Broken(message=message):
            return bytes_field(_EXCEPTION, f"BoundDelegateTree Exception: {message}".encode(errors="replace"))
    return bytes_field(_NEG + _DELEGATION, b"")


def decode_delegation(message: bytes, bind: Callable[[Path, Path], Bound], nesting: int = 0) -> Delegation:
    """Read a `BoundDelegateTree`; `bind` makes a bound name of id and residual."""
    if nesting > MAX_NESTING:
        raise MalformedMessage("the delegation is too deep")
    parts = members(message)
    path = decode_path(parts.get(1, b""))
    dentry = _read_dentry(parts[2]) if 2 in parts else None
    head: dict[str, Any] = {"path": path, "dentry": None if dentry == _NO_DENTRY else dentry}
    chosen = choice(message, range(_NEG + _DELEGATION, _EXCEPTION + 1))
    if chosen is None:
        raise MalformedMessage("a delegation has a node")
    kind, inner = chosen
    if kind == _DELEGATE:
        return Step(tree=decode_delegation(inner, bind, nesting + 1), **head)
    if kind == _EXCEPTION:
        text = inner.decode(errors="replace").removeprefix("BoundDelegateTree Exception: ")
        return Broken(message=text, **head)
    if kind == _TRANSFORMATION:
        parts = members(inner)
        tree = decode_delegation(parts.get(3, b""), bind, nesting + 1)
        before = bound_leaf_reader(bind)(parts.get(2, b""))
        name = parts.get(1, b"").decode(errors="replace")
        return Transformed(path=path, dentry=None, name=name, before=before, tree=tree)
    if kind == _LEAF + _DELEGATION:
        return Found(bound=bound_leaf_reader(bind)(inner), **head)
    if kind == _ALT + _DELEGATION:
        trees = []
        for branch in _branches(inner):
            trees.append(decode_delegation(branch, bind, nesting + 1))
        return Alternatives(trees=tuple(trees), **head)
    if kind == _UNION + _DELEGATION:
        shares = []
        for branch in _branches(inner):
            weight, below = _read_weighted(branch)
            shares.append((weight, decode_delegation(below, bind, nesting + 1)))
        return Shares(branches=tuple(shares), **head)
    ends: dict[int, type[Delegation]] = {_NEG: Absent, _FAIL: Refused, _EMPTY: Vacant}
    return ends[kind - _DELEGATION](**head)


# ── What is asked ────────────────────────────────────────────────────────────────────────────────────────────────────


class Asked(NamedTuple):
    """A `BindReq`, or a `DelegateTreeReq`, whose second member is a tree."""

    root: Path | None
    name: bytes
    dtab: Dtab


def encode_asked(root: Path, name: bytes, dtab: Dtab) -> bytes:
    """Write a `BindReq`, `name` being a `Path`, or a `DelegateTreeReq`, `name` being a `PathNameTree`."""
    return bytes_field(1, encode_path(root)) + bytes_field(2, name) + bytes_field(3, encode_dtab(dtab))


def decode_asked(message: bytes) -> Asked:
    """Read a `BindReq` or a `DelegateTreeReq`; what is missing is empty."""
    parts = members(message)
    if len(parts.get(3, b"")) > MAX_OWN_DTAB:
        raise MalformedMessage(f"a name's own dtab has at most {MAX_OWN_DTAB} bytes")
    root = decode_path(parts[1]) if 1 in parts else None
    return Asked(root, parts.get(2, b""), decode_dtab(parts.get(3, b"")))
