"""From what Python knows (trees, addresses) to the letters that the engine reads."""

from __future__ import annotations

from ipaddress import ip_address

from biandou.boundary import (
    BoundTree,
    Branch,
    EndpointsFailed,
    EndpointsKnown,
    EndpointsNegative,
    EndpointsPending,
    EndpointsStatus,
    NegativeTree,
)
from biandou.dtab import EMPTY, Alt, Leaf, NameTree, Union
from biandou.dtab.bound import AUTHORITY, WEIGHT, Addresses, AddressSet, Bound, LocalStatus, Negative
from biandou.errors import reason
from biandou.live import Failed, Ok, State

EndpointsState = EndpointsKnown | EndpointsNegative | EndpointsFailed | EndpointsPending | EndpointsStatus

Share = tuple[float, Bound | None]
"""What part of a name's requests goes to a client name; `None` for `$`."""


def shares(tree: NameTree[Bound]) -> list[Share] | None:
    """Flatten a bound tree: each branch with its part of the whole, or `None` if there is nothing at all.

    Weights that are all zero share evenly, as the reference does.
    """
    if isinstance(tree, Leaf):
        return [(1.0, tree.value)]
    simple = tree.simplified
    if not isinstance(simple, Leaf | Union | Alt):
        return None
    found: list[Share] = []
    _flatten(simple, 1.0, found)
    return found


def bound_tree(parts: list[Share] | None) -> BoundTree | NegativeTree:
    """Give the letter for a flattened tree."""
    if parts is None:
        return NegativeTree()
    return BoundTree(
        branches=[
            Branch(weight=share, client=None)
            if bound is None
            else Branch(weight=share, client=str(bound.id), residual=str(bound.residual))
            for share, bound in parts
        ]
    )


def endpoints_state(state: State[Addresses]) -> EndpointsState:
    """Give the letter for where a client name is."""
    match state:
        case Ok(AddressSet(addresses, meta)):
            authority = meta.get(AUTHORITY)
            return EndpointsKnown(
                # Not by its property: there may be thousands.
                addresses=[
                    (one.host, one.port, weight if isinstance(weight := one.meta.get(WEIGHT), float) else 1.0)
                    for one in addresses
                ],
                authority=authority if isinstance(authority, str) else None,
            )
        case Ok(Negative()):
            return EndpointsNegative()
        case Ok(LocalStatus(code)):
            return EndpointsStatus(code=code)
        case Failed(error):
            return EndpointsFailed(message=reason(error))
    return EndpointsPending()


def usable_part(state: EndpointsState) -> EndpointsKnown | None:
    """Give a set without the addresses that are none, which a namer of somebody else's may have found.

    `None` if nothing is left, or if that is not what is wrong with it.
    """
    if not isinstance(state, EndpointsKnown):
        return None
    usable = [address for address in state.addresses if _is_address(*address)]
    if not usable or len(usable) == len(state.addresses):
        return None
    return EndpointsKnown(addresses=usable, authority=state.authority)


def _is_address(host: object, port: object, _weight: float) -> bool:
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
        return False
    try:
        scope = getattr(ip_address(host), "scope_id", None)
    except ValueError:
        return False
    return scope is None and 0 <= port < 1 << 16


def _flatten(tree: NameTree[Bound], share: float, found: list[Share]) -> None:
    if isinstance(tree, Leaf):
        found.append((share, tree.value))
    elif isinstance(tree, Union):
        # Relative to the largest, so that not even weights of 1e308 add up to infinity.
        largest = max(branch.weight for branch in tree.branches) or 1.0
        total = sum(branch.weight / largest for branch in tree.branches)
        for branch in tree.branches:
            part = branch.weight / largest / total if total > 0 else 1 / len(tree.branches)
            _flatten(branch.tree, share * part, found)
    elif isinstance(tree, Alt):
        # Binding leaves no alternatives, and simplifying no negative ones: the first is what is meant.
        _flatten(tree.trees[0], share, found)
    elif tree is EMPTY:
        found.append((share, None))
