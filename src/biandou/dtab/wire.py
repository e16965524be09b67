"""Trees, addresses and delegations as JSON, as admin pages and namerd's HTTP API show them (reference/naming.md §8)."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from biandou.dtab.bound import WEIGHT, Address, Addresses, AddressSet, Bound, LocalStatus, Negative
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
    to_json,
)
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, Prefix
from biandou.dtab.tree import EMPTY, FAIL, NEG, Alt, Leaf, NameTree, Union, Weighted
from biandou.errors import BindingError, ResolutionError, reason
from biandou.live import PENDING, Failed, Live, Ok, Pending, State

T = TypeVar("T")

MAX_NAMES: Final = 1000
"""How many bound names' addresses are looked up for one answer."""
MAX_TEXT: Final = 8 * 1024 * 1024
"""How much text an answer may hold: every node repeats its dentry, and a short dtab can lead to thousands of nodes."""


async def known(live: Live[T], watches: ExitStack) -> State[T]:
    """Give the first state that is not pending; the watch stays open with `watches`."""
    found: asyncio.Future[State[T]] = asyncio.get_running_loop().create_future()

    def look(state: State[T]) -> None:
        if not found.done() and not isinstance(state, Pending):
            found.set_result(state)

    watches.callback(live.observe(look).close)
    return await found


async def delegation_json(delegation: Live[Delegation], seconds: float) -> dict[str, Any]:
    """Give a delegation with the addresses of its bound names.

    Raises `TimeoutError` if a namer does not answer within `seconds`, `BindingError` if the delegation is too large to
    show, and whatever made it fail.
    """
    with ExitStack() as watches:
        async with asyncio.timeout(seconds):
            state = await known(delegation, watches)
            if isinstance(state, Failed):
                raise state.error
            if isinstance(state, Pending):
                raise TimeoutError
            check_size(state.value)
            addresses = {bound.id: await known(bound.addresses, watches) for bound in _names(state.value).values()}
        return to_json(state.value, lambda bound: address_json(addresses.get(bound.id, PENDING)))


def address_json(state: State[Addresses]) -> dict[str, Any]:
    """Give where a client name is."""
    match state:
        case Ok(AddressSet(addresses, meta)):
            addrs = [{"ip": at.host, "port": at.port, "meta": dict(at.meta)} for at in addresses]
            return {"type": "bound", "addrs": addrs, "meta": dict(meta)}
        case Ok(LocalStatus()):
            # The reference has an address of its own making there; nobody can connect to ours.
            return {"type": "bound", "addrs": [], "meta": {}}
        case Ok(_):
            return {"type": "neg"}
        case Failed(error):
            return {"type": "failed", "cause": reason(error)}
    return {"type": "pending"}


# ── Reading what namerd sends ────────────────────────────────────────────────────────────────────────────────────────


def read_tree(document: Any, bind: Callable[[Path, Path, Any], Bound]) -> NameTree[Bound]:
    """Read a bound tree; `bind` gives a leaf of its id, residual and `addr`.

    Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for what is none, `RecursionError` if too deep.
    """
    match document["type"]:
        case "leaf":
            leaf = document["bound"]
            return Leaf(bind(Path.read(leaf["id"]), Path.read(leaf.get("path", "/")), leaf.get("addr")))
        case "union":
            branches = [(float(branch["weight"]), read_tree(branch["tree"], bind)) for branch in document["union"]]
            return Union(tuple(Weighted(weight, tree) for weight, tree in branches))
        case "alt":
            return Alt(tuple(read_tree(branch, bind) for branch in document["alt"]))
        case "delegate":
            return read_tree(document["delegate"], bind)
        case "neg" | "fail" | "empty" as kind:
            return {"neg": NEG, "fail": FAIL, "empty": EMPTY}[kind]
        case kind:
            raise ValueError(f"there is no tree of the type {kind}")


def read_address(document: Any) -> Addresses:
    """Read where a client name is; raises as `read_tree` does, and `ResolutionError` if its namer could not say."""
    match document["type"]:
        case "bound":
            found = tuple(dict.fromkeys(_read_endpoint(endpoint) for endpoint in document["addrs"]))
            return AddressSet(found, dict(document.get("meta") or {}))
        case "neg":
            return Negative()
        case "failed":
            raise ResolutionError(str(document.get("cause", "")))
        case kind:
            raise ValueError(f"there is no address of the type {kind}")


