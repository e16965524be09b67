"""What every transformer is: configuration that an operator writes, and a function on trees of client names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from biandou.dtab import Alt, Leaf, NameTree, Path, Union
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, Negative
from biandou.kinds import Kind, kind_name
from biandou.live import Live
from biandou.namers.interface import Interpret as Interpret  # noqa: PLC0414 - the kinds of this room take it from here
from biandou.namers.interface import Namer


class Transformer(Protocol):
    """Changes bound trees; the first in a list sees what the source gives, the last has the last word."""

    @property
    def prefix(self) -> Path:
        """What is put in front of each id, `/%` included."""

    @property
    def delegate_name(self) -> str | None:
        """The `name` of its nodes in a delegation (Linkerd's class name); `None` if it cannot be shown there."""

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the transformed tree."""

    def leaf(self, bound: Bound) -> Bound:
        """Give what becomes of one leaf; never called if there is no `delegate_name`."""


class TransformerKind(Kind, frozen=True, kw_only=True):
    """The key that all transformers have (reference/naming.md §2.0): `prefix`, below `/%`."""

    prefix: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the prefix is a path."""
        if self.prefix is not None:
            Path.read(self.prefix)

    @property
    def default_prefix(self) -> Path:
        """The prefix below `/%` when the operator names none."""
        return Path.read(f"/{kind_name(type(self))}")

    @property
    def full_prefix(self) -> Path:
        """The prefix, `/%` included."""
        return Path.read("/%") + (self.default_prefix if self.prefix is None else Path.read(self.prefix))

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer; may look at this host, raising `OSError`, and opens nothing that stays open."""
        raise NotImplementedError


class AddressTransformer:
    """A transformer that changes each leaf's addresses and leaves the tree's shape alone."""

    def __init__(self, prefix: Path, delegate_name: str, change: Callable[[AddressSet], Addresses]) -> None:
        self.prefix = prefix
        self.delegate_name: str | None = delegate_name
        self._change = change

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the tree with each leaf's id prefixed and its addresses changed."""
        return tree.map(lambda bound: bound.map(self.leaf))

    def leaf(self, bound: Bound) -> Bound:
        """Give the leaf with its id prefixed and its addresses changed."""
        return Bound(self.prefix + bound.id, bound.addresses.map(self._addresses), bound.residual)

    def _addresses(self, addresses: Addresses) -> Addresses:
        # Negative stays so, and what is no address (an HTTP status) is kept.
        return self._change(addresses) if isinstance(addresses, AddressSet) else addresses


FILTER_NAME: Final = "SubnetLocalTransformer"
"""The `delegate_name` of filters by address."""

METADATA_NAME: Final = "MetadataFiltertingNameTreeTransformer"
"""The `delegate_name` of filters by metadata, as Linkerd spells it."""

DELEGATING_NAME: Final = "DelegatingNameTreeTransformer$"
"""The `delegate_name` of those that put other addresses in the place of the name's."""


def keep(wanted: Callable[[str], bool]) -> Callable[[AddressSet], Addresses]:
    """Make a filter on hosts; if nothing survives the name is negative (reference/naming.md §2, filters)."""
    return keep_addresses(lambda address: wanted(address.host))


def keep_addresses(wanted: Callable[[Address], bool]) -> Callable[[AddressSet], Addresses]:
    """Make a filter on addresses; if nothing survives the name is negative."""

    def change(found: AddressSet) -> Addresses:
        kept = tuple(address for address in found.addresses if wanted(address))
        return replace(found, addresses=kept) if kept else Negative()

    return change


class TransformedNamer:
    """A namer with transformers around it, the first in the list innermost; it cannot be enumerated any more."""

    def __init__(self, namer: Namer, transformers: tuple[Transformer, ...]) -> None:
        self.namer = namer
        self.prefix = namer.prefix
        self.transformers = transformers

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the transformed tree; one that still holds paths passes untouched."""
        return self.namer.lookup(path).flat_map(self._transform)

    def _transform(self, tree: NameTree[Path | Bound]) -> Live[NameTree[Path | Bound]]:
        if not _fully_bound(tree):
            return Live.ok(tree)
        transformed: Live[Any] = Live.ok(tree)
        for transformer in self.transformers:
            transformed = transformer.apply(transformed)
        return transformed


def transformers_of(namer: Namer) -> tuple[Transformer, ...]:
    """Give what is around a namer."""
    return namer.transformers if isinstance(namer, TransformedNamer) else ()


def _fully_bound(tree: NameTree[Path | Bound]) -> bool:
    match tree:
        case Leaf(value):
            return isinstance(value, Bound)
        case Alt(trees):
            return all(_fully_bound(branch) for branch in trees)
        case Union(branches):
            return all(_fully_bound(branch.tree) for branch in branches)
    return True
