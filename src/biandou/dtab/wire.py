"""Trees, addresses and delegations as JSON, as admin pages and namerd's HTTP API show them (reference/naming.md §8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from biandou.dtab.bound import Addresses, AddressSet, Bound, LocalStatus
from biandou.dtab.explain import Alternatives, Delegation, Found, Shares, Step, Transformed, to_json
from biandou.dtab.path import Path
from biandou.errors import BindingError, reason
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
            if _text(state.value) > MAX_TEXT:
                raise BindingError("the delegation is too large to show")
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
