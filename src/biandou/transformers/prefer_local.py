"""`io.biandou.preferLocal`: endpoints of this host or zone first, others when there are too few of these.

Linkerd can only leave endpoints out (`io.l5d.localhost`, `io.l5d.k8s.localnode`): then there is nobody left when the
local ones fail. What is near is told by the metadata of addresses, and how many are too few is judged as by the namer
`io.biandou.failover`. It is for linkers: a namerd does not know where its linkers are.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final
from weakref import WeakValueDictionary

from msgspec import Meta

from biandou.dtab import Alt, Leaf, NameTree, Path, Union, Weighted
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.errors import ConfigError
from biandou.kinds import Keys
from biandou.live import Failed, Live, Ok, State
from biandou.namers.tier_level import Judgement, read_amount, read_share
from biandou.namers.tiered import Logged, Surroundings, Tier, Tiered
from biandou.transformers.interface import Interpret, Transformer, TransformerKind

MAX_PLACES: Final = 8
ELSEWHERE: Final = "elsewhere"

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]


class Place(Keys, frozen=True, kw_only=True):
    """Where an endpoint is if its metadata has this `value`, or that of the environment's variable `valueFrom`."""

    key: str
    value: str | None = None
    value_from: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless there is a key and exactly one of the others."""
        if not self.key or (self.value is None) == (self.value_from is None):
            raise ValueError("a place has a key, and either value or valueFrom")

    def found(self) -> str:
        """Give the value; raises `ConfigError` if there is none."""
        value = self.value if self.value_from is None else os.environ.get(self.value_from)
        if not value:
            raise ConfigError(f"io.biandou.preferLocal: {self.value_from or self.key} has no value")
        return value


class PreferLocalTransformerKind(TransformerKind, frozen=True, kw_only=True, tag="io.biandou.preferLocal"):
    """Gives the requests of each client name to the endpoints of the first place, as far as these can take them."""

    places: tuple[Place, ...]
    min_healthy: str = "1"
    restore_healthy: str | None = None
    spill_over: str | None = None
    restore_after_ms: Milliseconds = 30_000

    def __post_init__(self) -> None:
        """Raise `ValueError` for no places, and amounts that are none."""
        super().__post_init__()
        if not 1 <= len(self.places) <= MAX_PLACES:
            raise ValueError(f"there are 1 to {MAX_PLACES} places")
        self.judgement()

    def judgement(self) -> Judgement:
        """Give how a place is judged; raises `ValueError`."""
        return Judgement(
            least=read_amount(self.min_healthy),
            restore=read_amount(self.min_healthy if self.restore_healthy is None else self.restore_healthy),
            spill_over=None if self.spill_over is None else read_share(self.spill_over),
            restore_after=self.restore_after_ms / 1000,
        )

    def transformer(self, interpret: Interpret) -> Transformer:
        """Make the transformer; raises `ConfigError` if the environment does not tell where this is."""
        return PreferLocalTransformer(self.full_prefix, [(p.key, p.found()) for p in self.places], self.judgement())


class PreferLocalTransformer:
    """Puts shares of an endpoint's places in the place of each leaf."""

    def __init__(self, prefix: Path, places: list[tuple[str, str]], judgement: Judgement, **surroundings: Any) -> None:
        self.prefix = prefix
        self.delegate_name: str | None = "PreferLocalTransformer"
        self._places = places
        self._tiers = [Tier(prefix + Path.of(key, value), judgement) for key, value in places]
        # All that the places can't take goes there, however many there are.
        self._tiers.append(Tier(prefix + Path.of(ELSEWHERE), Judgement(restore_after=0.0)))
        self._common = Surroundings(
            interpret=_unused,
            ejected=lambda client: self._ejected.get(str(client), 0),
            # All places are known as soon as one is.
            patience=math.inf,
            # That a service has no endpoints here is nothing strange.
            logged=Logged(logging.INFO, first=False),
            **surroundings,
        )
        self._ejected: Mapping[str, int] = {}
        # By the source of the addresses: what is judged goes on when only the tree around a leaf has changed.
        self._leaves: WeakValueDictionary[tuple[Path, Path, int], Tiered] = WeakValueDictionary()

    def apply(self, tree: Live[NameTree[Bound]]) -> Live[NameTree[Bound]]:
        """Give the tree with each leaf divided; pending as long as the endpoints of a leaf are."""
        return tree.flat_map(self._divided)

    def leaf(self, bound: Bound) -> Bound:
        """Give the leaf with its id prefixed and all of its addresses."""
        return Bound(self.prefix + bound.id, bound.addresses, bound.residual)

    @property
    def judging(self) -> bool:
        """Whether it has any name in use."""
        return bool(self._leaves)

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        """Take in how many endpoints of each client name fail requests, as who sends them has found out."""
        if ejected != self._ejected:
            self._ejected = ejected
            for tiered in list(self._leaves.values()):
                tiered.decide()

    def _divided(self, tree: NameTree[Bound]) -> Live[NameTree[Bound]]:
        leaves = list(dict.fromkeys(tree.leaves()))
        parts = Live.join([self._tiered(bound) for bound in leaves])

        def put_together(states: tuple[State[NameTree[Bound]], ...]) -> Live[NameTree[Bound]]:
            known = {bound: state.value for bound, state in zip(leaves, states, strict=True) if isinstance(state, Ok)}
            if len(known) < len(leaves) and not known:
                failure = next((state for state in states if isinstance(state, Failed)), None)
                return Live() if failure is None else Live.failed(failure.error)
            # A leaf of which nothing is known yet stays whole.
            return Live.ok(_put(tree, lambda bound: known.get(bound) or Leaf(self.leaf(bound))))

        return parts.flat_map(put_together)

    def _tiered(self, bound: Bound) -> Tiered:
        key = bound.id, bound.residual, id(bound.addresses)
        tiered = self._leaves.get(key)
        if tiered is None:
            places: dict[Path, Live[NameTree[Bound]]] = {}
            for index, tier in enumerate(self._tiers):
                addresses = bound.addresses.map(lambda found, index=index: self._at(found, index))  # type: ignore[misc]  # mypy infers no type of a lambda with a default
                places[tier.dst + bound.id] = Live.ok(Leaf(Bound(tier.dst + bound.id, addresses, bound.residual)))
            common = replace(self._common, interpret=places.__getitem__)
            tiered = self._leaves[key] = Tiered(self.prefix + bound.id, bound.id, self._tiers, common)
        return tiered

    def _at(self, found: Addresses, index: int) -> Addresses:
        if not isinstance(found, AddressSet):
            return found
        return replace(found, addresses=tuple(one for one in found.addresses if self._place(one) == index))

    def _place(self, address: Address) -> int:
        for index, (key, value) in enumerate(self._places):
            if address.meta.get(key) == value:
                return index
        return len(self._places)


def _put(tree: NameTree[Bound], function: Callable[[Bound], NameTree[Bound]]) -> NameTree[Bound]:
    match tree:
        case Leaf(value):
            return function(value)
        case Alt(trees):
            return Alt(tuple(_put(branch, function) for branch in trees))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, _put(branch.tree, function)) for branch in branches))
    return tree


def _unused(path: Path) -> Live[NameTree[Bound]]:
    raise AssertionError(f"{path}: each leaf has its own places")
