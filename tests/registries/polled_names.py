"""What the tests of polled namers look at: the ports that a name comes to."""

from __future__ import annotations

from collections.abc import Callable

from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.live import Live, Ok, State
from biandou.testing.observing import Observed

Tree = NameTree[Path | Bound]


def addresses(live: Live[Tree]) -> Live[Addresses | None]:
    """Follow the addresses of a tree; `None` while it is negative."""

    def inner(tree: Tree) -> Live[Addresses | None]:
        if tree is NEG:
            return Live.ok(None)
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        return tree.value.addresses.map(lambda known: known)

    return live.flat_map(inner)


def ports(state: State[Addresses | None]) -> list[int] | None:
    """Give the ports of a state that is known; none if it is negative."""
    if not isinstance(state, Ok):
        return None
    if state.value is None:
        return []
    return [one.port for one in state.value.addresses] if isinstance(state.value, AddressSet) else None


def at(*wanted: int) -> Callable[[State[Addresses | None]], bool]:
    """Say whether these are the ports; none means that the name is negative."""
    return lambda state: ports(state) == [*wanted]


def known(state: State[Addresses | None]) -> tuple[Address, ...]:
    """Give the addresses of a state that is known."""
    assert isinstance(state, Ok)
    assert isinstance(state.value, AddressSet)
    return state.value.addresses


async def bound_of(live: Live[Tree]) -> Bound:
    """Give the leaf of a tree as soon as there is one."""
    with Observed(live) as seen:
        state = await seen.until(lambda state: isinstance(state, Ok) and isinstance(state.value, Leaf))
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    assert isinstance(state.value.value, Bound)
    return state.value.value
