"""`io.biandou.failover`: one name at several registries, the next when the one before has too few healthy endpoints.

In a dtab `|` falls through only when a name is unknown, as in Linkerd; this judges by health. It is a namer, so that a
dtab with it is a dtab as any other, to namerctl, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from weakref import WeakValueDictionary

from msgspec import Meta

from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.errors import BindingError
from biandou.kinds import Keys
from biandou.live import Live
from biandou.namers.interface import Interpret, ReferringNamerKind
from biandou.namers.tier_level import Judgement, read_amount, read_share
from biandou.namers.tiered import Surroundings, Tier, Tiered

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]

MAX_TIERS: Final = 10


class FailoverTier(Keys, frozen=True, kw_only=True):
    """A place where names may be; keys that are not written are the namer's."""

    dst: str
    expected: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    min_healthy: str | None = None
    restore_healthy: str | None = None
    spill_over: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what no dtab is needed for, and amounts that are none."""
        if Path.read(self.dst).segments[:1] not in ((b"#",), (b"$",)):
            raise ValueError(f"{self.dst}: a tier is a namer's, /#/… or /$/…")
        for amount in (self.min_healthy, self.restore_healthy):
            if amount is not None:
                read_amount(amount)
        if self.spill_over is not None:
            read_share(self.spill_over)


class FailoverNamerKind(ReferringNamerKind, frozen=True, kw_only=True, tag="io.biandou.failover"):
    """Names of the form `/<rest>`: each tier's `dst` and the rest is where they may be."""

    tiers: tuple[FailoverTier, ...]
    min_healthy: str = "1"
    restore_healthy: str | None = None
    spill_over: str | None = None
    restore_after_ms: Milliseconds = 30_000
    patience_ms: Milliseconds = 2_000

    def __post_init__(self) -> None:
        """Raise `ValueError` for tiers that lead back to this namer, and amounts that are none."""
        super().__post_init__()
        if not 1 <= len(self.tiers) <= MAX_TIERS:
            raise ValueError(f"there are 1 to {MAX_TIERS} tiers")
        if any(Path.read(tier.dst).starts_with(self.full_prefix) for tier in self.tiers):
            raise ValueError("a tier leads back to this namer")
        read_amount(self.min_healthy)
        if self.restore_healthy is not None:
            read_amount(self.restore_healthy)
        if self.spill_over is not None:
            read_share(self.spill_over)

    def namer_over(self, interpret: Interpret) -> FailoverNamer:
        """Make the namer."""
        return FailoverNamer(self, interpret)

    def judgement(self, tier: FailoverTier) -> Judgement:
        """Give how a tier is judged."""
        least = tier.min_healthy or self.min_healthy
        spill_over = tier.spill_over or self.spill_over
        return Judgement(
            least=read_amount(least),
            restore=read_amount(tier.restore_healthy or self.restore_healthy or least),
            spill_over=None if spill_over is None else read_share(spill_over),
            restore_after=self.restore_after_ms / 1000,
            expected=tier.expected,
        )


class FailoverNamer:
    """Gives every name its tiers; all who ask for one name see one decision."""

    def __init__(self, kind: FailoverNamerKind, interpret: Interpret, **surroundings: Any) -> None:
        self.prefix = kind.full_prefix
        self._tiers = [Tier(Path.read(tier.dst), kind.judgement(tier)) for tier in kind.tiers]
        self._names: WeakValueDictionary[Path, Tiered] = WeakValueDictionary()
        self._ejected: Mapping[str, int] = {}
        self._common = Surroundings(
            interpret=interpret,
            ejected=lambda client: self._ejected.get(str(client), 0),
            patience=kind.patience_ms / 1000,
            **surroundings,
        )

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the tree of the tiers that are used now; it changes when they do."""
        if len(path) == 0:
            return Live.ok(NEG)
        if self._common.opening.names:
            return Live.failed(BindingError(f"a tier of {self.prefix} leads back to it: {self.prefix + path}"))
        tiered = self._names.get(path)
        if tiered is None:
            tiered = self._names[path] = Tiered(self.prefix + path, path, self._tiers, self._common)
        return tiered.map(lambda tree: tree.map(lambda bound: bound))

    @property
    def judging(self) -> bool:
        """Whether it has any name in use."""
        return bool(self._names)

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        """Take in how many endpoints of each client name fail requests, as who sends them has found out."""
        if ejected != self._ejected:
            self._ejected = ejected
            for tiered in list(self._names.values()):
                tiered.decide()

    def state(self) -> dict[str, Any]:
        """Give what was decided for each name that is in use."""
        return {str(path): tiered.shown() for path, tiered in list(self._names.items()) if tiered.observed}

    def verdict(self, path: Path) -> str | None:
        """Say which tiers a whole name uses now and why, `None` if it isn't in use."""
        tiered = self._names.get(path.drop(len(self.prefix)))
        return tiered.verdict() if tiered is not None and tiered.observed else None
