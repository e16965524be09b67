"""Sets that mostly have one member: a tuple while there are few, whose members are found by looking at each.

A name has many such sets, and a `set` or `dict` takes 200 bytes or more whatever is in it. The order is that in which
members were added.
"""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

MOST: Final = 8
"""So many are few."""

Few: TypeAlias = tuple[T, ...] | dict[T, None]
"""The members, to be iterated over; those of a `dict` are changed in place."""


def with_member(few: Few[T], member: T) -> Few[T]:
    """Give the set with a member that it may have already."""
    if isinstance(few, dict):
        few[member] = None
        return few
    if member in few:
        return few
    return (*few, member) if len(few) < MOST else dict.fromkeys((*few, member))


def without_member(few: Few[T], member: T) -> Few[T]:
    """Give the set without a member that it may not have."""
    if isinstance(few, dict):
        few.pop(member, None)
        return few or ()
    return tuple(other for other in few if other != member) if member in few else few