def _read_endpoint(endpoint: Any) -> Address:
    port = endpoint["port"]
    if not isinstance(port, int) or not 0 < port <= 65535:
        raise ValueError(f"{port} is no port")
    meta = dict(endpoint.get("meta") or {})
    weight = meta.get(WEIGHT)
    if isinstance(weight, int) and not isinstance(weight, bool):
        # JSON of others may leave the point out; only a real number is a weight.
        meta[WEIGHT] = float(weight)
    if isinstance(weight, float) and not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"{weight} is no weight")
    return Address(str(ipaddress.ip_address(endpoint["ip"])), port, meta)


def read_delegation(document: Any, bind: Callable[[Path, Path, Any], Bound]) -> Delegation:
    """Read a delegation; raises as `read_tree` does."""
    shown = document.get("path", "/")
    path = Path() if shown in ("~", "!") else Path.read(shown)
    written = document.get("dentry")
    dentry = None if written is None else Dentry(Prefix.read(written["prefix"]), NameTree.read(written["dst"]))

    def bound(leaf: Any) -> Bound:
        return bind(Path.read(leaf["id"]), Path.read(leaf.get("path", "/")), leaf.get("addr"))

    match document["type"]:
        case "neg":
            return Absent(path=path, dentry=dentry)
        case "fail":
            return Refused(path=path, dentry=dentry)
        case "empty":
            return Vacant(path=path, dentry=dentry)
        case "exception":
            return Broken(path=path, dentry=dentry, message=str(document["message"]))
        case "leaf":
            return Found(path=path, dentry=dentry, bound=bound(document["bound"]))
        case "delegate":
            return Step(path=path, dentry=dentry, tree=read_delegation(document["delegate"], bind))
        case "alt":
            trees = tuple(read_delegation(branch, bind) for branch in document["alt"])
            return Alternatives(path=path, dentry=dentry, trees=trees)
        case "union":
            shares = tuple((float(part["weight"]), read_delegation(part["tree"], bind)) for part in document["union"])
            return Shares(path=path, dentry=dentry, branches=shares)
        case "transformation":
            tree, before = read_delegation(document["tree"], bind), bound(document["bound"])
            return Transformed(path=path, dentry=dentry, name=str(document["name"]), before=before, tree=tree)
        case kind:
            raise ValueError(f"there is no delegation of the type {kind}")


# ── A delegation's extent ────────────────────────────────────────────────────────────────────────────────────────────


def _names(tree: Delegation) -> dict[Path, Bound]:
    """Give the bound names of a delegation by id, `MAX_NAMES` at most."""
    names: dict[Path, Bound] = {}
    for bound in _bound(tree):
        if len(names) == MAX_NAMES:
            break
        names.setdefault(bound.id, bound)
    return names


def _bound(tree: Delegation) -> Iterator[Bound]:
    for node in _nodes(tree):
        match node:
            case Found():
                yield node.bound
            case Transformed():
                yield node.before


def check_size(tree: Delegation) -> None:
    """Raise `BindingError` if a delegation is too large to show."""
    if _text(tree) > MAX_TEXT:
        raise BindingError("the delegation is too large to show")


def _text(tree: Delegation) -> int:
    """Give about how many characters of paths and dentries the answer would hold; stops counting beyond `MAX_TEXT`."""
    dentries: dict[int, int] = {}
    size = 0
    for node in _nodes(tree):
        size += sum(map(len, node.path.segments)) + len(node.path)
        if node.dentry is not None:
            counted = dentries.get(id(node.dentry))
            if counted is None:
                counted = dentries[id(node.dentry)] = len(str(node.dentry.prefix)) + len(str(node.dentry.dst))
            size += counted
        if size > MAX_TEXT:
            break
    return size


def _nodes(tree: Delegation) -> Iterator[Delegation]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Transformed() | Step():
                waiting.append(node.tree)
            case Alternatives():
                waiting += reversed(node.trees)
            case Shares():
                waiting += [branch for _, branch in reversed(node.branches)]
